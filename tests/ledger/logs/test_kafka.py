"""The Kafka log's own promises: foreign publishers, transactions, topics that are no ledger, brokers that are away."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from ledger.errors import LedgerError, LogChanged, LogUnavailable, UnusableLog, WrongUsage
from ledger.log import Draft
from ledger.logs import kafka_writer
from ledger.logs.confluent import ConfluentLog
from ledger.logs.kafka import KafkaLog
from ledger.logs.topic import LEDGER_SETTINGS, create_topic, describe_topic
from ledger.record import Record, read_record_bytes, record_bytes
from tests.broker import Broker, Cluster

pytestmark = pytest.mark.kafka

WAIT_SECONDS = 30.0
DRAFT = Draft(0, b"k", b"v" * 400)


CLIENTS = pytest.mark.parametrize("kind", [KafkaLog, ConfluentLog])


@pytest.fixture(params=[KafkaLog, ConfluentLog])
def log(request: pytest.FixtureRequest, broker: Broker, topic: str) -> Iterator[KafkaLog]:
    """An empty log of three partitions, through each client."""
    with closing(request.param(broker.address, topic)) as opened:
        yield opened


@pytest.fixture
def admin(broker: Broker) -> Iterator[Any]:
    """kafka-python's own admin client: what somebody else may do to a topic."""
    from kafka import KafkaAdminClient

    with KafkaAdminClient(bootstrap_servers=broker.address) as client:
        yield client


def foreign(servers: str, **settings: Any) -> Any:
    """A publisher that is not ours: librdkafka."""
    from confluent_kafka import Producer

    return Producer({"bootstrap.servers": servers, **settings})


def read_to_end(log: KafkaLog, partition: int = 0, most: int = 1000) -> tuple[list[Record], int]:
    """All records, and the offset at which reading ended."""
    records: list[Record] = []
    offset, end = log.bounds(partition)
    while offset < end:
        found = log.read(partition, offset, most=most, wait_seconds=1)
        records += found.records
        assert found.next_offset > offset
        offset = found.next_offset
    return records, offset


def test_the_topic_is_made_as_the_protocol_says(broker: Broker, topic: str) -> None:
    """Every setting of section 2 is the topic's own afterwards."""
    state = describe_topic(broker.address, topic)
    assert {name: state.settings[name] for name in LEDGER_SETTINGS} == LEDGER_SETTINGS
    assert (state.partitions, state.replication, state.in_sync, state.brokers) == (3, 1, 1, 1)
    assert LEDGER_SETTINGS["message.timestamp.type"] == "LogAppendTime"
    assert LEDGER_SETTINGS["retention.ms"] == LEDGER_SETTINGS["retention.bytes"] == "-1"


def test_a_topic_that_exists_is_not_made_over(broker: Broker, topic: str) -> None:
    """The error names the topic."""
    with pytest.raises(WrongUsage, match=f"{topic}.*is there already"):
        create_topic(broker.address, topic)


def test_a_durable_topic_needs_three_brokers(broker: Broker) -> None:
    """With fewer it is refused, and not made."""
    name = f"ledger-{uuid.uuid4()}"
    with pytest.raises(WrongUsage, match="needs 3 brokers, and 1 run"):
        create_topic(broker.address, name, durable=True)
    with pytest.raises(UnusableLog):
        describe_topic(broker.address, name)


def test_what_the_broker_refuses_is_said_in_its_words(broker: Broker) -> None:
    """One line, not a dump of request and response."""
    with pytest.raises(WrongUsage, match="only 1 broker") as caught:
        create_topic(broker.address, "too-many", replication_factor=5)
    assert "Request(" not in str(caught.value)


def test_a_missing_topic_is_said_with_what_to_do(broker: Broker) -> None:
    """The advice is the command that makes it."""
    with pytest.raises(UnusableLog, match=r"no topic 'nowhere'.*pauseledger topic create"):
        KafkaLog(broker.address, "nowhere")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cleanup.policy": "compact"}, "compacted"),
        ({"cleanup.policy": "compact,delete"}, "compacted"),
        ({"message.timestamp.type": "CreateTime"}, "message.timestamp.type"),
    ],
)
def test_a_topic_that_would_lie_is_refused(broker: Broker, admin: Any, wrong: dict[str, str], said: str) -> None:
    """Records that vanish, or a clock that publishers set."""
    name = f"wrong-{uuid.uuid4()}"
    admin.create_topics({name: {"num_partitions": 1, "configs": {**LEDGER_SETTINGS, **wrong}}}, wait_for_metadata=True)
    with pytest.raises(UnusableLog, match=said):
        KafkaLog(broker.address, name)


