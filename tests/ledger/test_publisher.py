"""The publisher keeps its deadlines, keeps facts, and forgets requests, whatever the log does.

A court that does as it is told stands in for the log here, to hold time; ``tests/faults`` has real ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from consumers.publishing import open_publisher
from ledger import publisher as publisher_module
from ledger.errors import DiskFailed, LedgerError, LogUnavailable, UnusableLog, WrongUsage
from ledger.log import Draft
from ledger.outbox import Outbox
from ledger.publisher import Publisher
from ledger.sending import Unknown
from ledger.verdict import Verdict
from tests.faults.courts import ScriptedCourt, waiting_in
from tests.faults.lines import note, resume
from tests.faults.waiting import until
from tests.ledger.conftest import Opening

PATIENCE_SECONDS = 60.0
LATE_SECONDS = 5.0
"""How much later than its deadline an answer may be on a machine that is busy with other things."""


def test_an_event_is_answered_with_its_verdict(opening: Opening) -> None:
    """The answer is the fold's, not a promise of one."""
    answer = opening().publish(note(1))
    assert isinstance(answer, Verdict)
    assert answer.accepted


def test_a_log_that_never_acknowledges_costs_the_deadline_and_no_more(opening: Opening, court: ScriptedCourt) -> None:
    """Five hundred events, each answered unknown at its own deadline."""
    court.acknowledges = False
    publisher = opening()
    began = time.monotonic()
    answers = [publisher.submit(note(n), deadline_seconds=0.3 + (n % 5) / 10) for n in range(500)]
    for number, answer in enumerate(answers):
        assert isinstance(found := answer.result(PATIENCE_SECONDS), Unknown)
        assert (found.code, found.entry, found.kept, found.accepted) == ("unacknowledged", None, True, False)
        assert found.id == f"note-{number}"
    assert 0.7 <= time.monotonic() - began < 0.7 + LATE_SECONDS


def test_an_event_that_is_recorded_and_not_judged_says_where_it_lies(opening: Opening, court: ScriptedCourt) -> None:
    """Unjudged is not unacknowledged: nothing has to be sent again, so nothing is kept."""
    court.judges = False
    publisher = opening()
    answer = publisher.publish(note(1), deadline_seconds=0.3)
    assert isinstance(answer, Unknown)
    assert (answer.code, answer.entry, answer.kept) == ("unjudged", (0, 0), False)
    assert publisher.waiting == 0
    court.judges = True


def test_a_fact_is_kept_before_its_caller_hears_that_it_is_unknown(
    opening: Opening, court: ScriptedCourt, outbox_path: Path
) -> None:
    """A caller that dies on hearing it loses nothing; a request is never kept."""
    court.acknowledges = False
    publisher = opening(deadline_seconds=0.3)
    seen: list[list[bytes]] = []
    fact = publisher.submit(note(1))
    fact.add_done_callback(lambda _: seen.append(waiting_in(outbox_path)))
    request = publisher.publish(resume())
    fact.result(PATIENCE_SECONDS)
    until(lambda: seen)
    assert seen[0] == [note(1)]
    assert isinstance(request, Unknown)
    assert not request.kept


def test_what_is_acknowledged_late_leaves_the_outbox(opening: Opening, court: ScriptedCourt) -> None:
    """The log's late yes settles an unknown fact without another sending."""
    court.acknowledges = False
    publisher = opening(deadline_seconds=0.3)
    publisher.publish(note(1))
    assert publisher.waiting == 1
    court.acknowledge()
    until(lambda: publisher.waiting == 0, what="an empty outbox")
    assert court.values == [note(1)]


def test_a_request_that_expires_in_the_queue_is_never_sent(opening: Opening, court: ScriptedCourt) -> None:
    """An old request is no new wish; the fact beside it arrives all the same."""
    court.away = True
    publisher = opening(deadline_seconds=0.3)
    answers = [publisher.submit(event) for event in (resume("a"), note(1), resume("b"))]
    assert {answer.result(PATIENCE_SECONDS).verdict for answer in answers} == {"unknown"}
    court.away = False
    assert publisher.publish(resume("c"), deadline_seconds=PATIENCE_SECONDS).accepted
    until(lambda: publisher.waiting == 0, what="an empty outbox")
    assert sorted(court.values) == sorted([resume("c"), note(1)])  # type: ignore[type-var]


def test_a_later_publisher_sends_what_an_earlier_one_kept(
    opening: Opening, court: ScriptedCourt, outbox_path: Path
) -> None:
    """The same bytes, so the same id, in the order in which they were kept."""
    court.away = True
    first = opening(deadline_seconds=0.2)
    for answer in [first.submit(note(n)) for n in range(20)]:
        answer.result(PATIENCE_SECONDS)
    first.close()
    later = ScriptedCourt()
    second = opening(open_court=lambda: later, outbox=Outbox(outbox_path, "log"))
    until(lambda: second.waiting == 0, what="an empty outbox")
    assert later.values == [note(n) for n in range(20)]


