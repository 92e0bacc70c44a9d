"""The OpenAI Agents SDK on a real ledger: what a saved state, an edit, a hidden error or a sibling can't do."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents")

from agents import Agent, Runner, RunState, function_tool
from agents.testing import ScriptedModel, function_call

from consumers.gates import open_gate
from ledger.errors import WrongUsage
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.openai_agents import LedgerRun, guarded_tool, permit
from ledger.runtimes.pauses import execution_id
from ledger.runtimes.shut import Shut
from tests.faults.ledgers import url
from tests.ledger.runtimes.openai_refunds import ANNA, DONE, OFFLINE, Refunds


def test_the_same_approved_state_acts_once(gate: Gate) -> None:
    """A state that was saved with its approval in it is run three times: the tool acts in the first."""
    refunds = Refunds(gate)
    state = refunds.state(refunds.start())
    refunds.run.approve(state, state.get_interruptions()[0], who=ANNA)
    approved = state.to_string()
    assert refunds.go(refunds.state(approved)).final_output == "done"
    for _ in range(2):
        with pytest.raises(Shut) as caught:
            refunds.go(refunds.state(approved))
        assert caught.value.branch == "closed"
    assert refunds.done == [20]


def test_an_approval_that_the_ledger_has_not_seen_is_none(gate: Gate) -> None:
    """Whoever writes the approval into the state, and not onto the ledger, opens nothing."""
    refunds = Refunds(gate)
    state = refunds.state(refunds.start())
    state.approve(state.get_interruptions()[0])
    with pytest.raises(Shut) as caught:
        refunds.go(state)
    assert caught.value.branch == "review"
    assert refunds.done == []


@pytest.mark.parametrize("call", [("c-1", 2000), ("c-2", 20)])
def test_a_forged_state_finds_no_pause(gate: Gate, call: tuple[str, int]) -> None:
    """The saved state is not authenticated: another call, or other arguments, was approved by nobody."""
    refunds = Refunds(gate)
    state = refunds.state(refunds.start())
    refunds.run.approve(state, state.get_interruptions()[0], who=ANNA)
    forged = refunds.state(refunds.paused_state(call))
    with pytest.raises(Shut, match="knows no pause"):
        refunds.run.proceed(forged, forged.get_interruptions()[0], who=ANNA)
    forged.approve(forged.get_interruptions()[0])
    with pytest.raises(Shut, match="knows no pause"):
        refunds.go(forged)
    assert refunds.done == []


def test_approving_for_ever_is_no_grant(gate: Gate) -> None:
    """``always_approve`` lets later calls by without an interruption: they have no pause, and do nothing."""
    refunds = Refunds(gate)
    state = refunds.state(refunds.start())
    item = state.get_interruptions()[0]
    refunds.run.approve(state, item, who=ANNA)
    state.approve(item, always_approve=True)
    with pytest.raises(Shut, match="knows no pause"):
        refunds.go(state, [function_call("refund", {"amount": 20}, call_id="c-2")], DONE)
    assert refunds.done == [20]


def test_an_edit_does_what_was_approved_and_the_model_is_told(gate: Gate) -> None:
    """The SDK can't edit a call: the tool does the ledger's arguments, and its output says so."""
    refunds = Refunds(gate)
    state = refunds.state(refunds.start())
    refunds.run.approve(state, state.get_interruptions()[0], who=ANNA, arguments={"amount": 5})
    refunds.go(state)
    assert refunds.done == [5]
    assert refunds.output() == 'A reviewer changed the arguments to {"amount": 5}. refunded 5'
    assert refunds.pauses()[0]["outcome"] == "executed"


def test_an_edit_that_the_tool_cannot_read_is_no_attempt(gate: Gate) -> None:
    """Bad arguments fail before the guard: the ledger shows a grant that nobody used, and nothing was done."""
    refunds = Refunds(gate)
    state = refunds.state(refunds.start())
    item = state.get_interruptions()[0]
    refunds.run.approve(state, item, who=ANNA, arguments={"amount": "many"})
    with pytest.raises(Exception, match="Invalid JSON input"):
        refunds.go(state)
    assert refunds.done == []
    assert gate.packet(refunds.run.paused(item))["grant"] == "granted"


def test_a_review_done_elsewhere_needs_only_the_grant(gate: Gate) -> None:
    """Anna edited in another program: ``proceed`` asks for what the ledger says now, and that is done."""
    refunds = Refunds(gate)
    state = refunds.state(refunds.start())
    item = state.get_interruptions()[0]
    edited = {"kind": "tool", "name": "refund", "arguments": {"amount": 7}}
    gate.review(refunds.run.paused(item), "edit", edited=edited, who=ANNA)
    refunds.run.proceed(state, item, who=ANNA)
    refunds.go(state)
    assert refunds.done == [7]


def test_a_review_cannot_make_another_tool_of_it(gate: Gate) -> None:
    """An edit that names another tool is done by nobody: this tool is not that one."""
    refunds = Refunds(gate)
    state = refunds.state(refunds.start())
    item = state.get_interruptions()[0]
    edited = {"kind": "tool", "name": "charge", "arguments": {"amount": 7}}
    gate.review(refunds.run.paused(item), "edit", edited=edited, who=ANNA)
    refunds.run.proceed(state, item, who=ANNA)
    with pytest.raises(Shut, match="no call of refund"):
        refunds.go(state)
    assert refunds.done == []


def test_an_error_of_the_tool_is_not_told_as_a_success(gate: Gate) -> None:
    """The SDK would make an output of it; here it ends the run, and the ledger says that nobody knows."""
    refunds = Refunds(gate)
    refunds.error = OSError("cut off")
    state = refunds.state(refunds.start())
    item = state.get_interruptions()[0]
    refunds.run.approve(state, item, who=ANNA)
    with pytest.raises(Exception, match="cut off"):
        refunds.go(state)
    assert gate.decision(refunds.run.paused(item))["decision"] == "reconcile"
    with pytest.raises(WrongUsage):
        refunds.run.tool(refunds.refund, failure_error_function=lambda *_: "never mind")


def test_parallel_calls_are_pauses_of_their_own(gate: Gate) -> None:
    """Two calls of one answer: one is approved, one rejected, and the model is told both."""
    refunds = Refunds(gate)
    state = refunds.state(refunds.start(("c-1", 20), ("c-2", 30)))
    first, second = state.get_interruptions()
    refunds.run.approve(state, first, who=ANNA)
    refunds.run.reject(state, second, who=ANNA, message="not this one")
    refunds.go(state)
    assert refunds.done == [20]
    assert refunds.output() == "not this one"
    assert {pause["outcome"] for pause in refunds.pauses()} == {"executed", "rejected"}


def test_a_call_that_its_sibling_cuts_short_is_not_forgotten(gate: Gate) -> None:
    """The SDK cancels a running call when another one's error ends the run: the ledger says that nobody knows."""
    refunds = Refunds(gate)
    begun = asyncio.Event()

    async def slow(amount: int) -> str:
        """Refund slowly, and be cut off."""
        begun.set()
        await asyncio.sleep(30)
        return "never"

    @function_tool(needs_approval=True, failure_error_function=None)
    async def failing(amount: int) -> str:
        """Fail, in the middle of the other."""
        await begun.wait()
        raise OSError("no network")

    refunds.agent.tools = [refunds.run.tool(slow), failing]
    calls = [function_call(name, {"amount": 1}, call_id=name) for name in ("slow", "failing")]
    result = refunds.go("please", calls)
    state = result.to_state()
    granted, other = state.get_interruptions()
    refunds.run.opened([granted])
    refunds.run.approve(state, granted, who=ANNA)
    state.approve(other)
    with pytest.raises(Exception, match="no network"):
        refunds.go(state)
    packet = gate.packet(refunds.run.paused(granted))
    assert (packet["grant"], packet["side_effect"]) == ("attempted", "indeterminate")
    assert gate.decision(refunds.run.paused(granted))["decision"] == "reconcile"