def test_a_record_with_its_publishers_time_is_never_read(broker: Broker, topic: str, admin: Any, log: KafkaLog) -> None:
    """The setting was changed while the log was open: such a record would be judged by a forged clock."""
    from kafka.admin import ConfigResource

    log.append([DRAFT])[0].result(WAIT_SECONDS)
    admin.alter_configs([ConfigResource("topic", topic, {"message.timestamp.type": "CreateTime"})])
    producer = foreign(broker.address)

    def read_until_refused() -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:  # until the broker goes by the new setting
            producer.produce(topic, b"v", b"k", partition=0, timestamp=1)
            producer.flush()
            read_to_end(log)

    with pytest.raises(UnusableLog, match="publisher's time"):
        read_until_refused()


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_foreign_publishers_record_is_read_byte_for_byte(
    broker: Broker, topic: str, log: KafkaLog, codec: str
) -> None:
    """Whatever it compresses with; null headers, doubles, a key without a value and neither of both."""
    headers = [("a", b"1"), ("null", None), ("a", b"2"), ("", b"")]
    producer = foreign(broker.address, **{"compression.type": codec})
    producer.produce(topic, b"v" * 2000, b"k", partition=0, headers=headers)
    producer.produce(topic, None, b"k", partition=0)
    producer.produce(topic, None, None, partition=0)
    assert producer.flush(WAIT_SECONDS) == 0
    records, _ = read_to_end(log)
    assert [record[3:] for record in records] == [
        (b"k", b"v" * 2000, tuple(headers)),
        (b"k", None, ()),
        (None, None, ()),
    ]


class RawName(str):
    """A header name that is sent as bytes which are no UTF-8."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe" + super().encode(encoding, errors)


def test_a_header_name_that_is_no_text_stops_nobody(broker: Broker, topic: str, log: KafkaLog) -> None:
    """One publisher can't halt every reader, and the name's bytes are kept."""
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=broker.address, linger_ms=200)
    for n in range(5):
        name = RawName("x") if n % 2 else "x"
        producer.send(topic, b"%d" % n, b"k", headers=[(name, b"h"), ("ünï", b"")], partition=0)
    producer.close()
    records, _ = read_to_end(log)
    assert [record.value for record in records] == [b"0", b"1", b"2", b"3", b"4"]
    assert [record.headers[1] for record in records] == [("ünï", b"")] * 5
    assert records[1].headers[0] == ("\udcff\udcfex", b"h")
    stored = record_bytes(records[1])
    assert b"\xff\xfex" in stored
    assert read_record_bytes(0, stored)[0] == records[1]


def test_reading_goes_past_aborted_transactions_and_markers(broker: Broker, topic: str, log: KafkaLog) -> None:
    """Aborted records are never read, and offsets without a record don't stop the reader."""
    producer = foreign(broker.address, **{"transactional.id": topic})
    producer.init_transactions(WAIT_SECONDS)
    for n, end in enumerate(["commit", "abort", "commit", "abort", "abort"]):
        producer.begin_transaction()
        for _ in range(3):
            producer.produce(topic, b"%d" % n, b"k", partition=0)
        producer.flush(WAIT_SECONDS)
        getattr(producer, f"{end}_transaction")(WAIT_SECONDS)
    for most in (1, 2, 1000):
        records, offset = read_to_end(log, most=most)
        assert [record.value for record in records] == [b"0"] * 3 + [b"2"] * 3
        assert offset == log.bounds(0)[1] == 20
        assert log.read(0, offset, most=1) == ([], 20)
    log.append([DRAFT])[0].result(WAIT_SECONDS)
    assert log.read(0, 20, most=1, wait_seconds=WAIT_SECONDS).records[0].value == DRAFT.value


