"""The notary on a real broker: gaps of transactions, the topic of checkpoints, a topic that is another one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from consumers.evidence.job import open_job
from consumers.evidence.keys import new_keys, open_keys
from consumers.evidence.notary import latest, open_notary
from consumers.evidence.recheck import recheck
from consumers.evidence.trees import genesis_of
from consumers.settings import Settings
from ledger.errors import LogChanged
from ledger.evidence.leaves import NO_RECORD, leaf_of
from ledger.evidence.merkle import leaf_hash, root_of
from ledger.evidence.signatures import signed_checkpoint
from ledger.log import Draft
from ledger.logs.kafka import KafkaLog
from ledger.logs.kafka_emitter import last_committed
from ledger.logs.kafka_reader import KafkaReader
from ledger.logs.topic import create_topic
from tests.broker import Broker

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(broker: Broker, topic: str, tmp_path: Path) -> Settings:
    new_keys(tmp_path / "keys", "acme")
    return Settings.read(f"kafka://{broker.address}/{topic}", keys=tmp_path / "keys", notary_entries=1)


@pytest.fixture
def log(broker: Broker, topic: str) -> Iterator[KafkaLog]:
    with closing(KafkaLog([broker.address], topic)) as log:
        yield log


def put(log: KafkaLog, partition: int, count: int) -> None:
    for sent in log.append([Draft(partition, b"T-%d" % n, b"{}") for n in range(count)]):
        sent.result(10)


def abort(broker: Broker, topic: str, partition: int, count: int) -> None:
    """So many records that are never read, and the marker behind them."""
    producer = KafkaProducer(bootstrap_servers=broker.address, transactional_id=f"t-{topic}", acks="all")
    try:
        producer.init_transactions()
        producer.begin_transaction()
        for _ in range(count):
            producer.send(topic, value=b"never", partition=partition).get(10)
        producer.abort_transaction()
    finally:
        producer.close()


def root_by_hand(settings: Settings, log: KafkaLog, partition: int, size: int) -> bytes:
    keys = open_keys(settings.keys)
    records = {one.offset: one for one in log.read(partition, 0, most=10_000, wait_seconds=1).records}
    leaves = [leaf_of(keys.tag_key, records[n]) if n in records else NO_RECORD for n in range(size - 1)]
    return root_of(map(leaf_hash, [genesis_of(keys, log.identity(), partition).leaf(), *leaves]))


def announced(broker: Broker, topic: str, partition: int) -> tuple[bytes | None, bytes | None]:
    """The newest record of a partition of the topic of checkpoints."""
    name = f"{topic}.checkpoints"
    with closing(KafkaReader(broker.address, name, 3, timeout_seconds=10, settings={})) as reader:
        record = last_committed(reader, partition)
    assert record is not None
    return record.key, record.value


def test_every_partition_is_signed_with_the_gaps_of_transactions(
    broker: Broker, topic: str, settings: Settings, log: KafkaLog
) -> None:
    """What no reader will ever see is a leaf of zeros, also at the end; checkpoints go onto a topic of their own."""
    put(log, 0, 3)
    abort(broker, topic, 0, 2)
    put(log, 0, 2)
    put(log, 2, 1)
    abort(broker, topic, 2, 1)
    with open_notary(settings) as notary:
        signed = {one: notary.checkpoint(one) for one in range(3)}
    assert {one: (found.checkpoint.size, found.no_record) for one, found in signed.items()} == {
        0: (9, 3),
        1: (1, 0),
        2: (4, 2),
    }
    for partition, found in signed.items():
        assert found.checkpoint.root == root_by_hand(settings, log, partition, found.checkpoint.size)
        origin = f"acme/{topic}/{partition}"
        assert announced(broker, topic, partition) == (origin.encode(), str(found.note).encode())
        assert latest(settings, partition) == str(found.note).encode()
    with open_notary(settings) as notary:
        assert {one: notary.checkpoint(one) for one in range(3)} == {
            one: found._replace(announced=True) for one, found in signed.items()
        }
        assert recheck(notary, 0) == (8, 1, 0)


def test_the_job_follows_its_partitions(broker: Broker, topic: str, settings: Settings, log: KafkaLog) -> None:
    """It signs what comes on its own partitions, and leaves the others to others."""
    job = open_job(settings)
    try:
        job.take({0, 2})
        for count in (1, 2, 3):
            for partition in range(3):
                put(log, partition, count)
            while job.step():
                pass
    finally:
        job.close()
    for partition in (0, 2):
        data = latest(settings, partition)
        assert data is not None
        checkpoint = signed_checkpoint(data, open_keys(settings.keys).verifier)
        assert checkpoint.size == 7
        assert checkpoint.root == root_by_hand(settings, log, partition, 7)
        assert announced(broker, topic, partition)[1] == data
    assert latest(settings, 1) is None


def test_keys_and_tiles_from_an_old_copy_are_refused(
    broker: Broker, topic: str, settings: Settings, log: KafkaLog, tmp_path: Path
) -> None:
    """What was announced is newer than both: nothing is signed until the log was hashed again."""
    put(log, 0, 3)
    for copied in (True, False):
        with open_notary(settings) as notary:
            newest = notary.checkpoint(0)
        if copied:
            for name in ("keys", "pauseledger.tiles"):
                shutil.copytree(tmp_path / name, tmp_path / "old" / name)
            put(log, 0, 2)
    for name in ("keys", "pauseledger.tiles"):
        shutil.rmtree(tmp_path / name)
        shutil.copytree(tmp_path / "old" / name, tmp_path / name)
    put(log, 0, 1)
    with open_notary(settings) as notary, pytest.raises(LogChanged, match="checkpoints is of 6 leaves"):
        notary.checkpoint(0)
    with open_notary(settings) as notary:
        assert recheck(notary, 0).checkpoints == 2
        assert notary.journal.newest(newest.checkpoint.origin) == newest._replace(announced=False)
        assert notary.checkpoint(0).checkpoint.size == 7


@pytest.mark.parametrize("how", ["made again", "repartitioned", "cut"])
def test_a_topic_that_is_another_is_refused(
    broker: Broker, topic: str, settings: Settings, log: KafkaLog, how: str
) -> None:
    """Under the same name, with as many records: by its id, its partitions or its start; nothing more is signed."""
    put(log, 0, 3)
    with open_notary(settings) as notary:
        notary.checkpoint(0)
    before = latest(settings, 0)
    with closing(KafkaAdminClient(bootstrap_servers=broker.address)) as admin:
        if how == "made again":
            admin.delete_topics([topic])
            create_topic(broker.address, topic, partitions=3)
        elif how == "repartitioned":
            admin.create_partitions({topic: 4})
        else:
            admin.delete_records({TopicPartition(topic, 0): 2})
    with closing(KafkaLog([broker.address], topic)) as again:
        put(again, 0, 4)
    with open_notary(settings) as notary, pytest.raises(LogChanged, match="Nothing is signed"):
        notary.checkpoint(0)
    assert latest(settings, 0) == before
