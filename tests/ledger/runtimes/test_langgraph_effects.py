"""Effects of nodes: none in the name of a call that is over while they still run, and none told before it is done."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any

import pytest

pytest.importorskip("langgraph")

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, interrupt

from ledger.errors import LogUnavailable, WrongUsage
from ledger.runtimes.gate import Gate
from ledger.runtimes.guard import Unfinished
from ledger.runtimes.langgraph import Wired, guarded, wire
from ledger.runtimes.shut import Shut
from tests.ledger.runtimes.langgraph_graphs import (
    APPROVE,
    BELIEVING,
    CONFIG,
    State,
    answer,
    asking,
    graph_of,
    refund,
    states,
    wired_on,
)

PATIENCE_SECONDS = 20.0


class SlowNode:
    """A plain node that prepares for long: its thread goes on when the call is cancelled."""

    def __init__(self) -> None:
        self.effects: list[int] = []
        self.prepares, self.goes_on, self.left = Event(), Event(), Event()
        self.shut: Shut | None = None

    def __call__(self, state: State) -> State:
        action = refund(state["amount"])
        interrupt({"action": action})
        self.prepares.set()
        assert self.goes_on.wait(PATIENCE_SECONDS)
        try:
            guarded(action, lambda _: self.effects.append(state["amount"]))
        except Shut as shut:
            self.shut = shut
            raise
        finally:
            self.left.set()
        return {}


async def cancelled(wired: Wired, node: SlowNode) -> None:
    """Answer, and cancel the call while the node prepares."""
    (question,) = await asyncio.to_thread(wired.pending, CONFIG)
    call = asyncio.create_task(wired.ainvoke(Command(resume={question.id: APPROVE}), CONFIG))
    assert await asyncio.to_thread(node.prepares.wait, PATIENCE_SECONDS)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def gone_on(node: SlowNode) -> None:
    node.goes_on.set()
    assert await asyncio.to_thread(node.left.wait, PATIENCE_SECONDS)


def test_a_cancelled_call_acts_no_more(gate: Gate) -> None:
    """It gave back what was granted, and its node goes on: the node asks for nothing, and the effect isn't done."""
    node = SlowNode()
    wired = wired_on(gate, node)

    async def play() -> None:
        await wired.ainvoke({"amount": 20}, CONFIG)
        (question,) = await asyncio.to_thread(wired.pending, CONFIG)
        await cancelled(wired, node)
        assert gate.packet(question.paused[0])["side_effect"] == "not_happened"
        await gone_on(node)
        assert gate.packet(question.paused[0])["grant"] == "none"

    asyncio.run(play())
    assert node.effects == []
    assert node.shut is not None
    assert "over" in node.shut.reason
    answer(wired)
    assert node.effects == [20]


def test_a_call_that_could_not_give_back_is_over_too(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger can't be read when the call is cancelled: the grant stands, and the node may not use it."""
    node = SlowNode()
    wired = wired_on(gate, node)

    async def play() -> None:
        await wired.ainvoke({"amount": 20}, CONFIG)
        with monkeypatch.context() as patch:
            asked = gate.packet

            def packet(paused: Any) -> Any:
                if node.prepares.is_set():
                    raise LogUnavailable("It is away.", "Wait.")
                return asked(paused)

            patch.setattr(gate, "packet", packet)
            await cancelled(wired, node)
        await gone_on(node)

    asyncio.run(play())
    assert node.effects == []


def test_what_is_granted_after_the_end_is_given_back(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call ends while its node asks for a grant: what comes then is void at once, and serves nobody."""
    wired, effects = wired_on(gate, asking([])), list[int]()
    wired.invoke({"amount": 20}, CONFIG)
    (question,) = wired.pending(CONFIG)
    paused = question.paused[0]
    run = wired._begin(Command(resume={question.id: APPROVE}), CONFIG, {})
    gate.observe(paused, "not_happened", settles=gate.packet(paused)["side_effect_by"])
    run.grants.clear()
    ask = gate.request_resume

    def request_resume(*given: Any, **named: Any) -> Any:
        grant = ask(*given, **named)
        run.give_back()
        return grant

    monkeypatch.setattr(gate, "request_resume", request_resume)
    with pytest.raises(Shut, match="over"):
        effects.append(run.grant(paused).fence)
    assert gate.packet(paused)["side_effect"] == "not_happened"
    assert effects == []


def test_a_call_cancelled_before_it_runs_gives_back(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer was granted while the call was cancelled: the graph is not run, and the grant is void."""
    wired, asking_for, may = wired_on(gate, asking([])), Event(), Event()
    wired.invoke({"amount": 20}, CONFIG)
    (question,) = wired.pending(CONFIG)
    ask = gate.request_resume

    def request_resume(*given: Any, **named: Any) -> Any:
        asking_for.set()
        assert may.wait(PATIENCE_SECONDS)
        return ask(*given, **named)

    monkeypatch.setattr(gate, "request_resume", request_resume)

    async def play() -> None:
        call = asyncio.create_task(wired.ainvoke(Command(resume={question.id: APPROVE}), CONFIG))
        assert await asyncio.to_thread(asking_for.wait, PATIENCE_SECONDS)
        call.cancel()
        may.set()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(play())
    packet = gate.packet(question.paused[0])
    assert (packet["grant"], packet["side_effect"]) == ("none", "not_happened")


async def refund_later(_: Any) -> None:
    raise AssertionError("acted after it was told")


def test_an_async_act_is_not_told_as_done(gate: Gate) -> None:
    """A plain node can't await: an async act is refused before the attempt, one in disguise is nobody knows what."""

    def node(state: State) -> State:
        interrupt({"action": refund(20)})
        with pytest.raises(WrongUsage, match="aguarded"):
            guarded(refund(20), refund_later)
        guarded(refund(20), lambda permit: refund_later(permit))
        return {}

    wired = wired_on(gate, node)
    wired.invoke({"amount": 20}, CONFIG)
    (question,) = wired.pending(CONFIG)
    with pytest.raises(Unfinished):
        answer(wired)
    assert gate.packet(question.paused[0])["side_effect"] == "indeterminate"


def test_a_thread_that_waits_for_another_may_act_after_it(gate: Gate) -> None:
    """Two threads on one work item: the second's pause is refused while the first works, and opens afterwards."""
    effects: list[int] = []
    wired = wire(graph_of(asking(effects)), gate, BELIEVING._replace(subject=lambda _: "ORDER-1"))
    other: RunnableConfig = {"configurable": {"thread_id": "T-2"}}
    wired.invoke({"amount": 7}, CONFIG)
    wired.invoke({"amount": 8}, other)
    with pytest.raises(Shut):
        answer(wired, config=other)
    answer(wired)
    answer(wired, config=other)
    assert (effects, states(gate, "ORDER-1")) == ([7, 8], ["executed", "executed"])
