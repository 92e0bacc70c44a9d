"""Why a gate stays shut, and what to do: who asked and who may, until when, and who may still be at work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from tests.ledger.runtimes.test_gate import ANNA, TERMS, opened, paused_at


def shut_by(ask: Callable[[], Any]) -> Shut:
    with pytest.raises(Shut) as caught:
        ask()
    return caught.value


def test_who_asked_and_who_may_is_said(gate: Gate) -> None:
    """A stranger reads whose authority it takes; where nobody was named, that the gate's own name counted."""
    paused = opened(gate, resume_authority=["user:anna", "role:ops"])
    bob = shut_by(lambda: gate.request_resume(paused, who=Who("user:bob", ["role:sales"])))
    assert bob.advice == "user:bob with the roles role:sales asked; it takes user:anna or role:ops."
    own = shut_by(lambda: gate.request_resume(paused))
    assert own.advice.startswith("service:agent (the gate's own name: give who=…")
    assert "pauseledger_actor" in own.advice
    assert own.reason == "Neither the actor nor one of its roles has the authority to do that."


def test_where_nobody_may_that_is_said(gate: Gate) -> None:
    """A pause without an owner can be resumed by nobody."""
    paused = paused_at()
    gate.pause(paused, side_effect="not_happened")
    assert "names nobody" in shut_by(lambda: gate.request_resume(paused, who=ANNA)).advice


def test_a_stale_plan_says_until_when_it_was_fresh(gate: Gate) -> None:
    """Approved too late without a deadline: who must recheck it, and how; with one that is too early: give another."""
    before = datetime.now(UTC) - timedelta(hours=1)
    paused = opened(gate, fresh_for=None, fresh_until=before, requires_review=True)
    late = shut_by(lambda: gate.review(paused, "approve", who=ANNA))
    assert late.reason == f"The plan was fresh until {gate.packet(paused)['fresh_until']}."
    assert late.advice.startswith("user:anna must recheck it first, gate.recheck(paused, fresh_for=…, who=…)")
    given = shut_by(lambda: gate.recheck(paused, fresh_until=before, who=ANNA))
    assert (given.reason, given.advice) == (
        "With that deadline the plan would not be fresh at this instant.",
        "Give a later one.",
    )
    gate.recheck(paused, fresh_for=timedelta(hours=1), who=ANNA)
    gate.review(paused, "approve", who=ANNA)


def test_a_plan_without_a_deadline_says_so(gate: Gate) -> None:
    """It was never fresh: there is no time to name."""
    paused = paused_at()
    gate.pause(paused, **{name: term for name, term in TERMS.items() if name != "fresh_for"}, requires_review=True)
    assert shut_by(lambda: gate.review(paused, "approve", who=ANNA)).reason == "The plan has no freshness deadline."


def test_before_anybody_looks_it_must_have_ended(gate: Gate) -> None:
    """An effect that is under way looks like one that was lost: the advice says by whose attempt and since when."""
    paused = opened(gate)
    grant = gate.request_resume(paused, who=ANNA)
    with gate.guard(grant):
        again = shut_by(lambda: gate.request_resume(paused, who=ANNA))
        packet = gate.packet(paused)
    assert again.branch == "reconcile"
    said = f"Since {packet['side_effect_since']} nobody knows: it was attempted by entry {packet['side_effect_by']}"
    assert again.advice.startswith(said)
    assert "Make sure first that nobody is still doing it" in again.advice
    assert "not_happened promises" in again.advice


def test_a_pause_that_is_not_there_says_where_to_look(gate: Gate) -> None:
    """Asked of a pause whose telling was refused, it says that the trail knows why."""
    opened(gate)
    absent = Paused.of(runtime="test", subject="T-1", execution="run-2", interrupt="i-1")
    assert "the trail of the work item says why" in shut_by(lambda: gate.request_resume(absent, who=ANNA)).advice
