"""What is librdkafka's own: where its binding gives less than the log holds, and jumps past ends that it told of."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing

import pytest

from ledger.errors import WrongUsage
from ledger.log import Draft
from ledger.logs.confluent import ConfluentLog
from tests.broker import Broker
from tests.ledger.logs.test_kafka import RawName

pytestmark = pytest.mark.kafka


@pytest.fixture
def log(broker: Broker, topic: str) -> Iterator[ConfluentLog]:
    with closing(ConfluentLog(broker.address, topic)) as opened:
        yield opened


def test_many_names_that_are_no_text_are_read_every_time(broker: Broker, topic: str, log: ConfluentLog) -> None:
    """Python's interpreter stops checking calls that it has made often, and this binding needs the check."""
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=broker.address, linger_ms=200)
    for n in range(60):
        producer.send(topic, b"%d" % n, b"k", headers=[("a", b""), (RawName("x"), b"h"), ("b", b"")], partition=0)
    producer.close()
    records = []
    while len(records) < 60:
        records += log.read(0, len(records), most=100, wait_seconds=20).records
    assert [record.value for record in records] == [b"%d" % n for n in range(60)]
    assert {record.headers for record in records} == {(("a", b""), ("\udcff\udcfex", b"h"), ("b", b""))}


@pytest.mark.xfail(strict=True, reason="librdkafka gives a header's name without its length: it ends at a zero byte")
def test_a_name_with_a_zero_byte_is_read_whole(broker: Broker, topic: str, log: ConfluentLog) -> None:
    """A gap that cannot be closed from here, and that kafka-python does not have."""
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=broker.address)
    producer.send(topic, b"v", b"k", headers=[("a\0b", b"1")], partition=0)
    producer.close()
    [record] = log.read(0, 0, most=1, wait_seconds=20).records
    assert record.headers == (("a\0b", b"1"),)


@pytest.mark.parametrize("name", ["a\0b", "\udcff"])
def test_names_that_cannot_be_sent_are_refused(log: ConfluentLog, name: str) -> None:
    """Before anything of the batch is sent."""
    with pytest.raises(WrongUsage, match="header name"):
        log.append([Draft(0, b"k", b"v"), Draft(0, b"k", b"v", ((name, b""),))])
    assert log.bounds(0) == (0, 0)


def test_jumping_about_never_skips(log: ConfluentLog) -> None:
    """What was fetched, and the ends that were told, before a jump say nothing of where one is now."""
    for future in log.append([Draft(0, b"k", b"%d" % n) for n in range(500)]):
        future.result(20)
    chance = random.Random(7)
    for _ in range(60):
        offset = chance.choice([0, 499, 500, chance.randrange(500)])
        for _ in range(chance.randrange(1, 4)):
            found = log.read(0, offset, most=chance.choice([1, 50, 600]))
            expected = list(range(offset, offset + len(found.records)))
            assert [record.offset for record in found.records] == expected
            assert found.records or offset == 500
            assert found.next_offset == offset + len(found.records)
            offset = found.next_offset
