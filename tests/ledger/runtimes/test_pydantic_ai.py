"""Pydantic AI on a real ledger: what a saved history, an edit, a rewriting hook or a retry can't do."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")

from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    DeferredToolResults,
    FunctionToolset,
    ModelRetry,
    RunContext,
    Tool,
    ToolApproved,
)
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessagesTypeAdapter, ToolCallPart
from pydantic_ai.models.function import FunctionModel

from consumers.gates import open_gate
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.pauses import execution_id
from ledger.runtimes.pydantic_ai import GuardedToolset, LedgerCapability, LedgerRun
from ledger.runtimes.shut import Shut
from tests.faults.ledgers import url
from tests.faults.waiting import until
from tests.ledger.runtimes.pydantic_refunds import ANNA, TERMS, Refunds, approved, waiting_in


@pytest.mark.parametrize("by_the_tool_itself", [False, True])
def test_the_same_history_and_approval_act_once(gate: Gate, by_the_tool_itself: bool) -> None:
    """The same approval is given with the same history three times: the tool acts in the first."""
    refunds = Refunds(gate)
    refunds.tools = FunctionToolset([Tool(refunds.refund, requires_approval=by_the_tool_itself)])
    saved = refunds.start()
    results = approved(refunds, saved)
    assert refunds.go(saved, results).output == "done"
    for _ in range(2):
        with pytest.raises(Shut) as caught:
            refunds.go(saved, results)
        assert caught.value.branch == "closed"
    assert refunds.done == [20]
    assert refunds.pauses()[0]["outcome"] == "executed"


@pytest.mark.parametrize("answer", [True, ToolApproved(override_args={"amount": 2000})])
def test_an_approval_that_the_ledger_has_not_seen_is_none(gate: Gate, answer: Any) -> None:
    """Whoever answers Pydantic AI, and not the ledger, opens nothing."""
    refunds = Refunds(gate)
    saved = refunds.start()
    with pytest.raises(Shut) as caught:
        refunds.go(saved, DeferredToolResults(approvals={"c-1": answer}))
    assert caught.value.branch == "review"
    assert refunds.done == []


@pytest.mark.parametrize("change", [(b'{"amount":20}', b'{"amount":2000}'), (b'"c-1"', b'"c-2"')])
def test_a_changed_history_finds_no_pause(gate: Gate, change: tuple[bytes, bytes]) -> None:
    """The saved history is not authenticated: other arguments or another call id are not what was approved."""
    refunds = Refunds(gate)
    saved = refunds.start()
    approved(refunds, saved)
    changed = saved.replace(*change)
    assert changed != saved
    (call,) = waiting_in(changed)
    with pytest.raises(Shut, match="knows no pause"):
        refunds.run.proceed(DeferredToolResults(), call, who=ANNA)
    with pytest.raises(Shut, match="knows no pause"):
        refunds.go(changed, DeferredToolResults(approvals={call.tool_call_id: True}))
    assert refunds.done == []


def test_an_answer_with_other_arguments_than_were_approved_does_nothing(gate: Gate) -> None:
    """Approved one value, given another: the grant is there, and is not used."""
    refunds = Refunds(gate)
    saved = refunds.start()
    results = approved(refunds, saved)
    results.approvals["c-1"] = ToolApproved(override_args={"amount": 2000})
    with pytest.raises(Shut, match="other arguments"):
        refunds.go(saved, results)
    assert refunds.done == []
    results.approvals["c-1"] = True
    refunds.go(saved, results)
    assert refunds.done == [20]


@dataclass
class Rounding(AbstractCapability[Any]):
    """A capability that changes what a tool is called with, after the approver has seen it."""

    async def before_tool_execute(self, ctx: RunContext[Any], *, call: Any, tool_def: Any, args: Any) -> dict[str, Any]:
        return {**args, "amount": 100}


def test_a_hook_that_rewrites_arguments_does_nothing_unseen(gate: Gate) -> None:
    """pydantic-ai #6968: a hook changes arguments behind the approver's back, and the tool is not called with them."""
    refunds = Refunds(gate, more=[Rounding()])
    saved = refunds.start()
    with pytest.raises(Shut, match="other arguments"):
        refunds.go(saved, approved(refunds, saved))
    assert refunds.done == []


@dataclass
class Obliging(AbstractCapability[Any]):
    """A capability that approves everything inside of the run."""

    async def handle_deferred_tool_calls(self, ctx: Any, *, requests: DeferredToolRequests) -> DeferredToolResults:
        return requests.build_results(approve_all=True)


def test_an_approval_from_inside_of_the_run_is_none(gate: Gate) -> None:
    """A handler that approves inline, before anybody could be asked, opens nothing."""
    refunds = Refunds(gate, more=[Obliging()])
    with pytest.raises(Shut) as caught:
        refunds.start()
    assert caught.value.branch == "review"
    assert refunds.done == []