def test_a_full_queue_holds_the_caller_back_until_the_deadline(opening: Opening, court: ScriptedCourt) -> None:
    """Memory is bounded: with the queue full, submit waits, and answers at the deadline all the same."""
    court.acknowledges = False
    publisher = opening(queued_events=10)
    publisher.submit(note(0))
    assert court.asked.wait(PATIENCE_SECONDS)
    for number in range(1, 11):
        publisher.submit(note(number))
    began = time.monotonic()
    answer = publisher.submit(note(11), deadline_seconds=0.4)
    assert time.monotonic() - began >= 0.4
    assert answer.result(PATIENCE_SECONDS).verdict == "unknown"
    blocked = threading.Thread(target=publisher.submit, args=(note(12),))
    blocked.start()
    court.acknowledge()
    blocked.join(PATIENCE_SECONDS)
    assert not blocked.is_alive()


def test_closing_answers_what_is_outstanding(opening: Opening, court: ScriptedCourt, outbox_path: Path) -> None:
    """The with block ends at the last deadline, with every future answered and every fact kept."""
    court.acknowledges = False
    began = time.monotonic()
    with opening() as publisher:
        answers = [publisher.submit(note(n), deadline_seconds=0.5) for n in range(50)]
    assert time.monotonic() - began < 0.5 + 2 * LATE_SECONDS
    assert all(answer.done() for answer in answers)
    assert waiting_in(outbox_path) == [note(n) for n in range(50)]
    assert court.closed.wait(PATIENCE_SECONDS)


def test_closing_waits_for_verdicts_that_come(opening: Opening, court: ScriptedCourt) -> None:
    """Nothing that was submitted is cut off; a second close does nothing, and publishing is wrong usage."""
    publisher = opening()
    answers = [publisher.submit(note(n)) for n in range(3_000)]
    publisher.close()
    assert all(answer.result(0).accepted for answer in answers)
    publisher.close()
    with pytest.raises(WrongUsage, match="closed"):
        publisher.submit(note(1))


def test_a_log_that_is_unusable_is_everybodys_error(opening: Opening) -> None:
    """What no waiting can mend is raised to those who wait, and to those who come later."""

    def unusable() -> ScriptedCourt:
        time.sleep(0.2)
        raise UnusableLog("no ledger")

    publisher = opening(open_court=unusable)
    with pytest.raises(UnusableLog):
        publisher.publish(note(1))
    with pytest.raises(UnusableLog):
        publisher.publish(note(2))


def test_a_bug_in_a_court_is_an_error_and_no_silence(opening: Opening, court: ScriptedCourt) -> None:
    """Callers are told at once, in the ledger's own words."""
    court.refuses = lambda draft: ZeroDivisionError("bug")
    with pytest.raises(LedgerError, match="bug"):
        opening().publish(note(1))


def test_a_log_that_comes_back_is_used_at_once(opening: Opening, court: ScriptedCourt) -> None:
    """A court that can't be opened is asked again, for as long as somebody waits."""
    tries = iter([LogUnavailable("away"), LogUnavailable("away")])

    def sometimes() -> ScriptedCourt:
        for error in tries:
            raise error
        return court

    assert opening(open_court=sometimes).publish(note(1)).accepted


def test_an_event_that_this_log_refuses_is_refused_alone(opening: Opening, court: ScriptedCourt) -> None:
    """One event too large for its topic must neither end the publisher nor touch those beside it."""
    court.refuses = lambda draft: WrongUsage("too large") if draft.value == note(7) else None
    court.away = True
    publisher = opening()
    answers = [publisher.submit(note(n)) for n in range(20)]
    court.away = False
    for number, answer in enumerate(answers):
        if number == 7:
            with pytest.raises(WrongUsage, match="large"):
                answer.result(PATIENCE_SECONDS)
        else:
            assert answer.result(PATIENCE_SECONDS).accepted
    assert publisher.publish(note(99)).accepted


def test_a_fact_that_this_log_refuses_stays_and_blocks_nothing(
    opening: Opening, court: ScriptedCourt, outbox_path: Path
) -> None:
    """What lies in the outbox is never dropped, and one that can't be sent does not hold up those behind it."""
    outbox = Outbox(outbox_path, "log")
    outbox.put([("T-1", note(n), ()) for n in range(5)])
    court.refuses = lambda draft: WrongUsage("too large") if draft.value == note(0) else None
    publisher = opening(outbox=outbox)
    until(lambda: publisher.waiting == 1, what="four facts sent")
    assert publisher.publish(note(99)).accepted
    assert waiting_in(outbox_path) == [note(0)]


