"""The gate on a real ledger: what it tells, when it opens, and that it stays shut whenever nobody can say."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import LogUnavailable, WrongUsage
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.pauses import Paused, execution_id, pause_id
from ledger.runtimes.shut import Shut
from ledger.sending import Unknown
from tests.ledger.runtimes.gates import gate_on

ANNA = Who("user:anna")
ACTION = {"kind": "http", "name": "refund", "arguments": {"amount": 20}, "idempotency_key": "r-1"}
TERMS: dict[str, Any] = {
    "owner": "user:anna",
    "fresh_for": timedelta(hours=1),
    "side_effect": "not_happened",
}


def paused_at(interrupt: str = "i-1", action: dict[str, Any] | None = ACTION, subject: str = "T-1") -> Paused:
    return Paused.of(runtime="test", subject=subject, execution="run-1", interrupt=interrupt, action=action)


def opened(gate: Gate, **terms: Any) -> Paused:
    paused = paused_at()
    assert gate.pause(paused, **{**TERMS, **terms}).accepted
    return paused


def test_an_effect_is_done_once_and_told(gate: Gate) -> None:
    """A grant, an attempt, the effect, the observation with its evidence, the close: in this order, by one guard."""
    paused = opened(gate)
    with gate.guard(gate.request_resume(paused, who=ANNA)) as permit:
        assert gate.packet(paused)["grant"] == "attempted"
        assert permit.idempotency_key == "r-1"
        permit.evidence = {"receipt": 7}
    packet = gate.packet(paused)
    assert (packet["state"], packet["outcome"], packet["side_effect"]) == ("closed", "executed", "happened")
    assert gate.decision(paused)["decision"] == "closed"


def test_a_second_request_finds_it_settled(gate: Gate) -> None:
    """Who asks again while the effect is under way, or after it, is told so and may not act."""
    paused = opened(gate)
    grant = gate.request_resume(paused, who=ANNA)
    with pytest.raises(Shut, match="reconcile") as caught:
        gate.request_resume(paused, who=ANNA)
    assert caught.value.branch == "reconcile"
    assert caught.value.decision is not None
    with gate.guard(grant, close=False):
        pass
    with pytest.raises(Shut, match="settle") as caught:
        gate.request_resume(paused, who=ANNA)
    assert (caught.value.branch, caught.value.code) == ("settle", "decision-settle")
    gate.close(paused, "executed")
    with pytest.raises(Shut) as caught:
        gate.request_resume(paused, who=ANNA)
    assert caught.value.branch == "closed"


def test_a_grant_serves_one_attempt(gate: Gate) -> None:
    """Two guards with one grant: the second stays shut, and its effect is never begun."""
    paused = opened(gate)
    grant, done = gate.request_resume(paused, who=ANNA), []

    @gate.guard(grant)
    def first() -> str:
        done.append("first")
        return "result"

    assert first() == "result"
    with pytest.raises(Shut), gate.guard(grant):
        done.append("second")
    with pytest.raises(Shut):
        first()
    assert done == ["first"]


class Refused(Exception):
    """The target's word that it did nothing."""


@pytest.mark.parametrize(
    ("error", "status", "decision"),
    [(Refused(), "not_happened", "resume"), (OSError("cut off"), "indeterminate", "reconcile")],
)
def test_what_an_error_proves(gate: Gate, error: Exception, status: str, decision: str) -> None:
    """Only an error that was declared as proof says not_happened; any other says that nobody knows."""
    paused = opened(gate)
    with pytest.raises(type(error)), gate.guard(gate.request_resume(paused, who=ANNA), proof=(Refused,)):
        raise error
    assert gate.packet(paused)["side_effect"] == status
    assert gate.decision(paused)["decision"] == decision


def test_an_interrupt_proves_nothing(gate: Gate) -> None:
    """Ctrl-C in the middle of the effect leaves its outcome unknown, on the ledger too."""
    paused = opened(gate)
    with pytest.raises(KeyboardInterrupt), gate.guard(gate.request_resume(paused, who=ANNA)):
        raise KeyboardInterrupt
    assert gate.packet(paused)["side_effect"] == "indeterminate"


def test_the_way_out_of_reconcile(gate: Gate) -> None:
    """After a look at the world it goes on: not_happened opens the gate again, with another fence."""
    paused = opened(gate)
    lost = gate.request_resume(paused, who=ANNA)
    assert gate.outstanding(paused) == lost
    assert gate.reconcile(paused, lambda packet: "not_happened") == "not_happened"
    assert gate.outstanding(paused) is None
    grant = gate.request_resume(paused, who=ANNA)
    assert grant.fence > lost.fence
    with pytest.raises(Shut), gate.guard(lost):
        raise AssertionError("an old fence opened the gate")
    with gate.guard(grant):
        pass


def test_who_looks_too_late_overrules_nothing(gate: Gate) -> None:
    """An attempt that came while somebody looked away makes his look stale: it is refused."""
    paused = opened(gate)
    grant = gate.request_resume(paused, who=ANNA)

    def look(packet: dict[str, Any]) -> Any:
        gate.guard(grant).__enter__()
        return "not_happened"

    with pytest.raises(Shut) as caught:
        gate.reconcile(paused, look)
    assert caught.value.code == "stale-observation"
    assert gate.decision(paused)["decision"] == "reconcile"


