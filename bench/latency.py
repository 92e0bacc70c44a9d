"""Figures: an event's way to its verdict over Kafka, against sending a record and polling until it is there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench.ledgers import folder
from bench.publishing import lines
from bench.rounds import Figure, in_turns
from bench.sizes import Sizes
from consumers.publishing import open_publisher
from ledger.logs.topic import create_topic
from tests.broker import NoKafkaError, running_broker

PARTITIONS = 6
_WARM_UP = 20
_FIGURE: dict[str, Any] = {
    "unit": "ms",
    "ours": "Publisher.publish to a Kafka topic, each event waited for until it has its verdict",
    "theirs": "kafka-python: send, then poll until the record is there",
    "at_least": False,
}


def _published(log_url: str, place: Path, number: int, values: list[bytes]) -> list[float]:
    """The milliseconds of each, sorted; the first ones, which open connections, are left out."""
    each = []
    index = f"sqlite:///{place}/index-{number}.db"
    with open_publisher(log_url, index_url=index, outbox=place / f"outbox-{number}") as publisher:
        for value in values:
            began = time.perf_counter()
            publisher.publish(value)
            each.append((time.perf_counter() - began) * 1_000)
    return sorted(each[_WARM_UP:])


def _sent_and_polled(address: str, topic: str, values: list[bytes]) -> list[float]:
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    producer = KafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True)
    consumer = KafkaConsumer(
        bootstrap_servers=address,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_wait_ms=100,
    )
    each = []
    try:
        consumer.assign(partitions)
        consumer.seek_to_end(*partitions)
        for partition in partitions:
            consumer.position(partition)
        for number, value in enumerate(values):
            began = time.perf_counter()
            sent = producer.send(topic, value=value, key=f"T-{number}".encode()).get(30)
            there = False
            while not there:
                polled = consumer.poll(1_000).get(TopicPartition(topic, sent.partition), ())
                there = any(one.offset == sent.offset for one in polled)
            each.append((time.perf_counter() - began) * 1_000)
    finally:
        producer.close()
        consumer.close(autocommit=False)
    return sorted(each[_WARM_UP:])


def latency(sizes: Sizes) -> list[Figure]:
    """The medians with their target, and the 99th percentiles in the notes."""
    values = lines(_WARM_UP + sizes.one_by_one)
    measured: dict[str, list[list[float]]] = {"ours": [], "theirs": []}

    def side(name: str, each: list[float]) -> float:
        measured[name].append(each)
        return each[len(each) // 2]

    try:
        with running_broker() as broker, folder() as place:
            topics = []

            def fresh() -> str:
                topics.append(f"bench-{len(topics)}")
                create_topic(broker.address, topics[-1], partitions=PARTITIONS)
                return topics[-1]

            ours, theirs = in_turns(
                "latency",
                lambda: side("ours", _published(f"kafka://{broker.address}/{fresh()}", place, len(topics), values)),
                lambda: side("theirs", _sent_and_polled(broker.address, fresh(), values)),
                sizes.rounds,
                unit="ms",
            )
    except NoKafkaError as error:
        skipped = f"no Kafka broker: {error}"
        return [Figure("latency", "Kafka: publish to verdict, median", **_FIGURE, target=3.0, skipped=skipped)]
    counted = {name: each[-sizes.rounds :] for name, each in measured.items()}
    late = {name: [each[int(0.99 * (len(each) - 1))] for each in some] for name, some in counted.items()}
    notes = {"events": sizes.one_by_one, "p99_ms": late}
    title = "Kafka: publish to verdict, median"
    return [Figure("latency", title, **_FIGURE, target=3.0, ours_each=ours, theirs_each=theirs, notes=notes)]
