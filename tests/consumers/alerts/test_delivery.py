"""From the alert to its targets: retries, dead letters and their replay, slow targets, two watchers at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from consumers.alerts import delivery, sweep
from consumers.alerts.addresses import target_name
from consumers.alerts.store import AlertStore, Delivery, Due
from consumers.alerts.webhook import WAIT_SECONDS, Webhook
from consumers.watcher import Watcher
from ledger.times import to_milliseconds
from tests.consumers.alerts.receiver import SECRET, Receiver, receiving
from tests.consumers.alerts.watching import EVERY, Watched, ids, run_until, watched
from tests.faults.command import run
from tests.faults.ledgers import url

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def hardly_any_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else indexes here, and to wait for nobody takes two seconds."""
    monkeypatch.setattr(sweep, "PATIENCE_SECONDS", 0.02)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def other() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Watched]:
    """A ledger on which the freshness of one pause has passed."""
    with watched(tmp_path) as made:
        made.open_pause(fresh_for="PT10M")
        made.at(11 * MINUTE)
        yield made


def deliveries(watcher: Watcher) -> list[Delivery]:
    return [one for told in watcher.store.told() for one in told.deliveries]


def states(watcher: Watcher) -> Counter[str]:
    return Counter(one.state for one in deliveries(watcher))


def ended(watcher: Watcher, attempts: int) -> Any:
    """Whether so many tries were made, and none is under way."""
    return lambda: (
        [one.attempts for one in deliveries(watcher)] == [attempts]
        and not any(lane.flying for lane in watcher._couriers._lanes)
    )


def test_every_target_gets_it_once(told: Watched, receiver: Receiver, other: Receiver) -> None:
    """The same event under the same id, signed, and no more of it when the watcher goes on or starts again."""
    for _ in range(2):
        with told.watcher(receiver.url, other.url) as watcher:
            run_until([watcher], lambda w=watcher: states(w) == {"delivered": 2}, "both deliveries")
            run_until([watcher] * 5, lambda: True, "some more steps")
            assert {receiver.ids[0]} == {other.ids[0]} == ids(watcher)
            assert {one.target for one in deliveries(watcher)} == {target_name(receiver.url), target_name(other.url)}
    assert len(receiver.posts) == len(other.posts) == 1
    assert receiver.posts[0].event == other.posts[0].event
    assert receiver.posts[0].event["type"] == "pauseledger.alert.freshness_expired"


def test_a_slow_target_holds_up_neither_the_sweep_nor_the_others(
    told: Watched, receiver: Receiver, other: Receiver
) -> None:
    """While one answers nothing at all, later deadlines are found and told to the other."""
    receiver.hold.clear()
    with told.watcher(receiver.url, other.url) as watcher:
        for number in range(10):
            told.open_pause(f"T-slow-{number}", fresh_for="PT1M")
        told.at(20 * MINUTE)
        run_until([watcher], lambda: len(other.posts) == 11, "the other's deliveries")
        assert len(receiver.posts) <= delivery.WORKERS
        assert states(watcher)["waiting"] == 11
        receiver.hold.set()
        run_until([watcher], lambda: states(watcher) == {"delivered": 22}, "all deliveries")
        assert sorted(receiver.ids) == sorted(other.ids)


def test_failures_are_tried_again_ever_more_rarely_then_die(told: Watched, receiver: Receiver) -> None:
    """Ten tries, each not before its time; then a dead letter that is tried no more, and that can be replayed."""
    receiver.status = 500
    with told.watcher(receiver.url) as watcher:
        for attempts, wait in enumerate((*WAIT_SECONDS, None), 1):
            run_until([watcher], ended(watcher, attempts), f"try {attempts}")
            (one,) = deliveries(watcher)
            assert one.said == "answered 500"
            if wait is None:
                break
            assert one.next_attempt is not None
            waits = one.next_attempt - to_milliseconds(told.our_time())
            assert wait * 1000 <= waits <= wait * 1200
            told.our_time.now += timedelta(milliseconds=waits - 1)
            run_until([watcher] * 3, lambda: True, "some more steps")
            assert len(receiver.posts) == attempts
            told.our_time.now += timedelta(milliseconds=1)
        assert states(watcher) == {"dead": 1}
        told.our_time.now += timedelta(days=30)
        run_until([watcher] * 3, lambda: True, "some more steps")
        assert len(receiver.posts) == len(WAIT_SECONDS) + 1
        assert watcher.deliveries == {
            (target_name(receiver.url), "failed"): 9,
            (target_name(receiver.url), "dead"): 1,
        }
        assert watcher.store.replay(None, to_milliseconds(told.our_time())) == 1
        run_until([watcher], ended(watcher, 1), "the first try of the replay")
        assert states(watcher) == {"waiting": 1}
        receiver.status = 200
        told.our_time.now += timedelta(seconds=6)
        run_until([watcher], lambda: states(watcher) == {"delivered": 1}, "the replay")
        assert len(set(receiver.ids)) == 1


def test_a_target_that_is_down_gets_it_when_it_is_back(told: Watched, receiver: Receiver) -> None:
    """A refused connection is a try that failed."""
    hook = Webhook(receiver.url, [SECRET])
    good, hook._port = hook._port, 1
    with told.watcher(hook) as watcher:
        run_until([watcher], ended(watcher, 1), "the first try")
        assert deliveries(watcher)[0].said == "could not be reached: Connection refused"
        hook._port = good
        told.our_time.now += timedelta(seconds=6)
        run_until([watcher], lambda: states(watcher) == {"delivered": 1}, "the delivery")


