"""Events that are submitted together: one deadline, one future, an outcome each."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from pathlib import Path

import pytest

from ledger.errors import LedgerError, WrongUsage
from ledger.verdict import Verdict
from tests.faults.courts import ScriptedCourt, waiting_in
from tests.faults.lines import note
from tests.faults.waiting import until
from tests.ledger.conftest import Opening

PATIENCE_SECONDS = 10.0


def test_many_events_share_a_future_in_their_order(opening: Opening, court: ScriptedCourt) -> None:
    """Each has its own outcome: a verdict, or the error of the one that this log can never take."""
    court.refuses = lambda draft: WrongUsage("too large") if draft.value == note(2) else None
    outcomes = opening().submit_all([note(n) for n in range(5)]).result(PATIENCE_SECONDS)
    assert [type(one) for one in outcomes] == [Verdict, Verdict, WrongUsage, Verdict, Verdict]
    assert court.values == [note(n) for n in (0, 1, 3, 4)]
    assert opening().submit_all([]).result(0) == []
    with pytest.raises(WrongUsage, match="no event"):
        opening().submit_all([note(9), 7])  # type: ignore[list-item]
    assert note(9) not in court.values


def test_many_events_have_one_deadline_and_are_known_as_far_as_they_are(
    opening: Opening, court: ScriptedCourt, outbox_path: Path
) -> None:
    """One that is late holds up the future, and no longer than to the deadline; what is known before can be read."""
    court.late = note(2)
    answers = opening().submit_all([note(n) for n in range(4)], deadline_seconds=4.0)
    until(lambda: len(answers.so_far()) == 2, what="two verdicts")
    assert not answers.done()
    found = answers.result(PATIENCE_SECONDS)
    assert [one.verdict for one in found if not isinstance(one, LedgerError)] == [
        "accepted",
        "accepted",
        "unknown",
        "accepted",
    ]
    assert answers.so_far() == found
    assert waiting_in(outbox_path) == [note(2)]


def test_what_is_cancelled_is_not_sent_any_more(opening: Opening, court: ScriptedCourt) -> None:
    """Nobody waits for it: neither what the log was asked to take in vain, nor what is queued; the rest is sent."""
    court.away = True
    publisher = opening()
    asked = publisher.submit(note(0))
    assert court.asked.wait(PATIENCE_SECONDS)
    queued = publisher.submit(note(1))
    assert asked.cancel()
    assert queued.cancel()
    court.away = False
    assert publisher.publish(note(2)).accepted
    assert court.values == [note(2)]


def test_a_cancelled_event_does_not_hold_up_closing(opening: Opening, court: ScriptedCourt) -> None:
    """Not even one that is cancelled while the publisher closes."""
    court.acknowledges = False
    publisher = opening(deadline_seconds=60.0)
    future = publisher.submit(note(0))
    assert court.asked.wait(PATIENCE_SECONDS)
    closing = threading.Thread(target=publisher.close)
    closing.start()
    time.sleep(0.2)
    assert future.cancel()
    closing.join(PATIENCE_SECONDS)
    assert not closing.is_alive()


def test_answers_are_let_go_before_their_deadline(opening: Opening) -> None:
    """What was answered costs no memory until then."""
    publisher = opening(deadline_seconds=3_600.0)
    gone = weakref.ref(publisher.submit_all([note(9)]))
    until(lambda: gc.collect() >= 0 and gone() is None, what="a future that nobody holds to be gone")


def test_a_parcel_larger_than_the_queue_is_taken_when_it_is_empty(opening: Opening, court: ScriptedCourt) -> None:
    """Else it could never be sent."""
    outcomes = opening(queued_events=10).submit_all([note(n) for n in range(50)]).result(PATIENCE_SECONDS)
    assert len(outcomes) == len(court.values) == 50