def test_a_tool_that_times_out_may_have_acted(gate: Gate) -> None:
    """The SDK makes an output of a timeout, and the run goes on: the ledger says that nobody knows."""
    refunds = Refunds(gate)

    async def refund(amount: int) -> str:
        """Refund, and wait for the receipt."""
        refunds.done.append(amount)
        await asyncio.sleep(30)
        return "never"

    refunds.agent.tools = [refunds.run.tool(refund, timeout=4.0)]
    state = refunds.state(refunds.start())
    item = state.get_interruptions()[0]
    refunds.run.approve(state, item, who=ANNA)
    assert refunds.go(state).final_output == "done"
    assert refunds.done == [20]
    assert gate.decision(refunds.run.paused(item))["decision"] == "reconcile"


def test_a_wrong_person_changes_neither_ledger_nor_state(gate: Gate) -> None:
    """What the ledger refuses is not written into the state: the run comes back with the same interruption."""
    refunds = Refunds(gate)
    state = refunds.state(refunds.start())
    for answer in (refunds.run.approve, refunds.run.reject):
        with pytest.raises(Shut) as caught:
            answer(state, state.get_interruptions()[0], who=Who("user:mallory"))
        assert caught.value.code == "no-authority"
    assert len(refunds.go(state).interruptions) == 1
    assert refunds.done == []