def test_an_approved_tool_without_a_guard_is_blocked(gate: Gate) -> None:
    """A tool that needs approval and was left out of the guarded toolset: the capability stops it."""
    refunds = Refunds(gate)
    saved = refunds.start()
    results = approved(refunds, saved)
    bare: Agent[None, Any] = Agent(
        FunctionModel(refunds.answer),
        output_type=[str, DeferredToolRequests],
        tools=[Tool(refunds.refund, requires_approval=True)],
        capabilities=[refunds.run.capability()],
    )
    history = ModelMessagesTypeAdapter.validate_json(saved)
    with pytest.raises(Shut, match="no guarded toolset"):
        bare.run_sync(message_history=history, deferred_tool_results=results)
    assert refunds.done == []


def test_a_stale_answer_to_an_edited_call_does_nothing(gate: Gate) -> None:
    """An edit that was made elsewhere, and an answer that says only yes: the model's own arguments are not used."""
    refunds = Refunds(gate)
    saved = refunds.start(("c-1", {"amount": 20}), ("c-2", {"amount": 30}))
    first, second = waiting_in(saved)
    results = DeferredToolResults()
    refunds.run.approve(results, first, who=ANNA, arguments={"amount": 5})
    edited = {"kind": "tool", "name": "refund", "arguments": {"amount": 7, "currency": "CHF"}}
    gate.review(refunds.run.paused(second), "edit", edited=edited, who=ANNA)
    refunds.run.proceed(results, second, who=ANNA)
    stale = DeferredToolResults(approvals={"c-1": results.approvals["c-1"], "c-2": True})
    with pytest.raises(Shut, match="other arguments"):
        refunds.go(saved, stale)
    assert 30 not in refunds.done


def test_parallel_calls_are_pauses_of_their_own(gate: Gate) -> None:
    """Three calls of one answer: edited, edited elsewhere, rejected; each is done as it was answered."""
    refunds = Refunds(gate)
    saved = refunds.start(("c-1", {"amount": 20}), ("c-2", {"amount": 30}), ("c-3", {"amount": 40}))
    first, second, third = waiting_in(saved)
    results = DeferredToolResults()
    refunds.run.approve(results, first, who=ANNA, arguments={"amount": 5})
    edited = {"kind": "tool", "name": "refund", "arguments": {"amount": 7}}
    gate.review(refunds.run.paused(second), "edit", edited=edited, who=ANNA)
    refunds.run.proceed(results, second, who=ANNA)
    refunds.run.reject(results, third, who=ANNA, message="not this one")
    told = refunds.go(saved, results).all_messages()[-2].parts
    assert sorted(refunds.done) == [5, 7]
    assert [part.content for part in told] == ["refunded 5.0 EUR", "refunded 7.0 EUR", "not this one"]
    assert sorted(pause["outcome"] for pause in refunds.pauses()) == ["executed", "executed", "rejected"]


def test_arguments_that_the_tool_converts_are_the_same(gate: Gate) -> None:
    """The model wrote text and left a default out: what the tool's own validator makes of it was approved."""
    refunds = Refunds(gate)
    saved = refunds.start(("c-1", '{"amount": "20.5"}'))
    refunds.go(saved, approved(refunds, saved))
    assert refunds.done == [20.5]


@pytest.mark.parametrize("error", [OSError("cut off"), ModelRetry("try again")])
def test_an_error_of_the_tool_says_that_nobody_knows(gate: Gate, error: Exception) -> None:
    """Not even ``ModelRetry`` proves that nothing happened: the model may ask again, the ledger says reconcile."""
    refunds = Refunds(gate)
    refunds.error = error
    saved = refunds.start()
    results = approved(refunds, saved)
    if isinstance(error, ModelRetry):
        refunds.go(saved, results)
    else:
        with pytest.raises(OSError, match="cut off"):
            refunds.go(saved, results)
    assert gate.decision(refunds.run.paused(waiting_in(saved)[0]))["decision"] == "reconcile"
    with pytest.raises(Shut):
        refunds.go(saved, results)
    assert refunds.done == [20]


def test_a_retry_that_was_named_as_proof(gate: Gate) -> None:
    """Where the tool's author says that ModelRetry comes before the effect, it is not_happened."""
    refunds = Refunds(gate)
    refunds.error = ModelRetry("no such order")
    saved = refunds.start()
    results = approved(refunds, saved)
    agent: Agent[None, Any] = Agent(
        FunctionModel(refunds.answer),
        output_type=[str, DeferredToolRequests],
        toolsets=[refunds.run.guarded(refunds.tools, proof=(ModelRetry,))],
    )
    agent.run_sync(message_history=ModelMessagesTypeAdapter.validate_json(saved), deferred_tool_results=results)
    assert gate.decision(refunds.run.paused(waiting_in(saved)[0]))["decision"] == "resume"


def test_a_tool_that_times_out_may_have_acted(gate: Gate) -> None:
    """Pydantic AI makes a retry of a timeout, while the thread goes on: the ledger says that nobody knows."""
    refunds = Refunds(gate)

    def refund(amount: float) -> str:
        """Refund, slowly."""
        time.sleep(4)  # the tool itself is what is slow
        refunds.done.append(amount)
        return "late"

    refunds.tools = FunctionToolset([Tool(refund, timeout=2.0)])
    saved = refunds.start()
    refunds.go(saved, approved(refunds, saved))
    assert gate.decision(refunds.run.paused(waiting_in(saved)[0]))["decision"] == "reconcile"
    until(lambda: refunds.done == [20])


