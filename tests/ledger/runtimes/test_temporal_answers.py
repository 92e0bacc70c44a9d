"""Answers that are none, that come at a bad moment or from anybody: the workflow neither hangs nor is misled."""

from __future__ import annotations

import asyncio
import threading
import uuid
from typing import Any

import pytest

pytest.importorskip("temporalio")

from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError, WorkflowUpdateStage

from ledger.errors import WrongUsage
from ledger.runtimes.gate import Gate, Grant
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from ledger.runtimes.temporal import ANSWER, LedgerActivities, answer
from ledger.runtimes.temporal_answers import ask, seen_in, written
from tests.ledger.runtimes.temporal_workflows import Bare
from tests.ledger.runtimes.test_temporal import ANNA, MALLORY, Handle, Stage, runner, stage, until_waiting

__all__ = ["runner", "stage"]  # fixtures
ACTION = {"kind": "tool", "name": "refund", "arguments": {"amount": 20}}
SEEN = Paused("T-1", "run", "p-1", ACTION)
GOOD = written(SEEN, "approve", edited=None, fresh_for=None, who=ANNA)
WRONG: list[Any] = [
    None,
    "approve",
    [],
    {},
    {name: value for name, value in GOOD.items() if name != "roles"},
    GOOD | {"more": 1},
    GOOD | {"outcome": "please"},
    GOOD | {"outcome": ["approve"]},
    GOOD | {"outcome": "edit"},
    GOOD | {"edited": ACTION},
    GOOD | {"outcome": "edit", "edited": {"name": "refund"}},
    GOOD | {"outcome": "edit", "edited": {**ACTION, "n": 2**60}},
    GOOD | {"fresh_for": "PT1H"},
    GOOD | {"fresh_for": True},
    GOOD | {"fresh_for": 0},
    GOOD | {"fresh_for": 1e300},
    GOOD | {"fresh_for": float("nan")},
    GOOD | {"actor": 7},
    GOOD | {"roles": "role:leads"},
    GOOD | {"roles": [None]},
    GOOD | {"seen": None},
    GOOD | {"seen": {"pause": "p-1"}},
    GOOD | {"seen": {**GOOD["seen"], "action": {"kind": 7}}},
]


def test_an_answer_is_read_as_it_was_written() -> None:
    """Approve, reject and edit, with and without a length of time; nobody's, too."""
    assert seen_in(GOOD) == SEEN
    assert seen_in(GOOD | {"actor": None, "fresh_for": 0.5}) == SEEN
    assert seen_in(GOOD | {"outcome": "edit", "edited": ACTION}) == SEEN
    assert seen_in(GOOD | {"seen": {**GOOD["seen"], "action": None}}) == SEEN._replace(action=None)


@pytest.mark.parametrize("asked", WRONG, ids=range(len(WRONG)))
def test_what_is_no_answer(asked: Any) -> None:
    """It is told apart before any handler or activity sees it, where it would be tried for ever."""
    with pytest.raises(ValueError, match=r"."):
        seen_in(asked)