def test_an_agent_that_is_a_tool_speaks_as_its_root(gate: Gate) -> None:
    """The call of a sub-agent is a pause of the root's execution, and acts with the root's grant, once."""
    refunds = Refunds(gate)
    inner = refunds.agent.as_tool(tool_name="ask_refunds", tool_description="Refunds.")
    model = ScriptedModel([[function_call("ask_refunds", {"input": "refund"}, call_id="outer-1")]])
    root: Agent[Any] = Agent(name="root", model=model, tools=[inner])
    refunds.model.extend([[function_call("refund", {"amount": 20}, call_id="c-1")]])

    async def play() -> None:
        result = await Runner.run(root, "please", run_config=OFFLINE)
        refunds.run.opened(result.interruptions)
        state = await RunState.from_string(root, result.to_state().to_string())
        refunds.run.approve(state, state.get_interruptions()[0], who=ANNA)
        refunds.model.extend([DONE])
        model.extend([DONE])
        await Runner.run(root, state, run_config=OFFLINE)

    asyncio.run(play())
    assert refunds.done == [20]
    assert [(pause["execution"], pause["outcome"]) for pause in refunds.pauses()] == [("session-1#1", "executed")]


def test_a_session_that_lives_for_ever_gets_generations(gate: Gate) -> None:
    """The same call id in a session's next run is another pause; the same refund again needs a key of its own."""
    for generation in (1, 2):
        name = execution_id("session-1", generation)
        refunds = Refunds(gate, execution=name, key=lambda tool, _, name=name: f"{tool}-{name}")
        state = refunds.state(refunds.start())
        refunds.run.approve(state, state.get_interruptions()[0], who=ANNA)
        refunds.go(state)
        assert refunds.done == [20]
        refunds.run.finished()
    assert len(refunds.pauses()) == 2


def test_agents_may_be_shared_between_runs(gate: Gate) -> None:
    """One agent, two work items: the SDK's context says whose run a call is."""
    done: list[tuple[int, int]] = []

    def refund(amount: int) -> str:
        """Refund."""
        done.append((amount, permit().fence))
        return "ok"

    model = ScriptedModel()
    tool = guarded_tool(refund, lambda context: context.context)
    agent: Agent[Any] = Agent(name="shared", model=model, tools=[tool])

    async def play(run: LedgerRun, amount: int) -> None:
        model.extend([[function_call("refund", {"amount": amount}, call_id="c-1")], DONE])
        result = await Runner.run(agent, "please", context=run, run_config=OFFLINE)
        run.opened(result.interruptions)
        state = result.to_state()
        run.approve(state, result.interruptions[0], who=ANNA)
        await Runner.run(agent, state, run_config=OFFLINE)

    for subject, amount in (("T-1", 20), ("T-2", 30)):
        asyncio.run(play(Refunds(gate, subject=subject).run, amount))
    assert [amount for amount, _ in done] == [20, 30]


def test_a_ledger_that_is_away_keeps_the_tool_from_acting(tmp_path: Path) -> None:
    """The approval was granted, then the log can't be opened: the tool waits its deadline and does nothing."""

    def opened(deadline_seconds: float) -> Any:
        return open_gate(url(tmp_path / "log.db"), source="urn:test", deadline_seconds=deadline_seconds)

    with opened(10.0) as gate:
        refunds = Refunds(gate)
        state = refunds.state(refunds.start())
        refunds.run.approve(state, state.get_interruptions()[0], who=ANNA)
        approved = state.to_string()
    with sqlite3.connect(tmp_path / "log.db", isolation_level=None) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        with opened(0.3) as gate:
            refunds = Refunds(gate)
            with pytest.raises(Shut) as caught:
                refunds.go(refunds.state(approved))
            lock.execute("ROLLBACK")
    lock.close()
    assert caught.value.branch == "unknown"
    assert refunds.done == []


def test_what_is_no_function_call_is_refused(gate: Gate) -> None:
    """Hosted tools act elsewhere, where no guard stands: the adapter says so instead of pretending."""
    refunds = Refunds(gate)
    item = refunds.state(refunds.start()).get_interruptions()[0]
    item.raw_item = {"type": "mcp_approval_request", "id": "m-1", "name": "refund", "arguments": json.dumps({})}
    with pytest.raises(WrongUsage, match="function tools"):
        refunds.run.paused(item)


def test_an_unguarded_tool_acts_again(gate: Gate) -> None:
    """The control: without the guard the same approved state refunds twice, so the tests above can fail."""
    done: list[int] = []

    @function_tool(needs_approval=True)
    def refund(amount: int) -> str:
        """Refund."""
        done.append(amount)
        return "ok"

    refunds = Refunds(gate)
    refunds.agent.tools = [refund]
    state = refunds.state(refunds.start())
    state.approve(state.get_interruptions()[0])
    for _ in range(2):
        refunds.go(refunds.state(state.to_string()))
    assert done == [20, 20]


def test_without_the_package_the_error_says_which_extra() -> None:
    """Whoever forgot the extra is told how to get it."""
    code = "import sys; sys.modules['agents'] = None; import ledger.runtimes.openai_agents"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'pauseledger[openai-agents]'" in told.stderr
