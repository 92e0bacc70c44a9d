"""Figure: a Kafka topic to committed verdicts and projections, against polling the same topic and nothing else."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.ledgers import folder, now
from bench.rounds import Figure, in_turns, rates, say, seconds
from bench.sizes import Sizes
from bench.workload import Workload, chunks
from consumers.settings import Settings
from ledger.log import Log
from ledger.logs.address import open_log
from ledger.logs.topic import create_topic
from tests.broker import POM, Broker, NoKafkaError, running_broker

PARTITIONS = 6
_CHUNK = 2_000

_FIGURE: dict[str, Any] = {
    "unit": "entries/s",
    "ours": "Indexer.catch_up into a fresh SQLite index: verdicts and projections committed",
    "theirs": "a bare kafka-python poll loop with the same fetch settings",
    "at_least": True,
}
_CLIENTS: dict[str, dict[str, Any]] = {
    "kafka": {"name": "kafka-index", "title": "Kafka topic to index", "target": 0.2},
    "kafka+confluent": {
        "name": "kafka-index-confluent",
        "title": "Kafka topic to index, read through confluent-kafka",
        "target": 0.25,
    },
}


def broker_version() -> str:
    """The version of Apache Kafka that the tests' jars are."""
    text = POM.read_text(encoding="utf-8")
    return text.partition("<artifactId>kafka_")[2].partition("<version>")[2].partition("</version>")[0] or "unknown"


@contextmanager
def filled_topic(broker: Broker, entries: int) -> Iterator[tuple[str, Workload]]:
    topic = f"bench-{uuid.uuid4().hex[:12]}"
    create_topic(broker.address, topic, partitions=PARTITIONS)
    workload = Workload(PARTITIONS, start=now())
    log = open_log(f"kafka://{broker.address}/{topic}")
    try:
        _produce(log, workload, entries)
    finally:
        log.close()
    yield topic, workload


def _produce(log: Log, workload: Workload, entries: int) -> None:
    started = time.perf_counter()
    for chunk in chunks(workload.drafts(entries), _CHUNK):
        for future in log.append(chunk):
            future.result(60)
    say(f"  kafka-index: {entries} entries produced in {time.perf_counter() - started:.1f} s")


def _poll_all(address: str, topic: str, entries: int) -> None:
    """What reading costs by itself: the settings are those of ``ledger.logs.kafka_reader``."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(
        bootstrap_servers=address,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        check_crcs=True,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        fetch_max_bytes=16 * 1024 * 1024,
        fetch_max_wait_ms=100,
        metrics_enabled=False,
    )
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
        left = entries
        while left > 0:
            left -= sum(map(len, consumer.poll(1_000, max_records=1_000_000).values()))
    finally:
        consumer.close(autocommit=False)


def _index_all(log_url: str, index: Path, entries: int) -> None:
    ledger = Settings.read(log_url, f"sqlite:///{index}").open()
    try:
        folded = ledger.indexer.catch_up()
        assert folded == entries, f"{folded} of {entries} entries were folded"
    finally:
        ledger.close()


def kafka_index(sizes: Sizes) -> list[Figure]:
    try:
        with running_broker() as broker, filled_topic(broker, sizes.kafka) as (topic, workload), folder() as place:
            names = (place / f"index-{number}.db" for number in itertools.count())
            notes = {"entries": sizes.kafka, "work_items": len(workload.subjects), "partitions": PARTITIONS}
            return [_measured(client, broker.address, topic, names, sizes, notes) for client in _CLIENTS]
    except NoKafkaError as error:
        return [Figure(**_FIGURE, **client, skipped=f"no Kafka broker: {error}") for client in _CLIENTS.values()]


def _measured(
    client: str, address: str, topic: str, names: Iterator[Path], sizes: Sizes, notes: dict[str, Any]
) -> Figure:
    ours, theirs = in_turns(
        _CLIENTS[client]["name"],
        lambda: seconds(lambda: _index_all(f"{client}://{address}/{topic}", next(names), sizes.kafka)),
        lambda: seconds(lambda: _poll_all(address, topic, sizes.kafka)),
        sizes.rounds,
    )
    ours_each, theirs_each = rates(ours, sizes.kafka), rates(theirs, sizes.kafka)
    return Figure(**_FIGURE, **_CLIENTS[client], ours_each=ours_each, theirs_each=theirs_each, notes=notes)