def test_a_ledger_error_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activity that would fail the same way each time says so once."""

    class Wrong:
        def review(self, *_: Any, **__: Any) -> Any:
            raise WrongUsage("can't be", "mend it")

    assert ask(Wrong(), GOOD)["branch"] == "refused"  # type: ignore[arg-type]


def test_a_generator_is_no_effect(stage: Stage) -> None:
    """It would act while nobody looks any more."""

    def rows(_: Any) -> Any:
        yield 1

    with pytest.raises(WrongUsage, match="generator"):
        LedgerActivities(stage.gate).effect("rows", rows)


async def bare(stage: Stage, wait: float = 20.0, **terms: Any) -> Handle:
    stage.refunds.clear()
    stage.fails = None
    name = f"b-{uuid.uuid4().hex[:8]}"
    return await stage.client.start_workflow(Bare.run, args=[f"ORDER-{name}", terms, wait], id=name, task_queue="tests")


def test_strangers_do_not_hold_a_workflow_up(runner: asyncio.Runner, stage: Stage) -> None:
    """Updates of all shapes are refused one by one; the workflow hears the right one, and ends."""

    async def play() -> None:
        handle, paused = await stage.begin()
        good = written(paused, "approve", edited=None, fresh_for=None, who=ANNA)
        for asked in (
            "go",
            good | {"fresh_for": "x"},
            good | {"outcome": "please"},
            good | {"seen": {**good["seen"], "subject": "ORDER-of-somebody-else"}},
        ):
            with pytest.raises(WorkflowUpdateFailedError):
                await handle.execute_update(ANSWER, asked)
        await answer(handle, paused, who=ANNA)
        assert await handle.result() == ["executed", 1, ""]

    runner.run(play())


def test_whoever_the_ledger_knows_may_answer(runner: asyncio.Runner, stage: Stage) -> None:
    """The workflow was told of no owner: it leaves it to the ledger to say who may, and who may not."""

    async def play() -> None:
        handle = await bare(stage, fresh_for="PT1H")
        paused = await until_waiting(handle)
        stage.gate.ask("execution.claimed", paused, {"owner": "user:anna"})
        with pytest.raises(Shut, match="authority"):
            await answer(handle, paused, who=MALLORY)
        await answer(handle, paused, who=ANNA)
        assert (await handle.result())[0] == "executed"

    runner.run(play())


@pytest.mark.parametrize("terms", [{"fresh_for": "soon"}, {"heartbeat_timeout": "PT0S"}, {"fresh_for": 7}])
def test_terms_that_can_not_be_fail_the_workflow(runner: asyncio.Runner, stage: Stage, terms: dict[str, Any]) -> None:
    """Neither its task nor its activity is tried for ever."""

    async def play() -> None:
        handle = await bare(stage, owner="user:anna", **terms)
        async with asyncio.timeout(120):
            with pytest.raises(WorkflowFailureError):
                await handle.result()

    runner.run(play())


def test_an_answer_that_came_in_time_is_heard(
    runner: asyncio.Runner, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger takes longer than the rest of the wait: its grant is used, not left lying."""
    begun, go_on = threading.Event(), threading.Event()
    real = Gate.request_resume

    def slow(self: Gate, *args: Any, **named: Any) -> Grant:
        begun.set()
        assert go_on.wait(30)
        return real(self, *args, **named)

    monkeypatch.setattr(Gate, "request_resume", slow)

    async def play() -> None:
        handle = await bare(stage, 4.0, owner="user:anna", fresh_for="PT1H")
        paused = await until_waiting(handle)
        answered = asyncio.create_task(answer(handle, paused, who=ANNA))
        await asyncio.to_thread(begun.wait, 30)
        async with asyncio.timeout(120):
            while not await fired(handle):
                await asyncio.sleep(0.05)
        go_on.set()
        assert await answered is not None
        assert await handle.result() == ["executed", 1, ""]

    runner.run(play())


async def fired(handle: Handle) -> bool:
    """Whether the wait's timer has fired."""
    return any([event.HasField("timer_fired_event_attributes") async for event in handle.fetch_history_events()])


def test_a_handler_of_the_workflows_own_is_not_waited_for(runner: asyncio.Runner, stage: Stage) -> None:
    """It waits for what the workflow does after the pause: perform comes back before it has finished."""

    async def play() -> None:
        handle = await bare(stage, owner="user:anna", fresh_for="PT1H")
        paused = await until_waiting(handle)
        told = await handle.start_update(Bare.told_when_over, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        await answer(handle, paused, who=ANNA)
        async with asyncio.timeout(120):
            assert await told.result()
            assert (await handle.result())[0] == "executed"

    runner.run(play())


def test_to_observe_makes_nobody_wait(runner: asyncio.Runner, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks only whether an answer was accepted hears that at once, while the ledger is still being asked."""
    go_on = threading.Event()
    real = Gate.request_resume

    def slow(self: Gate, *args: Any, **named: Any) -> Grant:
        assert go_on.wait(30)
        return real(self, *args, **named)

    monkeypatch.setattr(Gate, "request_resume", slow)

    async def play() -> None:
        handle, paused = await stage.begin()
        asked = written(paused, "approve", edited=None, fresh_for=None, who=ANNA)
        async with asyncio.timeout(120):
            begun = await handle.start_update(ANSWER, asked, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        go_on.set()
        assert "fence" in await begun.result()
        assert (await handle.result())[0] == "executed"

    runner.run(play())


def test_a_grant_given_while_the_effect_is_tried_again_is_not_lost(runner: asyncio.Runner, stage: Stage) -> None:
    """The first try died, somebody looked and approved anew before the second: that approval acts."""

    async def play() -> None:
        handle, paused = await stage.begin()
        outstanding, tries = stage.gate.outstanding, []

        def meanwhile(seen: Paused) -> Grant | None:
            tries.append(seen)
            if len(tries) == 1:
                stage.gate.guard(outstanding(seen)).__enter__()  # type: ignore[arg-type]
                raise ConnectionResetError("the worker died after its attempt")
            if len(tries) == 2:
                stage.gate.reconcile(seen, lambda _: "not_happened", who=ANNA)
                asyncio.run_coroutine_threadsafe(answer(handle, paused, who=ANNA), loop).result(20)
            return outstanding(seen)

        loop = asyncio.get_running_loop()
        stage.gate.outstanding = meanwhile  # type: ignore[method-assign]
        try:
            await answer(handle, paused, who=ANNA)
            async with asyncio.timeout(120):
                assert (await handle.result())[0] == "executed"
        finally:
            del stage.gate.outstanding
        assert stage.refunds == [20]

    runner.run(play())
