"""What a gate tells, late, again or refused once: deadlines count from when they were given, and it can be mended."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import NotFound
from ledger.runtimes.gate import Gate, is_open
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from ledger.sending import Unknown
from ledger.times import parse_instant
from tests.faults.waiting import until
from tests.ledger.runtimes.gates import gate_on
from tests.ledger.runtimes.test_gate import ACTION, ANNA, TERMS, opened, paused_at


def test_a_pause_that_waited_in_the_outbox_is_as_old_as_it_was_told(tmp_path: Path) -> None:
    """The log was away for longer than the plan is fresh: when the outbox gets through, the plan is stale."""
    with gate_on(tmp_path, deadline_seconds=5.0) as gate:
        gate.pause(paused_at(subject="T-0"), **TERMS)  # the log is there, and then somebody holds it
        gate.deadline_seconds = 0.2
        with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            answer = gate.pause(paused_at(), **{**TERMS, "fresh_for": timedelta(seconds=1)})
            assert isinstance(answer, Unknown)
            assert answer.kept
            time.sleep(1)
            lock.execute("ROLLBACK")
        gate.deadline_seconds = 5.0
        until(lambda: told_of(gate, paused_at()))
        with pytest.raises(Shut) as caught:
            gate.request_resume(paused_at(), who=ANNA)
    assert (caught.value.branch, caught.value.code) == ("review", "decision-review")


def of_run(run: str) -> Paused:
    return Paused.of(runtime="test", subject="T-1", execution=run, interrupt="i-1", action=ACTION)


@pytest.mark.parametrize("terms", [TERMS, {**TERMS, "fresh_for": timedelta(hours=2)}])
def test_a_pause_that_was_refused_once_can_open_later(gate: Gate, terms: dict[str, Any]) -> None:
    """Another execution worked on it; when that has finished the same pause opens, told alike or on other terms."""
    gate.pause(of_run("run-1"), **TERMS)
    assert gate.tell_pause(of_run("run-2"), **TERMS).code == "not-canonical"
    assert not is_open(gate.tell_pause(of_run("run-2"), **TERMS))
    with pytest.raises(Shut, match=r"not the canonical one.*gate\.finish"):
        gate.pause(of_run("run-2"), **TERMS)
    gate.finish(of_run("run-1"))
    for _ in range(3):
        assert is_open(gate.pause(of_run("run-2"), **terms))
    with gate.guard(gate.request_resume(of_run("run-2"), who=ANNA)):
        pass
    states = [(one["execution"], one["outcome"]) for one in gate.work_item("T-1")["pauses"]]
    assert states == [("run-1", "finished"), ("run-2", "executed")]


def test_a_pause_that_was_refused_is_not_made_fresh_by_telling_it_again(gate: Gate) -> None:
    """It opens with the deadline that it had: the plan is as old as when it was told first."""
    gate.pause(of_run("run-1"), **TERMS)
    gate.tell_pause(of_run("run-2"), **TERMS)
    first = datetime.now(UTC)
    gate.finish(of_run("run-1"))
    time.sleep(0.05)
    assert gate.pause(of_run("run-2"), **TERMS).accepted
    assert parse_instant(gate.packet(of_run("run-2"))["fresh_until"]) <= first + timedelta(hours=1)


def test_a_pause_of_an_execution_that_has_ended_is_refused_once(gate: Gate) -> None:
    """What can never be accepted is not sent again under other names."""
    gate.pause(of_run("run-1"), **TERMS)
    gate.finish(of_run("run-1"))
    late = of_run("run-1")._replace(pause="late")
    assert gate.tell_pause(late, **TERMS).code == "execution-retired"
    assert gate.tell_pause(late, **TERMS).verdict == "duplicate"
    with pytest.raises(Shut, match="an execution of its own"):
        gate.pause(late, **TERMS)


def told_of(gate: Gate, paused: Paused) -> bool:
    with suppress(NotFound):
        return bool(gate.packet(paused))
    return False


class Slow:
    """A publisher whose events take a while to the log."""

    def __init__(self, gate: Gate) -> None:
        self._publisher = gate._publisher

    def publish(self, event: Any, *, deadline_seconds: float | None = None) -> Any:
        time.sleep(1.5)
        return self._publisher.publish(event, deadline_seconds=deadline_seconds)


def test_a_deadline_counts_from_when_it_was_given(gate: Gate) -> None:
    """Whoever says "fresh for a minute" means from now: a slow way to the log makes it no longer, of each kind."""
    slow = Gate(Slow(gate), gate._reader, source="urn:slow", who=ANNA)
    paused, minute = paused_at(), timedelta(minutes=1)
    for tell in (
        lambda: slow.pause(paused, **{**TERMS, "fresh_for": minute}),
        lambda: slow.recheck(paused, fresh_for=minute),
        lambda: slow.review(paused, "approve", fresh_for=minute),
    ):
        began = datetime.now(UTC)
        tell()
        assert parse_instant(gate.packet(paused)["fresh_until"]) - began < minute + timedelta(seconds=1.4)


def test_a_pause_told_again_at_another_time_is_the_same(gate: Gate) -> None:
    """The time is no part of what is said: a process that starts again says it later, and it counts once."""
    opened(gate)
    again = gate.pause(paused_at(), **TERMS)
    assert (again.verdict, again.accepted) == ("duplicate", True)


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_wrong_clock_can_only_shorten(gate: Gate, hours: int) -> None:
    """A clock that is behind makes the plan stale earlier, one that is ahead changes nothing: the log's counts."""
    paused, now = paused_at(), datetime.now(UTC)
    gate.pause(paused, time=now + timedelta(hours=hours), **TERMS)
    assert parse_instant(gate.packet(paused)["fresh_until"]) < now + timedelta(hours=1, minutes=1)
    assert (gate.decision(paused)["decision"] == "resume") == (hours > 0)


def test_an_observation_that_was_refused_can_be_mended(gate: Gate) -> None:
    """Another action was looked for, by mistake: looked at again, what is told now counts; told twice it is once."""
    paused = opened(gate)
    gate.request_resume(paused, who=ANNA)
    by = gate.packet(paused)["side_effect_by"]
    wrong = gate.observe(paused, "happened", settles=by, action_digest="sha256:" + "0" * 64)
    assert (wrong.verdict, wrong.code) == ("refused", "action-changed")
    answers = [gate.observe(paused, "happened", settles=by, evidence={"receipt": 7, "of": "bank"}) for _ in range(2)]
    assert [one.verdict for one in answers] == ["accepted", "duplicate"]
    assert gate.packet(paused)["side_effect"] == "happened"


def test_an_observation_of_somebody_with_authority_counts(gate: Gate) -> None:
    """The agent may not overrule what is known; the same, seen by the one who may, is another observation."""
    paused = opened(gate)
    with gate.guard(gate.request_resume(paused, who=ANNA), close=False):
        pass
    by = gate.packet(paused)["side_effect_by"]
    told = [gate.observe(paused, "indeterminate", settles=by, who=who).code for who in (None, ANNA)]
    assert told == ["contradicts", "ok"]