def test_reviews(gate: Gate) -> None:
    """An action that needs a review waits for one; an edit makes another action of it; a reject closes."""
    paused = opened(gate, requires_review=True, resume_authority=["role:refunds"])
    with pytest.raises(Shut) as caught:
        gate.request_resume(paused, who=Who("user:bob", ["role:refunds"]))
    assert caught.value.branch == "review"
    with pytest.raises(Shut) as caught:
        gate.review(paused, "approve", who=Who("user:mallory"))
    assert (caught.value.branch, caught.value.code) == ("refused", "no-authority")
    edited = gate.review(paused, "edit", edited={**ACTION, "arguments": {"amount": 5}}, who=Who("role:refunds"))
    assert edited.pause == paused.pause
    with pytest.raises(Shut) as caught:
        gate.request_resume(paused, who=Who("role:refunds"))
    assert caught.value.code == "action-changed"
    with gate.guard(gate.request_resume(edited, who=Who("role:refunds"))) as permit:
        assert permit.action is not None
        assert permit.action["arguments"] == {"amount": 5}


def test_a_pause_told_again_keeps_its_first_deadline(gate: Gate) -> None:
    """A runtime that emits its interrupt again, with a later deadline, changes nothing."""
    paused = opened(gate, fresh_for=timedelta(seconds=1))
    before = gate.packet(paused)["fresh_until"]
    again = gate.pause(paused, **TERMS)
    assert (again.verdict, again.code) == ("refused", "id-reused")
    assert gate.packet(paused)["fresh_until"] == before


def test_a_heartbeat_and_changed_inputs(gate: Gate) -> None:
    """An owner who beats holds the pause; changed inputs take freshness and grant away."""
    paused = opened(gate, heartbeat_timeout=timedelta(hours=1), heartbeat_by="service:agent")
    assert gate.heartbeat(paused, id="b-1").verdict == "accepted"
    assert gate.heartbeat(paused, id="b-1").verdict in ("duplicate",)
    gate.inputs_changed(paused, id="1", reason="the price moved")
    assert gate.decision(paused)["decision"] == "review"
    gate.recheck(paused, fresh_for=timedelta(minutes=5), who=ANNA)
    assert gate.decision(paused)["decision"] == "resume"


def test_terms_that_cannot_be_meant_are_refused(gate: Gate) -> None:
    """A setting that the protocol doesn't know as such is the adapter's mistake, and is told at once."""
    with pytest.raises(WrongUsage, match=r"pause\.opened"):
        gate.pause(paused_at(), side_effect="perhaps")
    with pytest.raises(WrongUsage, match="subject"):
        paused_at(subject="")
    with pytest.raises(WrongUsage, match="numbers as strings"):
        paused_at(action={"kind": "k", "name": "n", "arguments": 2**60})


class Silent:
    """A ledger that never answers."""

    def publish(self, event: Any, *, deadline_seconds: float | None = None) -> Unknown:
        return Unknown(event["subject"], event["id"], event["source"], event["type"])


def test_a_ledger_that_does_not_answer_keeps_the_gate_shut(gate: Gate) -> None:
    """Neither a request nor an attempt without an answer is a permission."""
    paused = opened(gate)
    grant = gate.request_resume(paused, who=ANNA)
    away = Gate(Silent(), gate._reader, source="urn:test")
    for shut in (lambda: away.request_resume(paused), lambda: away.guard(grant).__enter__()):
        with pytest.raises(Shut) as caught:
            shut()
        assert caught.value.branch == "unknown"
    assert away.pause(paused).verdict == "unknown"


def test_a_log_on_a_broken_disk_keeps_the_gate_shut(tmp_path: Path) -> None:
    """A log that can't be opened is waited for no longer than the deadline."""
    with sqlite3.connect(tmp_path / "log.db", isolation_level=None) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        with gate_on(tmp_path, deadline_seconds=0.3) as gate, pytest.raises(Shut) as caught:
            gate.request_resume(paused_at(), who=ANNA)
    lock.close()
    assert caught.value.branch == "unknown"


def test_reading_is_bounded_too(tmp_path: Path) -> None:
    """A ledger that lets nobody read is no reason to wait for longer than the deadline, for whoever asks."""
    with sqlite3.connect(tmp_path / "log.db", isolation_level=None) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with gate_on(tmp_path, deadline_seconds=0.4) as gate:
            for ask in (gate.packet, gate.decision, gate.outstanding):
                with pytest.raises(LogUnavailable, match=r"within 0\.4 s"):
                    ask(paused_at())
            assert time.monotonic() - began < 10
            lock.execute("ROLLBACK")
    lock.close()


def test_async_effects(gate: Gate) -> None:
    """The guard takes coroutines, and a task that is cancelled in the middle leaves indeterminate behind."""
    paused = opened(gate)

    async def cancelled() -> None:
        async with gate.guard(gate.request_resume(paused, who=ANNA)):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert gate.packet(paused)["side_effect"] == "indeterminate"
    gate.reconcile(paused, lambda packet: "not_happened")

    @gate.guard(gate.request_resume(paused, who=ANNA))
    async def effect(amount: int) -> int:
        return amount

    assert asyncio.run(effect(20)) == 20
    assert gate.packet(paused)["outcome"] == "executed"


def test_names_of_executions_and_pauses() -> None:
    """Ids are stable, fit the protocol, and differ wherever one of their parts does."""
    assert execution_id("thread-1", 3) == "thread-1#3"
    assert len(execution_id("x" * 1_000, 1)) <= 256
    assert execution_id("x" * 1_000, 1) != execution_id("x" * 1_000, 2)
    parts = ["langgraph", "run", "c-1", "i-1", "sha256:ab"]
    ids = {pause_id(*parts)} | {pause_id(*[*parts[:at], "other", *parts[at + 1 :]]) for at in range(5)}
    assert len(ids) == 6
    assert len(pause_id("r", "e", "c", "i" * 500, None)) <= 256
    with pytest.raises(WrongUsage):
        execution_id("")