def test_a_log_that_forgets_a_record_does_not_hold_up_the_rest(
    opening: Opening, court: ScriptedCourt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A future that stays open for ever costs those behind it a bounded wait, and its fact is sent again."""
    monkeypatch.setattr(publisher_module, "LOST_SECONDS", 0.3)
    court.acknowledges = False
    publisher = opening(deadline_seconds=0.2)
    publisher.publish(note(1))
    court.acknowledges = True  # the open future stays open
    assert publisher.publish(note(2), deadline_seconds=PATIENCE_SECONDS).accepted
    until(lambda: publisher.waiting == 0, what="an empty outbox")
    assert court.values == [note(2), note(1)]


def test_an_outbox_that_fails_is_told_and_ends_nothing(
    opening: Opening,
    court: ScriptedCourt,
    outbox_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fact that can't be kept is unknown, and not kept; what only can't be removed is sent twice, and counts once."""
    outbox = Outbox(outbox_path, "log")
    publisher = opening(outbox=outbox, deadline_seconds=0.2)
    court.acknowledges = False
    publisher.publish(note(1))

    def full(rows: Sequence[object]) -> None:
        if rows:
            raise DiskFailed("the disk is full")

    monkeypatch.setattr(outbox, "put", full)
    answer = publisher.publish(note(2))
    assert isinstance(answer, Unknown)  # it may be on the log, or come there yet: no error may say that it is not
    assert (answer.code, answer.kept) == ("unacknowledged", False)
    assert "the disk is full" in caplog.text
    monkeypatch.setattr(outbox, "remove", full)
    court.acknowledge()
    assert publisher.publish(note(3), deadline_seconds=PATIENCE_SECONDS).accepted
    until(lambda: court.values.count(note(1)) > 1, what="a second sending")
    assert publisher.publish(note(4), deadline_seconds=PATIENCE_SECONDS).accepted
    monkeypatch.undo()
    until(lambda: publisher.waiting == 0, what="an empty outbox")


@pytest.mark.parametrize("seconds", [float("inf"), 1e12])
def test_a_deadline_may_lie_as_far_away_as_one_likes(opening: Opening, court: ScriptedCourt, seconds: float) -> None:
    """Longer than the machine's clock can wait is still a deadline, and shorter ones beside it hold."""
    court.acknowledges = False
    publisher = opening()
    patient = publisher.submit(note(1), deadline_seconds=seconds)
    assert publisher.publish(note(2), deadline_seconds=0.2).verdict == "unknown"
    assert not patient.done()
    court.acknowledge()
    assert patient.result(PATIENCE_SECONDS).accepted


@pytest.mark.parametrize("seconds", [float("nan"), -1.0])
def test_a_deadline_that_is_none_is_wrong_usage(opening: Opening, seconds: float) -> None:
    """Nothing is sent."""
    with pytest.raises(WrongUsage, match="deadline"):
        opening().submit(note(1), deadline_seconds=seconds)


def test_eight_threads_share_a_publisher_on_a_real_log(tmp_path: Path) -> None:
    """Each gets the verdict of its own event, and the log holds each event once."""
    answers: dict[int, Verdict | Unknown] = {}
    address = f"sqlite:///{tmp_path}/ledger.db"
    with open_publisher(address, outbox=tmp_path / "o") as publisher:

        def publish(thread: int) -> None:
            for number in range(50):
                name = 50 * thread + number
                answers[name] = publisher.publish(note(name, f"T-{thread}"))

        threads = [threading.Thread(target=publish, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {name: answer.id for name, answer in answers.items()} == {name: f"note-{name}" for name in range(400)}
    entries = {answer.offset for answer in answers.values() if isinstance(answer, Verdict) and answer.accepted}
    assert entries == set(range(400))


def test_closing_while_others_publish_leaves_nobody_waiting(court: ScriptedCourt) -> None:
    """Whoever publishes while another thread closes is answered or told that it is closed."""
    publisher = Publisher(lambda: court, deadline_seconds=0.5)
    done = []

    def publish() -> None:
        with suppress(WrongUsage):
            while True:
                assert publisher.publish(note(1)).verdict in ("accepted", "unknown")
        done.append(True)

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert court.asked.wait(PATIENCE_SECONDS)
    publisher.close()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(done) == 8


def test_a_draft_is_on_the_partition_of_its_key() -> None:
    """What has no subject goes where an empty key goes."""
    from ledger.partitions import partition_of
    from ledger.sending import Sending

    assert Sending(b"[]").draft(6) == Draft(
        partition_of("", 6), None, b"[]", (("content-type", b"application/cloudevents+json"),)
    )


def test_one_record_that_is_late_does_not_hold_up_its_batch(opening: Opening, court: ScriptedCourt) -> None:
    """A partition without a leader costs only its own events the deadline."""
    publisher = opening()
    court.away = True
    answers = [publisher.submit(note(n), deadline_seconds=4.0) for n in range(20)]
    court.late = note(3)
    court.away = False
    found = [answer.result(PATIENCE_SECONDS) for answer in answers]
    assert [number for number, answer in enumerate(found) if not answer.accepted] == [3]


def test_a_court_that_can_not_be_closed_is_no_traceback(opening: Opening, court: ScriptedCourt) -> None:
    """Its client may find its broker frozen just then; everybody has been answered."""

    def stuck() -> None:
        court.closed.set()
        raise ZeroDivisionError("the client's own error")

    court.close = stuck  # type: ignore[method-assign]
    with opening() as publisher:
        assert publisher.publish(note(1)).accepted
    assert court.closed.wait(PATIENCE_SECONDS)
