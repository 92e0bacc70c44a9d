"""``Runner.run_streamed`` on a real ledger: the same pauses, the same guard; and what a stream that is left tells."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("agents")

from agents import Runner, RunResultStreaming, RunState
from agents.testing import function_call

from ledger.errors import WrongUsage
from ledger.runtimes.gate import Gate
from ledger.runtimes.guard import Unfinished
from ledger.runtimes.openai_agents import RunShut
from tests.ledger.runtimes.openai_refunds import ANNA, DONE, OFFLINE, Refunds

CALL = [function_call("refund", {"amount": 20}, call_id="c-1")]
PATIENCE_SECONDS = 20.0


def begun(refunds: Refunds, what: Any, *answers: Any) -> RunResultStreaming:
    refunds.model.extend(answers or [DONE])
    return Runner.run_streamed(refunds.agent, what, run_config=OFFLINE)


async def streamed(refunds: Refunds, what: Any, *answers: Any) -> RunResultStreaming:
    """Run to the end of the stream."""
    result = begun(refunds, what, *answers)
    async for _ in result.stream_events():
        pass
    return result


async def approved(refunds: Refunds) -> str:
    """Stream to the interruption, tell of it, and approve; the saved state."""
    result = await streamed(refunds, "please", CALL)
    refunds.run.opened(result.interruptions)
    state = result.to_state()
    await asyncio.to_thread(refunds.run.approve, state, state.get_interruptions()[0], who=ANNA)
    return str(state.to_string())


async def again(refunds: Refunds, saved: str) -> RunState[Any, Any]:
    return await RunState.from_string(refunds.agent, saved)


def test_a_streamed_run_pauses_and_acts_once(gate: Gate) -> None:
    """Its interruptions are pauses, its tool acts in the guard; the same state streamed again raises ``Shut``."""
    refunds = Refunds(gate)

    async def play() -> None:
        saved = await approved(refunds)
        assert (await streamed(refunds, await again(refunds, saved))).final_output == "done"
        with pytest.raises(RunShut) as caught:
            await streamed(refunds, await again(refunds, saved))
        assert caught.value.branch == "closed"

    asyncio.run(play())
    assert refunds.done == [20]
    assert [pause["outcome"] for pause in refunds.pauses()] == ["executed"]


def test_a_streamed_run_that_nobody_approved_does_nothing(gate: Gate) -> None:
    """An approval that stands only in the state ends the stream with ``Shut``."""
    refunds = Refunds(gate)

    async def play() -> None:
        result = await streamed(refunds, "please", CALL)
        refunds.run.opened(result.interruptions)
        state = result.to_state()
        state.approve(state.get_interruptions()[0])
        with pytest.raises(RunShut) as caught:
            await streamed(refunds, state)
        assert caught.value.branch == "review"

    asyncio.run(play())
    assert refunds.done == []


class Slow(Refunds):
    """Its tool acts, and then waits for its receipt."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.acted = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.was_cut_short = asyncio.Event()
        self.agent.tools = [self.run.tool(self.slowly, name_override="refund")]

    async def slowly(self, amount: int) -> str:
        """Refund."""
        self.done.append(amount)
        self.acted.set()
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.was_cut_short.set()
            raise
        return "ok"


async def until_settled(refunds: Refunds, wanted: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await asyncio.to_thread(packet, refunds))["side_effect"] != wanted:
            await asyncio.sleep(0.02)


def packet(refunds: Refunds) -> dict[str, Any]:
    (paused,) = refunds.pauses()
    return refunds.run.gate._reader.packet(refunds.run.subject, paused["pause"])


def test_a_stream_that_is_cancelled_in_the_middle_is_not_forgotten(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """``cancel()`` cuts the tool short: the ledger says that nobody knows, and the state serves no second time."""
    told: list[str] = []
    observe = gate.observe
    monkeypatch.setattr(gate, "observe", lambda *given, **more: (told.append(given[1]), observe(*given, **more)))

    async def play() -> Refunds:
        refunds = Slow(gate)
        saved = await approved(refunds)
        result = begun(refunds, await again(refunds, saved))
        await asyncio.wait_for(refunds.acted.wait(), PATIENCE_SECONDS)
        assert (await asyncio.to_thread(packet, refunds))["grant"] == "attempted"
        result.cancel()
        async for _ in result.stream_events():
            pass
        await asyncio.wait_for(refunds.was_cut_short.wait(), PATIENCE_SECONDS)
        with pytest.raises(RunShut) as caught:
            await streamed(refunds, await again(refunds, saved))
        assert caught.value.branch == "reconcile"
        return refunds

    assert asyncio.run(play()).done == [20]
    assert told == ["indeterminate"]


def test_a_stream_that_nobody_reads_acts_all_the_same(gate: Gate) -> None:
    """The SDK runs in the background: whoever reads no events still has the effect, once, and told."""

    async def play() -> Refunds:
        refunds = Slow(gate)
        result = begun(refunds, await again(refunds, await approved(refunds)))
        refunds.goes_on.set()
        await until_settled(refunds, "happened")
        del result
        return refunds

    assert asyncio.run(play()).done == [20]


def test_a_tool_that_has_yet_to_run_is_not_told_as_done(gate: Gate) -> None:
    """A plain function that comes back with a coroutine is ended with an error; a generator is no tool at all."""
    refunds = Refunds(gate)

    async def later(amount: int) -> str:
        return refunds.refund(amount)

    def refund(amount: int) -> Any:
        """Refund."""
        return later(amount)

    refunds.agent.tools = [refunds.run.tool(refund)]

    async def play() -> None:
        saved = await approved(refunds)
        with pytest.raises(Exception, match="not done yet") as caught:
            await streamed(refunds, await again(refunds, saved))
        assert isinstance(caught.value, Unfinished) or isinstance(caught.value.__cause__, Unfinished)

    asyncio.run(play())
    assert (refunds.done, packet(refunds)["side_effect"]) == ([], "indeterminate")

    def generator(amount: int) -> Any:
        """Refund."""
        yield amount

    with pytest.raises(WrongUsage, match="generator"):
        refunds.run.tool(generator)
