"""What a killed process left in LangGraph's checkpoints, told to the ledger: once, and over nobody's head."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from ledger.errors import LedgerError, LogUnavailable
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.langgraph_saver import WatchedSaver
from ledger.runtimes.langgraph_unsettled import Told, Unsettled, aunknown_outcomes, tell_unknown, unknown_outcomes
from ledger.runtimes.pauses import Paused
from tests.ledger.runtimes.checkpoint_graphs import ACTION, CONFIG, Crash, crash, graph, node
from tests.ledger.runtimes.gates import gate_on

ROOT = Path(__file__).parents[3]
ANNA = Who("user:anna")
TERMS: dict[str, Any] = {"owner": "user:anna", "fresh_for": timedelta(hours=1), "side_effect": "not_happened"}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Of nobody: whoever looks for what a crash left is no agent."""
    with gate_on(tmp_path, actor=None) as opened:
        yield opened


def paused_of(found: Unsettled) -> list[Paused]:
    """The pauses of an unsettled one, as an adapter might name them."""
    return [
        Paused.of(runtime="langgraph", subject="ORDER-1", execution=found.thread, interrupt=each.id, action=ACTION)
        for each in found.interrupts
    ]


def crashed() -> tuple[Unsettled, Paused]:
    saver = InMemorySaver()
    compiled = graph(a=node(ACTION, effect=crash)).compile(checkpointer=saver)
    compiled.invoke({"done": []}, CONFIG)
    with suppress(Crash):
        compiled.invoke(Command(resume="yes"), CONFIG)
    [found] = unknown_outcomes(saver)
    return found, paused_of(found)[0]


def told(gate: Gate, found: Unsettled) -> Any:
    [only] = tell_unknown(gate, found, paused_of)
    assert isinstance(only, Told)
    return only.answer


def test_telling_twice_counts_once(gate: Gate) -> None:
    """A pause that was resumed around the ledger reads reconcile once it is told; the second telling is a duplicate."""
    found, paused = crashed()
    gate.pause(paused, **TERMS)
    assert gate.decision(paused)["decision"] == "resume"
    assert told(gate, found).verdict == "accepted"
    assert gate.decision(paused)["decision"] == "reconcile"
    assert told(gate, found).verdict == "duplicate"


@pytest.mark.parametrize("status", ["happened", "not_happened"])
def test_who_has_looked_is_not_overruled(gate: Gate, status: Any) -> None:
    """An observation that came before the telling stands."""
    found, paused = crashed()
    gate.pause(paused, **TERMS)
    gate.request_resume(paused, who=ANNA)
    gate.reconcile(paused, lambda packet: status, who=ANNA)
    assert told(gate, found) is None
    assert gate.packet(paused)["side_effect"] == status


def test_who_looked_after_the_telling_is_not_overruled(gate: Gate) -> None:
    """Told, then looked at, then told again by the next sweep: what was seen stands."""
    found, paused = crashed()
    gate.pause(paused, **TERMS)
    told(gate, found)
    gate.reconcile(paused, lambda packet: "not_happened", who=ANNA)
    assert told(gate, found) is None
    assert gate.decision(paused)["decision"] == "resume"


def test_a_waiver_stands(gate: Gate) -> None:
    """A debt that a person wrote off is not brought back."""
    found, paused = crashed()
    gate.pause(paused, **TERMS)
    gate.request_resume(paused, who=ANNA)
    gate.ask("debt.waived", paused, {"pause": paused.pause, "reason": "too small"}, who=ANNA)
    assert told(gate, found) is None
    assert gate.packet(paused)["outcome"] == "waived"


def test_a_pause_that_the_ledger_does_not_know(gate: Gate) -> None:
    """It is not told, so that its id is not spent on a refusal: once the pause is there, it is told."""
    found, paused = crashed()
    assert told(gate, found) is None
    gate.pause(paused, **TERMS)
    assert told(gate, found).verdict == "accepted"


class Away:
    """A ledger that can't be read."""

    def packet(self, subject: str, pause: str) -> Any:
        raise LogUnavailable("The log can't be reached.", "Try again.")


def test_a_ledger_that_is_away_is_said(gate: Gate) -> None:
    """The telling raises, and the checkpoints keep what they say: the next sweep tells it."""
    found, paused = crashed()
    gate.pause(paused, **TERMS)
    reader, gate._reader = gate._reader, Away()  # type: ignore[assignment]
    with pytest.raises(LedgerError):
        told(gate, found)
    gate._reader = reader
    assert told(gate, found).verdict == "accepted"


def play(file: Path, command: str) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "tests.ledger.runtimes.checkpoint_graphs", str(file), command]
    return subprocess.Popen(program, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})


def stored(file: Path) -> bool:
    """Whether the answer is among the checkpoints."""
    with SqliteSaver.from_conn_string(str(file)) as saver:
        return bool(list(unknown_outcomes(saver)))


def killed(file: Path) -> None:
    """A pause in one process, and a resume in another that is killed once the effect has landed."""
    assert play(file, "pause").wait(120) == 0
    process = play(file, "resume")
    deadline = time.monotonic() + 120
    while not file.with_suffix(".effect").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    while not stored(file) and time.monotonic() < deadline:  # LangGraph stores an answer while the node runs already
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(120) == -signal.SIGKILL
    assert file.with_suffix(".effect").exists()


def test_a_killed_process_is_found_and_told(tmp_path: Path) -> None:
    """Killed -9 between a resume and its next checkpoint: found by both halves, told; when it went on it is gone."""
    file = tmp_path / "checkpoints.db"
    killed(file)
    with SqliteSaver.from_conn_string(str(file)) as saver:
        [found] = unknown_outcomes(WatchedSaver(saver, lambda fact: None))
        state = graph(pay=node(ACTION)).compile(checkpointer=saver).get_state(CONFIG)
    assert asyncio.run(found_async(file)) == [found]
    assert (found.thread, found.namespace, found.sign) == ("T-1", "", "answered")
    assert found.checkpoint == state.config["configurable"]["checkpoint_id"]
    assert (found.task, found.interrupt_ids) == (state.tasks[0].id, (state.interrupts[0].id,))
    with gate_on(tmp_path, actor=None) as gate:
        gate.pause(paused_of(found)[0], **TERMS)
        assert tell_unknown(gate, found, paused_of)[0].answer is not None
        assert gate.decision(paused_of(found)[0])["decision"] == "reconcile"
    assert play(file, "again").wait(120) == 0
    with SqliteSaver.from_conn_string(str(file)) as saver:
        assert list(unknown_outcomes(saver, unclear=True)) == []


async def found_async(file: Path) -> list[Unsettled]:
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        return [each async for each in aunknown_outcomes(WatchedSaver(saver, lambda fact: None), thread="T-1")]
