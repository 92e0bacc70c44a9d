"""langchain's agent with its HumanInTheLoopMiddleware on the ledger: the tool runs only inside the guard."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool, ToolException
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from ledger.errors import WrongUsage
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.langgraph import Settings, Wired, wire
from ledger.runtimes.langgraph_tools import LedgerTools
from ledger.runtimes.shut import Shut
from ledger.sending import Unknown
from tests.ledger.runtimes.langgraph_graphs import ANNA, TERMS, states

CONFIG: Any = {"configurable": {"thread_id": "T-1", "pauseledger_actor": ANNA}}
INPUT: Any = {"messages": [{"role": "user", "content": "Refund it."}]}


class Scripted(GenericFakeChatModel):
    """A model that says what it was told to."""

    def bind_tools(self, *args: Any, **named: Any) -> Any:
        return self


def calls(*amounts: int) -> AIMessage:
    made = [{"name": "refund", "args": {"amount": one}, "id": f"call-{at}"} for at, one in enumerate(amounts)]
    return AIMessage("", tool_calls=made)


def agent(gate: Gate, effects: list[int], *said: AIMessage, mode: Any = "batched", on: Any = True) -> Wired:
    """An agent whose refunds need an approval."""

    def refund(amount: int) -> str:
        """Refund an amount."""
        effects.append(amount)
        if amount < 0:
            raise ValueError("no such amount")
        return f"refunded {amount}"

    middleware = [HumanInTheLoopMiddleware({"refund": on}, interrupt_mode=mode), LedgerTools(["refund"])]
    model = Scripted(messages=iter([*said, AIMessage("done")]))
    graph = create_agent(model, [refund], middleware=middleware, checkpointer=InMemorySaver())
    return wire(graph, gate, Settings(terms=TERMS))


def decided(wired: Wired, *types: Any) -> Any:
    """Answer the interrupts that wait: one for all calls, or one a call."""
    decisions = [{"type": one} if isinstance(one, str) else one for one in types]
    waiting = wired.pending(CONFIG)
    if len(waiting) == 1 and "action_requests" in waiting[0].value:
        return {waiting[0].id: {"decisions": decisions}}
    return {one.id: decision for one, decision in zip(waiting, decisions, strict=True)}


def replies(told: Any) -> list[str]:
    return [str(one.content) for one in told["messages"] if one.type == "tool"]


@pytest.mark.parametrize("mode", ["batched", "per_call"])
def test_each_call_is_a_pause(gate: Gate, mode: str) -> None:
    """Approved, edited and rejected in one turn: each does what was decided of it, once."""
    effects: list[int] = []
    wired = agent(gate, effects, calls(1, 2, 3), mode=mode)
    wired.invoke(INPUT, CONFIG)
    assert states(gate) == ["open"] * 3
    edit = {"type": "edit", "edited_action": {"name": "refund", "args": {"amount": 20}}}
    told = wired.invoke(Command(resume=decided(wired, "approve", edit, "reject")), CONFIG)
    assert sorted(effects) == [1, 20]
    assert states(gate) == ["executed", "executed", "rejected"]
    assert "refunded 1" in replies(told)[0] or "refunded 1" in str(replies(told))


@pytest.mark.parametrize("mode", ["batched", "per_call"])
def test_async_agents(gate: Gate, mode: str) -> None:
    """The same, async."""
    effects: list[int] = []
    wired = agent(gate, effects, calls(1, 2), mode=mode)

    async def run() -> Any:
        await wired.ainvoke(INPUT, CONFIG)
        return await wired.ainvoke(Command(resume=decided(wired, "approve", "approve")), CONFIG)

    assert "refunded 1" in str(replies(asyncio.run(run())))
    assert sorted(effects) == [1, 2]


def test_a_tool_that_nobody_was_asked_about_stays_shut(gate: Gate) -> None:
    """The middleware lets a call pass: the guard doesn't, and the model is told so."""
    effects: list[int] = []
    allowed = {"allowed_decisions": ["approve"], "when": lambda request: request.tool_call["args"]["amount"] > 10}
    for run in ("sync", "async"):
        wired = agent(gate, effects, calls(1), on=allowed)
        told = wired.invoke(INPUT, CONFIG) if run == "sync" else asyncio.run(wired.ainvoke(INPUT, CONFIG))
        assert replies(told)[0].startswith("Not done: Nobody was asked")
    assert effects == []