def test_gone_is_a_dead_letter_at_once(told: Watched, receiver: Receiver) -> None:
    """After one try."""
    receiver.status = 410
    with told.watcher(receiver.url) as watcher:
        run_until([watcher], lambda: states(watcher) == {"dead": 1}, "the dead letter")
        assert len(receiver.posts) == 1


def test_a_target_that_asks_for_rest_gets_it(told: Watched, receiver: Receiver) -> None:
    """429 with Retry-After: this alert comes back no sooner, and no other one is sent meanwhile."""
    receiver.status, receiver.headers = 429, {"retry-after": "120"}
    with told.watcher(receiver.url) as watcher:
        run_until([watcher], ended(watcher, 1), "the first try")
        (one,) = deliveries(watcher)
        assert one.next_attempt == to_milliseconds(told.our_time()) + 120_000
        told.open_pause("T-2", fresh_for="PT1M")
        told.at(13 * MINUTE)
        told.look(watcher)
        run_until([watcher] * 3, lambda: True, "some more steps")
        assert (len(ids(watcher)), len(receiver.posts)) == (2, 1)


def test_who_dies_in_the_middle_of_a_try_leaves_it_to_be_made_again(told: Watched, receiver: Receiver) -> None:
    """Claimed and posted, and never written down: the next watcher posts it again, under the same id."""
    with told.watcher() as watcher:
        told.look(watcher)
        (one,) = watcher.store.told()
        assert watcher.store.add([one.alert], [target_name(receiver.url)], to_milliseconds(told.our_time())) == []
        now = to_milliseconds(told.our_time())
        (due,) = watcher.store.due(target_name(receiver.url), EVERY, now, 9)
        assert watcher.store.claim(due, now + int(delivery.CLAIM_SECONDS * 1000))
        assert Webhook(receiver.url, [SECRET]).send(due).delivered
    with told.watcher(receiver.url) as watcher:
        run_until([watcher] * 3, lambda: True, "some more steps")
        assert len(receiver.posts) == 1
        told.our_time.now += timedelta(seconds=delivery.CLAIM_SECONDS)
        run_until([watcher], lambda: states(watcher) == {"delivered": 1}, "the delivery")
    assert len(receiver.posts) == 2
    assert len(set(receiver.ids)) == 1


def test_a_claim_is_one_watchers(told: Watched) -> None:
    """Who saw the same count and comes second has nothing; what came of an old try doesn't undo a newer one's."""
    with told.watcher() as watcher:
        told.look(watcher)
        (one,) = watcher.store.told()
        watcher.store.add([one.alert], ["t"], 1_000)
        (first,) = watcher.store.due("t", EVERY, 1_000, 9)
        assert watcher.store.claim(first, 2_000)
        assert not watcher.store.claim(first, 2_000)
        assert watcher.store.due("t", EVERY, 1_999, 9) == []
        (second,) = watcher.store.due("t", EVERY, 2_000, 9)
        assert (second.attempts, watcher.store.claim(second, 3_000)) == (1, True)
        watcher.store.dead(first, "late", 2_500)
        watcher.store.failed(first, "late", 9_000)
        assert [(d.state, d.next_attempt, d.said) for d in deliveries(watcher)] == [("waiting", 3_000, None)]
        watcher.store.delivered(first, 2_600, "it did arrive")
        watcher.store.dead(second, "late", 2_700)
        assert states(watcher) == {"delivered": 1}


def test_two_watchers_on_all_partitions_tell_each_deadline_under_one_id(told: Watched, receiver: Receiver) -> None:
    """Neither a second alert, nor, while both live, a second post."""
    for number in range(40):
        told.open_pause(f"T-x-{number}", fresh_for="PT1M")
    told.at(20 * MINUTE)
    with told.watcher(receiver.url) as one, told.watcher(receiver.url) as other:
        run_until([one, other], lambda: states(one) == {"delivered": 41}, "all deliveries")
        assert one.counts["freshness"] + other.counts["freshness"] == 41
        assert ids(one) == ids(other)
    assert Counter(receiver.ids) == dict.fromkeys(ids_of(told), 1)


def ids_of(told: Watched) -> list[str]:
    found = run("alerts", "--json", "--log", url(told.path), folder=told.folder).json
    return [one["id"] for one in found]


def test_a_try_that_ends_in_a_bug_is_tried_again(told: Watched) -> None:
    """It takes neither the watcher nor its thread with it."""

    class Broken:
        name = "broken"

        def send(self, due: Due) -> Any:
            raise RuntimeError(due.id)

        def wait_seconds(self, attempts: int) -> float | None:
            return 5.0

        def close(self) -> None:
            """Nothing."""

    with told.watcher(Broken()) as watcher:
        run_until([watcher], ended(watcher, 1), "the try")
        assert [one.said for one in deliveries(watcher)] == ["failed with RuntimeError"]


def test_an_older_index_gets_its_tables(told: Watched) -> None:
    """They are made where they are missing, as often as asked."""
    with told.watcher() as watcher:
        told.look(watcher)
        AlertStore(watcher._ledger.index)
        assert watcher.store.knows(next(iter(ids(watcher))))
        assert watcher.store.tally() == {}
