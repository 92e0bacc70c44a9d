"""What a log keeps that can wait for several partitions at once (``ledger.log.Waiting``)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ledger.errors import LogChanged
from ledger.log import Draft, Log, Waiting
from tests.broker import Broker
from tests.contract.test_log import ConfluentBackend, KafkaBackend, put

pytestmark = pytest.mark.kafka
BACKENDS: dict[str, type[KafkaBackend]] = {"kafka": KafkaBackend, "confluent": ConfluentBackend}


@pytest.fixture(params=["kafka", "confluent"])
def log(request: pytest.FixtureRequest, broker: Broker) -> Iterator[Log]:
    """An empty log of two partitions."""
    opened = BACKENDS[request.param](broker.address).open()
    yield opened
    opened.close()


def ready(log: Log, offsets: dict[int, int], seconds: float = 5.0) -> list[int]:
    assert isinstance(log, Waiting)
    return sorted(log.ready(offsets, wait_seconds=seconds))


def in_the_end(log: Log, offsets: dict[int, int], wanted: list[int]) -> None:
    """Partitions come one by one: ask until all that have something are there."""
    until = time.monotonic() + 60.0
    while ready(log, offsets) != wanted:
        assert time.monotonic() < until


def test_those_with_something_are_named(log: Log) -> None:
    """And reading them at these offsets gives it at once; others are read as before."""
    put(log, [Draft(1, b"k", b"a"), Draft(1, b"k", b"b")])
    in_the_end(log, {0: 0, 1: 0}, [1])
    assert [one.value for one in log.read(1, 0, most=1).records] == [b"a"]
    assert ready(log, {0: 0, 1: 1}) == [1]
    assert [one.value for one in log.read(1, 1, most=9).records] == [b"b"]
    put(log, [Draft(0, b"k", b"c"), Draft(1, b"k", b"d")])
    in_the_end(log, {0: 0}, [0])
    in_the_end(log, {1: 0}, [1])
    assert [one.value for one in log.read(1, 0, most=9, wait_seconds=30.0).records] == [b"a", b"b", b"d"]
    assert [one.value for one in log.read(0, 0, most=9, wait_seconds=30.0).records] == [b"c"]


def test_nothing_is_waited_for_as_long_as_told(log: Log) -> None:
    """Without a record it says so after the wait."""
    put(log, [Draft(0, b"k", b"a")])
    log.read(0, 0, most=1, wait_seconds=30.0)
    began = time.monotonic()
    assert ready(log, {0: 1, 1: 0}, 0.5) == []
    assert 0.4 < time.monotonic() - began < 20.0
    assert ready(log, {}, 0.0) == []


def test_a_record_ends_the_wait(log: Log) -> None:
    """One that comes meanwhile, on any of them, is told of long before the wait is over."""
    ready(log, {0: 0, 1: 0}, 0.1)
    threading.Timer(0.3, lambda: log.append([Draft(1, b"k", b"late")])).start()
    began = time.monotonic()
    assert ready(log, {0: 0, 1: 0}, 30.0) == [1]
    assert time.monotonic() - began < 20.0


def test_an_offset_that_is_not_there(log: Log) -> None:
    """Past the end is another log, said as by ``read``."""
    put(log, [Draft(0, b"k", b"a")])

    def wait_for_long() -> None:
        for _ in range(20):
            ready(log, {1: 0, 0: 99}, 1.0)

    with pytest.raises(LogChanged, match="no offset 99"):
        wait_for_long()