def test_past_the_wiring_a_tool_stays_shut(gate: Gate) -> None:
    """Approved on the bare agent, the tool does nothing."""
    effects: list[int] = []
    wired = agent(gate, effects, calls(1))
    wired.graph.invoke(INPUT, CONFIG)
    told = wired.graph.invoke(Command(resume={"decisions": [{"type": "approve"}]}), CONFIG)
    assert replies(told)[0].startswith("Not done: This graph is not run through wire()")
    assert effects == []


def test_the_same_call_again_is_adopted(gate: Gate) -> None:
    """A model that asks for the same refund a second time is told that it was done."""
    effects: list[int] = []
    wired = agent(gate, effects, calls(1), calls(1))
    wired.invoke(INPUT, CONFIG)
    wired.invoke(Command(resume=decided(wired, "approve")), CONFIG)
    told = wired.invoke(Command(resume=decided(wired, "approve")), CONFIG)
    assert replies(told) == ["refunded 1", "This was done before; it was not done again."]
    assert (effects, states(gate)) == ([1], ["executed", "settled"])


def test_a_tool_that_fails_leaves_an_unknown_outcome(gate: Gate) -> None:
    """An error proves nothing: the ledger says reconcile, and the refund is not tried again before somebody looked."""
    effects: list[int] = []
    wired = agent(gate, effects, calls(-1))
    wired.invoke(INPUT, CONFIG)
    (question,) = wired.pending(CONFIG)
    with pytest.raises(ValueError, match="no such amount"):
        wired.invoke(Command(resume=decided(wired, "approve")), CONFIG)
    assert gate.decision(question.paused[0])["decision"] == "reconcile"
    assert wired.pending(CONFIG) == []
    assert wired.unsettled(CONFIG) == list(question.paused)
    agents: Any = {"configurable": {"thread_id": "T-1"}}
    for config in (CONFIG, agents):  # as Anna, and as the agent, which has no authority
        with pytest.raises(Shut) as caught:
            wired.invoke(None, config)
        assert caught.value.outcome_unknown
    assert effects == [-1]
    assert states(gate) == ["open"]


@pytest.mark.parametrize("run", ["sync", "async"])
def test_after_a_crash_the_thread_goes_on_once_somebody_has_looked(gate: Gate, run: str) -> None:
    """Killed just after the effect: nothing goes on before the look, and after it the model hears that it was done."""
    effects: list[int] = []
    wired = agent(gate, effects, calls(1))
    crashed(gate, wired)

    def go_on() -> Any:
        return wired.invoke(None, CONFIG) if run == "sync" else asyncio.run(wired.ainvoke(None, CONFIG))

    with pytest.raises(Shut) as caught:
        go_on()
    assert caught.value.branch == "reconcile"
    assert (effects, states(gate)) == ([], ["open"])
    (paused,) = wired.unsettled(CONFIG)
    gate.reconcile(paused, lambda _: "happened", who=Who(ANNA))
    assert replies(go_on()) == ["This was done before; it was not done again."]
    assert (effects, states(gate), wired.unsettled(CONFIG)) == ([], ["settled"], [])


def test_after_a_crash_before_the_effect_the_approver_goes_on(gate: Gate) -> None:
    """Killed before the effect, and looked at: called again as the approver, the tool runs, once."""
    effects: list[int] = []
    wired = agent(gate, effects, calls(1))
    crashed(gate, wired)
    (paused,) = wired.unsettled(CONFIG)
    gate.reconcile(paused, lambda _: "not_happened", who=Who(ANNA))
    assert replies(wired.invoke(None, CONFIG)) == ["refunded 1"]
    assert (effects, states(gate)) == ([1], ["executed"])


def crashed(gate: Gate, wired: Wired) -> None:
    """Approved, granted and attempted, and then the process is gone: the tool is LangGraph's next step."""
    wired.invoke(INPUT, CONFIG)
    (question,) = wired.pending(CONFIG)
    gate.review(question.paused[0], "approve", who=Who(ANNA))
    gate.guard(gate.request_resume(question.paused[0], who=Who(ANNA))).__enter__()
    answer: Command[Any] = Command(resume={question.id: {"decisions": [{"type": "approve"}]}})
    wired.graph.invoke(answer, CONFIG, interrupt_before=["tools"])


def test_what_new_input_has_hidden_is_still_to_be_looked_for(gate: Gate) -> None:
    """Killed just after the effect, and then the user says something new: the old run is over, its debt is listed."""
    wired = agent(gate, [], calls(1), AIMessage("done"))
    crashed(gate, wired)
    wired.invoke(INPUT, CONFIG)
    assert states(gate) == ["finished"]
    (paused,) = wired.unsettled(CONFIG)
    gate.reconcile(paused, lambda _: "happened", who=Who(ANNA))
    assert wired.unsettled(CONFIG) == []
    other: Any = {"configurable": {"thread_id": "T-2"}}
    assert wired.unsettled(other) == []