def test_the_first_deadline_stands(gate: Gate) -> None:
    """A run that is begun again asks for the same call: told again, with another run id, it is the same pause."""
    refunds = Refunds(gate)
    refunds.start()
    (before,) = refunds.pauses()
    packet = gate.packet(refunds.run.paused(ToolCallPart("refund", {"amount": 20}, tool_call_id="c-1")))
    assert packet["runtime"]["conversation_id"] == "chat-1"
    again = Refunds(gate, fresh_for=timedelta(days=9))
    saved = again.start()
    assert [one["pause"] for one in again.pauses()] == [before["pause"]]
    assert gate.packet(again.run.paused(waiting_in(saved)[0]))["fresh_until"] == packet["fresh_until"]


def test_a_wrong_person_changes_neither_ledger_nor_results(gate: Gate) -> None:
    """What the ledger refuses is not written into the results."""
    refunds = Refunds(gate)
    (call,) = waiting_in(refunds.start())
    results = DeferredToolResults()
    for answer in (refunds.run.approve, refunds.run.reject):
        with pytest.raises(Shut) as caught:
            answer(results, call, who=Who("user:mallory"))
        assert caught.value.code == "no-authority"
    assert results.approvals == {}


def test_a_conversation_that_lives_for_ever_gets_generations(gate: Gate) -> None:
    """The same call id in a conversation's next run is another pause, with a key of its own; each acts once."""
    for generation in (1, 2):
        name = execution_id("chat-1", generation)
        refunds = Refunds(gate, execution=name, key=lambda tool, _, name=name: f"{tool}-{name}")
        saved = refunds.start()
        refunds.go(saved, approved(refunds, saved))
        assert refunds.done == [20]
        refunds.run.finished()
    assert len(refunds.pauses()) == 2


def test_agents_may_be_shared_between_runs(gate: Gate) -> None:
    """One agent, two work items: the dependencies say whose run a call is."""
    done: list[tuple[float, str]] = []

    def refund(ctx: RunContext[LedgerRun], amount: float) -> str:
        """Refund."""
        done.append((amount, ctx.deps.subject))
        return "ok"

    model = Refunds(gate)
    agent: Agent[LedgerRun, Any] = Agent(
        FunctionModel(model.answer),
        deps_type=LedgerRun,
        output_type=[str, DeferredToolRequests],
        toolsets=[GuardedToolset(FunctionToolset([refund]), lambda ctx: ctx.deps)],
        capabilities=[LedgerCapability(lambda ctx: ctx.deps)],
    )
    for subject in ("T-1", "T-2"):
        run = LedgerRun(gate, subject=subject, execution="chat-1#1", **TERMS)
        saved = agent.run_sync("please", deps=run).all_messages_json()
        results = DeferredToolResults()
        run.approve(results, waiting_in(saved)[0], who=ANNA)
        history = ModelMessagesTypeAdapter.validate_json(saved)
        agent.run_sync(message_history=history, deferred_tool_results=results, deps=run)
    assert done == [(20, "T-1"), (20, "T-2")]


def test_a_ledger_that_is_away_keeps_the_tool_from_acting(tmp_path: Path) -> None:
    """The approval was granted, then the log can't be opened: the tool waits its deadline and does nothing."""

    def opened(deadline_seconds: float) -> Any:
        return open_gate(url(tmp_path / "log.db"), source="urn:test", deadline_seconds=deadline_seconds)

    with opened(10.0) as gate:
        refunds = Refunds(gate)
        saved = refunds.start()
        results = approved(refunds, saved)
    with sqlite3.connect(tmp_path / "log.db", isolation_level=None) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        with opened(0.3) as gate:
            refunds = Refunds(gate)
            with pytest.raises(Shut) as caught:
                refunds.go(saved, results)
            lock.execute("ROLLBACK")
    lock.close()
    assert caught.value.branch == "unknown"
    assert refunds.done == []


def test_an_unguarded_tool_acts_again(gate: Gate) -> None:
    """The control: without the guard the same history and approval refund twice, so the tests above can fail."""
    done: list[float] = []

    def refund(amount: float) -> str:
        """Refund."""
        done.append(amount)
        return "ok"

    bare: Agent[None, Any] = Agent(
        FunctionModel(Refunds(gate).answer),
        output_type=[str, DeferredToolRequests],
        tools=[Tool(refund, requires_approval=True)],
    )
    history = bare.run_sync("please").all_messages()
    for _ in range(2):
        bare.run_sync(message_history=history, deferred_tool_results=DeferredToolResults(approvals={"c-1": True}))
    assert done == [20, 20]


def test_without_the_package_the_error_says_which_extra() -> None:
    """Whoever forgot the extra is told how to get it."""
    code = "import sys; sys.modules['pydantic_ai'] = None; import ledger.runtimes.pydantic_ai"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'pauseledger[pydantic-ai]'" in told.stderr