def test_an_open_transaction_holds_the_end_back(broker: Broker, topic: str, log: KafkaLog) -> None:
    """What isn't committed is beyond the end, and so is what came after it."""
    producer = foreign(broker.address, **{"transactional.id": topic})
    producer.init_transactions(WAIT_SECONDS)
    producer.begin_transaction()
    producer.produce(topic, b"in doubt", b"k", partition=0)
    producer.flush(WAIT_SECONDS)
    log.append([DRAFT])[0].result(WAIT_SECONDS)
    assert log.bounds(0) == (0, 0)
    assert log.read(0, 0, most=10) == ([], 0)
    producer.abort_transaction(WAIT_SECONDS)
    found = log.read(0, 0, most=10, wait_seconds=WAIT_SECONDS)
    assert [record.value for record in found.records] == [DRAFT.value]


@pytest.mark.parametrize("buffered", [10, 500, 4000])
def test_partitions_are_read_in_turns_without_loss(
    monkeypatch: pytest.MonkeyPatch, log: KafkaLog, buffered: int
) -> None:
    """Going round in small slices gives each one's records once and in order, however often one is paused."""
    for client in ("kafka", "confluent"):
        monkeypatch.setattr(f"ledger.logs.{client}_reader._MOST_BUFFERED", buffered)
    futures = log.append([Draft(n % 3, b"k" * 900, b"%d" % n) for n in range(30000)])
    for future in futures:
        future.result(WAIT_SECONDS)
    offsets = [0, 0, 0]
    seen: list[list[int]] = [[], [], []]
    while any(offset < 10_000 for offset in offsets):
        for partition in range(3):
            found = log.read(partition, offsets[partition], most=700)
            seen[partition] += [int(record.value or b"") for record in found.records]
            offsets[partition] = found.next_offset
    assert seen == [list(range(partition, 30000, 3)) for partition in range(3)]


def test_a_partition_that_was_buffered_full_is_read_on(monkeypatch: pytest.MonkeyPatch, log: KafkaLog) -> None:
    """A followed partition that nobody reads is paused, not lost."""
    for client in ("kafka", "confluent"):
        monkeypatch.setattr(f"ledger.logs.{client}_reader._MOST_BUFFERED", 10)
    for partition in (0, 1):
        assert log.read(partition, 0, most=1) == ([], 0)
    for future in log.append([Draft(n % 2, b"k", b"%d" % n) for n in range(1000)]):
        future.result(WAIT_SECONDS)
    for partition in (0, 1):
        records, _ = read_to_end(log, partition, most=33)
        assert [record.value for record in records] == [b"%d" % n for n in range(partition, 1000, 2)]


def test_added_partitions_show_in_the_identity(topic: str, admin: Any, log: KafkaLog) -> None:
    """The id stays, the count does not: readers must halt, because keys moved."""
    before = log.identity()
    admin.create_partitions({topic: 5})
    deadline = time.monotonic() + WAIT_SECONDS
    while log.identity().partitions == 3 and time.monotonic() < deadline:
        pass
    assert log.identity() == before._replace(partitions=5)
    assert log.partitions == 3


def test_records_deleted_at_the_start_are_a_change_of_the_log(topic: str, admin: Any, log: KafkaLog) -> None:
    """Retention, or ``DeleteRecords``: never silently read on from where the log now starts."""
    from kafka import TopicPartition

    for future in log.append([DRAFT] * 10):
        future.result(WAIT_SECONDS)
    admin.delete_records({TopicPartition(topic, 0): 4})
    with pytest.raises(LogChanged, match="goes from 4 to 10"):
        log.read(0, 0, most=1, wait_seconds=WAIT_SECONDS)
    assert [record.offset for record in log.read(0, 4, most=10, wait_seconds=WAIT_SECONDS).records] == [
        4,
        5,
        6,
        7,
        8,
        9,
    ]


def test_what_the_clients_cannot_write_is_refused(log: KafkaLog) -> None:
    """A null header, and a record with neither key nor value: known gaps, said before anything is sent."""
    for draft in (Draft(0, None, None), Draft(0, b"k", b"v", (("h", None),))):
        with pytest.raises(WrongUsage, match="needs a"):
            log.append([DRAFT, draft])
    assert log.bounds(0) == (0, 0)


@CLIENTS
def test_a_record_larger_than_the_topic_takes_is_refused_before_it_is_sent(
    broker: Broker, admin: Any, kind: type[KafkaLog]
) -> None:
    """kafka-python would fail every other record with it; so do batches of a topic smaller than a batch usually is."""
    name = f"small-{uuid.uuid4()}"
    settings = {**LEDGER_SETTINGS, "max.message.bytes": "2000"}
    admin.create_topics({name: {"num_partitions": 1, "configs": settings}}, wait_for_metadata=True)
    with closing(kind(broker.address, name)) as log:
        with pytest.raises(WrongUsage, match=r"is larger than the topic .* takes"):
            log.append([DRAFT, Draft(0, b"k", bytes(1800)), DRAFT])
        futures = log.append([DRAFT] * 20 + [Draft(0, b"k", bytes(1700))] + [DRAFT] * 20)
        assert [future.result(WAIT_SECONDS).offset for future in futures] == list(range(41))


