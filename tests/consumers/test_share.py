"""The share of a topic's partitions: who has which, who gives them up, and that nothing else is done with the group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient

from consumers import share as share_module
from consumers.share import KafkaShare, WholeShare
from ledger.errors import LedgerError, UnusableLog
from tests.broker import Broker, free_port
from tests.faults.waiting import until

Join = Callable[[], KafkaShare]


@pytest.fixture
def join(broker: Broker, topic: str) -> Iterator[Join]:
    """Joins the group of a fresh topic; everybody leaves in the end."""
    joined: list[KafkaShare] = []

    def one_more() -> KafkaShare:
        joined.append(KafkaShare(broker.address, topic, f"group-{topic}", session_seconds=30.0))
        return joined[-1]

    yield one_more
    for one in joined:
        one.close()


def has(share: KafkaShare, *counts: int) -> None:
    """Wait until a share has one of these numbers of partitions."""
    until(lambda: len(share.partitions() or ()) in counts, what=f"{counts} partitions")


def test_the_embedded_log_is_whole() -> None:
    """One process has all, from the start."""
    share = WholeShare([0])
    assert share.partitions() == {0}
    share.close()


@pytest.mark.kafka
def test_partitions_are_shared_and_given_back(broker: Broker, topic: str, join: Join) -> None:
    """Three for one, then parts for two; who leaves gives them back at once, and no offset is ever committed."""
    first = join()
    has(first, 3)
    second = join()
    has(second, 1, 2)
    until(lambda: not (first.partitions() or set()) & (second.partitions() or set()), what="no overlap")
    assert (first.partitions() or set()) | (second.partitions() or set()) == {0, 1, 2}
    began = time.monotonic()
    second.close()
    has(first, 3)
    assert time.monotonic() - began < 15.0
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    offsets = admin.list_group_offsets([f"group-{topic}"])
    admin.close()
    assert list(offsets.values()) == [{}]


@pytest.mark.kafka
def test_a_job_that_hangs_gives_its_partitions_up(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not ask for its share for long loses it to another, and has one again when it comes round."""
    monkeypatch.setattr(share_module, "_ABSENT_SECONDS", 5.0)
    first = join()
    has(first, 3)
    second = join()
    has(second, 3)  # the first is not asked any more
    assert "went to others" in first.problem
    again = time.monotonic() + 8.0
    while time.monotonic() < again:  # beyond the time in which it would hang anew, it stays away
        assert len(second.partitions() or ()) == 3
        time.sleep(0.02)
    until(lambda: {len(one.partitions() or ()) for one in (first, second)} == {1, 2}, what="both have a share")
    until(lambda: (first.partitions(), first.problem)[1] == "" == (second.partitions(), second.problem)[1], what="calm")


def test_a_broker_that_is_not_there() -> None:
    """The share is not known, and says why; to make one and to close one does not wait for the broker."""
    began = time.monotonic()
    share = KafkaShare(f"127.0.0.1:{free_port()}", "ledger", "group", timeout_seconds=4.0)
    assert share.partitions() is None
    assert time.monotonic() - began < 4.0
    until(lambda: "No Kafka broker" in share.problem, what="the reason")
    share.close()


@pytest.mark.kafka
def test_a_group_that_may_not_be_joined_halts(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch, join: Join
) -> None:
    """What waiting won't mend is raised to the job."""

    def refused(*_: object) -> None:
        raise UnusableLog("These credentials may not join the group.", "Grant READ.")

    monkeypatch.setattr(share_module, "_joined", refused)
    share = join()

    def raises() -> bool:
        try:
            share.partitions()
        except LedgerError:
            return True
        return False

    until(raises, what="the error")