class Away:
    """A publisher whose log can't be reached once the answer was granted."""

    def __init__(self, gate: Gate) -> None:
        self._publisher = gate._publisher

    def publish(self, event: Any, *, deadline_seconds: float | None = None) -> Any:
        if event["type"] == "pauseledger.side_effect.attempted":
            return Unknown(event["subject"], event["id"], event["source"], event["type"])
        return self._publisher.publish(event, deadline_seconds=deadline_seconds)


def test_where_the_ledger_is_away_the_thread_stays_where_it_is(gate: Gate) -> None:
    """Nobody can say whether the call may be made: the model is told nothing, and the thread can go on later."""
    effects: list[int] = []
    away = agent(Gate(Away(gate), gate._reader, source="urn:test", who=gate.who), effects, calls(1))
    away.invoke(INPUT, CONFIG)
    with pytest.raises(Shut) as caught:
        away.invoke(Command(resume=decided(away, "approve")), CONFIG)
    assert (caught.value.branch, effects) == ("unknown", [])
    assert (away.unsettled(CONFIG), states(gate)) == ([], ["open"])  # the grant that no attempt used was given back
    assert replies(wire(away.graph, gate, away.settings).invoke(None, CONFIG)) == ["refunded 1"]


@pytest.mark.parametrize(
    ("mode", "given"),
    [
        ("batched", True),
        ("batched", {"type": "approve"}),
        ("batched", {"decisions": [True]}),
        ("batched", {"decisions": [{"type": "edit", "edited_action": {"name": "refund", "args": {"amount": 2}}}]}),
        ("per_call", True),
    ],
)
def test_an_answer_that_the_middleware_cannot_read_is_refused_before_anything_is_granted(
    gate: Gate, mode: str, given: Any
) -> None:
    """The middleware would fail on it after the grant, each time anew: it is said at once, and nothing is granted."""
    effects: list[int] = []
    wired = agent(gate, effects, calls(1), mode=mode, on={"allowed_decisions": ["approve", "reject"]})
    wired.invoke(INPUT, CONFIG)
    (question,) = wired.pending(CONFIG)
    with pytest.raises(WrongUsage, match="HumanInTheLoopMiddleware"):
        wired.invoke(Command(resume={question.id: given}), CONFIG)
    packet = gate.packet(question.paused[0])
    assert (packet["reviewed"], packet["fence"]) == (None, None)
    assert replies(wired.invoke(Command(resume=decided(wired, "approve")), CONFIG)) == ["refunded 1"]


def test_a_tool_that_answers_with_an_error_is_no_success(gate: Gate) -> None:
    """The model gets the tool's error; the ledger says that nobody knows what was done by then."""

    def refuse(amount: int) -> str:
        """Refund an amount."""
        raise ToolException(f"timed out after sending {amount}")

    tool = StructuredTool.from_function(refuse, name="refund", handle_tool_error=True)
    middleware = [HumanInTheLoopMiddleware({"refund": True}), LedgerTools(["refund"])]
    model = Scripted(messages=iter([calls(1), AIMessage("done")]))
    graph = create_agent(model, [tool], middleware=middleware, checkpointer=InMemorySaver())
    wired = wire(graph, gate, Settings(terms=TERMS))
    wired.invoke(INPUT, CONFIG)
    (question,) = wired.pending(CONFIG)
    told = wired.invoke(Command(resume=decided(wired, "approve")), CONFIG)
    assert replies(told) == ["timed out after sending 1"]
    assert gate.packet(question.paused[0])["side_effect"] == "indeterminate"


def test_a_grant_outlives_its_process(gate: Gate) -> None:
    """Answered and granted, and dead before the tool ran: the next process takes the grant up, once."""
    effects: list[int] = []
    wired = agent(gate, effects, calls(1))
    wired.invoke(INPUT, CONFIG)
    (question,) = wired.pending(CONFIG)
    gate.review(question.paused[0], "approve", who=Who(ANNA))
    gate.request_resume(question.paused[0], who=Who(ANNA))
    # LangGraph has stored the answer, and its next step is the tool.
    answer: Command[Any] = Command(resume={question.id: {"decisions": [{"type": "approve"}]}})
    wired.graph.invoke(answer, CONFIG, interrupt_before=["tools"])
    assert effects == []
    assert replies(wired.invoke(None, CONFIG)) == ["refunded 1"]
    assert (effects, states(gate)) == ([1], ["executed"])