@CLIENTS
def test_a_frozen_broker_delays_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, own_broker: Broker, kind: type[KafkaLog]
) -> None:
    """Futures stay open, a full buffer refuses whole batches, reads and questions end; then all is recorded once."""
    monkeypatch.setattr(kafka_writer, "MOST_PENDING_BYTES", 100_000)
    create_topic(own_broker.address, "ledger", partitions=1)
    with closing(kind(own_broker.address, "ledger", timeout_seconds=1)) as log:
        sent = list(log.append([Draft(0, b"k", b"0")]))
        sent[0].result(WAIT_SECONDS)
        own_broker.pause()

        def append_until_refused() -> None:
            while True:
                sent.extend(log.append([Draft(0, b"k", b"%d" % len(sent))]))

        with pytest.raises(LogUnavailable, match="takes nothing"):
            append_until_refused()
        assert len(sent) > 10
        assert not any(future.done() for future in sent[1:])
        questions: list[Any] = [log.identity, lambda: log.bounds(0), lambda: log.read(0, 1, most=1)]
        for ask in questions:
            with pytest.raises(LogUnavailable):
                ask()
        own_broker.unpause()
        receipts = [future.result(WAIT_SECONDS) for future in sent]
        records, _ = read_to_end(log)
        assert [record.value for record in records] == [b"%d" % n for n in range(len(sent))]
        assert [record.offset for record in records] == [receipt.offset for receipt in receipts]


@CLIENTS
def test_a_killed_broker_comes_back_and_the_handle_goes_on(own_broker: Broker, kind: type[KafkaLog]) -> None:
    """The same handle appends and reads again; what was sent meanwhile is recorded once."""
    create_topic(own_broker.address, "ledger", partitions=1)
    with closing(kind(own_broker.address, "ledger", timeout_seconds=2)) as log:
        log.append([Draft(0, b"k", b"before")])[0].result(WAIT_SECONDS)
        before = log.identity()
        own_broker.kill()
        [meanwhile] = log.append([Draft(0, b"k", b"meanwhile")])
        with pytest.raises(LogUnavailable):
            log.identity()
        own_broker.start()
        meanwhile.result(WAIT_SECONDS)
        log.append([Draft(0, b"k", b"after")])[0].result(WAIT_SECONDS)
        records, _ = read_to_end(log)
        assert [record.value for record in records] == [b"before", b"meanwhile", b"after"]
        assert log.identity() == before


@CLIENTS
def test_losing_the_leader_loses_and_doubles_nothing(cluster: Cluster, kind: type[KafkaLog]) -> None:
    """A durable topic on three brokers, the leader killed while records are sent: each is there exactly once."""
    from kafka import KafkaAdminClient

    create_topic(cluster.address, "ledger", partitions=1, durable=True)
    state = describe_topic(cluster.address, "ledger")
    assert (state.replication, state.settings["min.insync.replicas"], state.settings["flush.messages"]) == (3, "2", "1")
    with KafkaAdminClient(bootstrap_servers=cluster.address) as admin:
        leader = admin.describe_topics(["ledger"])[0]["partitions"][0]["leader_id"]
    with closing(kind(cluster.address, "ledger", timeout_seconds=20)) as log:
        futures = []
        for n in range(300):
            futures += log.append([Draft(0, b"k", b"%d" % n)])
            if n == 100:
                futures[50].result(WAIT_SECONDS)
                cluster.brokers[leader - 1].kill()
        receipts = [future.result(60) for future in futures]
        records, _ = read_to_end(log)
        assert [record.value for record in records] == [b"%d" % n for n in range(300)]
        assert [record.offset for record in records] == [receipt.offset for receipt in receipts]
        assert log.identity().partitions == 1


def test_every_error_says_what_to_do(broker: Broker) -> None:
    """An error without advice leaves a person alone."""
    with pytest.raises(LedgerError) as caught:
        KafkaLog(broker.address, "nowhere")
    assert caught.value.advice
