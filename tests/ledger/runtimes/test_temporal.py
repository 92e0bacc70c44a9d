"""Temporal with the ledger, on its development server: what the validator refuses, and what the guard stops."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("temporalio")

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Replayer, Worker

from consumers.gates import open_gate
from ledger.errors import NotFound
from ledger.runtimes.gate import Gate, Grant, Who
from ledger.runtimes.guard import Permit
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from ledger.runtimes.temporal import WAITING, LedgerActivities, Observing, answer, waiting
from tests.contract.runtimes.temporal_server import running
from tests.faults.ledgers import url
from tests.ledger.runtimes.temporal_workflows import Bare, Parent, Refund

ANNA = Who("user:anna")
MALLORY = Who("user:mallory")
Handle = WorkflowHandle[Any, Any]


class Refused(Exception):
    """The target's word that it did nothing."""


class Stage:
    """A server, a worker, a ledger, and what was refunded on it."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.refunds: list[int] = []
        self.fails: Exception | None = None
        self.client: Client

    async def refund(self, permit: Permit) -> int:
        assert permit.action is not None
        if isinstance(self.fails, Refused):
            raise self.fails
        self.refunds.append(permit.action["arguments"]["amount"])
        if self.fails is not None:
            raise self.fails
        return len(self.refunds)

    async def work(self, address: str) -> Worker:
        self.client = await Client.connect(address, interceptors=[Observing(self.gate)])
        ledger = LedgerActivities(self.gate)
        effect = ledger.effect("refund", self.refund, proof=(Refused,))
        activities = [*ledger.activities, effect]
        worker = Worker(self.client, task_queue="tests", workflows=[Refund, Parent, Bare], activities=activities)
        await worker.__aenter__()
        return worker

    async def begin(self, *, fresh: float = 3600.0, wait: float = 20.0) -> tuple[Handle, Paused]:
        """A workflow on a work item of its own, at its pause."""
        self.refunds.clear()
        self.fails = None
        name = f"w-{uuid.uuid4().hex[:8]}"
        handle = await self.client.start_workflow(
            Refund.run, args=[f"ORDER-{name}", fresh, wait], id=name, task_queue="tests"
        )
        return handle, await until_waiting(handle)


async def until_waiting(handle: Handle, *, shut: bool = False) -> Paused:
    """Wait until it is at its pause; with ``shut``, until its effect's activity was refused."""
    async with asyncio.timeout(120):
        while True:
            shown = await handle.query(WAITING)
            if shown is not None and (shown["shut"] is not None or not shut):
                return await waiting(handle)
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture(scope="module")
def stage(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("temporal")
    ledger = open_gate(url(folder / "log.db"), outbox=folder / "outbox.db", source="urn:test", actor="service:agent")
    with running(folder) as server, ledger as gate:
        opened = Stage(gate)
        worker = runner.run(opened.work(server["address"]))
        yield opened
        runner.run(worker.shutdown())  # while its server is there: afterwards it would wait for it for minutes


def test_the_validator_refuses_and_the_ledger_hears_of_it(runner: asyncio.Runner, stage: Stage) -> None:
    """A stranger's answer leaves nothing in Temporal's history: the interceptor puts it onto the ledger."""

    async def play() -> None:
        handle, paused = await stage.begin()
        told: list[str] = []
        tell = stage.gate.tell
        stage.gate.tell = lambda name, *rest, **more: (told.append(name), tell(name, *rest, **more))[1]  # type: ignore
        try:
            with pytest.raises(Shut, match="authority") as caught:
                await answer(handle, paused, who=MALLORY)
        finally:
            del stage.gate.tell
        assert caught.value.branch == "refused"
        assert told == ["note.added"]
        assert stage.gate.packet(paused)["grant"] == "none"
        kinds = [event.event_type async for event in handle.fetch_history_events()]
        assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED not in kinds
        await answer(handle, paused, who=ANNA)
        assert await handle.result() == ["executed", 1, ""]

    runner.run(play())


def test_a_signal_skips_the_validator_and_not_the_guard(runner: asyncio.Runner, stage: Stage) -> None:
    """A signal that runs the effect's activity by itself finds that nothing was granted."""

    async def play() -> None:
        handle, paused = await stage.begin()
        await handle.signal(Refund.force, 0)
        async with asyncio.timeout(120):
            while not (forced := await handle.query(Refund.was_forced)):
                await asyncio.sleep(0.02)
        assert [one["branch"] for one in forced] == ["refused"]
        assert stage.refunds == []
        await answer(handle, paused, who=ANNA)
        assert (await handle.result())[0] == "executed"

    runner.run(play())


def test_a_retried_activity_finds_reconcile_and_stops(runner: asyncio.Runner, stage: Stage) -> None:
    """The money is gone and the connection too: Temporal tries again, the second try does nothing, and it waits."""

    async def play() -> None:
        handle, paused = await stage.begin()
        stage.fails = ConnectionError("cut off")
        await answer(handle, paused, who=ANNA)
        await until_waiting(handle, shut=True)
        assert stage.refunds == [20]
        assert stage.gate.decision(paused)["decision"] == "reconcile"
        with pytest.raises(Shut) as caught:
            await answer(handle, paused, who=ANNA)
        assert caught.value.branch == "reconcile"
        stage.gate.reconcile(paused, lambda _: "happened")
        with pytest.raises(Shut) as caught:
            await answer(handle, paused, who=ANNA)
        assert caught.value.branch == "settle"
        assert (await handle.result())[0] == "settle"
        assert stage.refunds == [20]

    runner.run(play())


def test_a_try_that_failed_before_its_attempt_is_made_up_for(runner: asyncio.Runner, stage: Stage) -> None:
    """The grant was not used by the first try: the second one uses it, once, without another answer."""

    async def play() -> None:
        handle, paused = await stage.begin()
        outstanding, tries = stage.gate.outstanding, []

        def fails_once(paused: Paused) -> Grant | None:
            tries.append(paused)
            if len(tries) == 1:
                raise ConnectionResetError("the worker's trouble, before it asked to act")
            return outstanding(paused)

        stage.gate.outstanding = fails_once  # type: ignore[method-assign]
        try:
            await answer(handle, paused, who=ANNA)
            assert await handle.result() == ["executed", 1, ""]
        finally:
            del stage.gate.outstanding
        assert (len(tries), stage.refunds) == (2, [20])

    runner.run(play())


def test_an_error_that_proves_it_opens_the_gate_again(runner: asyncio.Runner, stage: Stage) -> None:
    """After an error named as proof the retry does not act by itself; a new answer opens the gate."""

    async def play() -> None:
        handle, paused = await stage.begin()
        stage.fails = Refused()
        await answer(handle, paused, who=ANNA)
        await until_waiting(handle, shut=True)
        assert stage.gate.packet(paused)["side_effect"] == "not_happened"
        stage.fails = None
        await answer(handle, paused, who=ANNA)
        assert await handle.result() == ["executed", 1, ""]

    runner.run(play())


def test_a_reset_acts_no_second_time(runner: asyncio.Runner, stage: Stage) -> None:
    """An operator resets the workflow to before its effect: the activity runs again, and stays shut."""

    async def play() -> None:
        handle, paused = await stage.begin()
        await answer(handle, paused, who=ANNA)
        await handle.result()
        run = WorkflowExecution(workflow_id=handle.id, run_id=handle.first_execution_run_id or "")
        scheduled = [
            event.workflow_task_completed_event_id
            async for event in _scheduled(handle)
            if event.activity_type.name == "refund"
        ]
        reset = await stage.client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=run,
                reason="a test",
                workflow_task_finish_event_id=scheduled[0],
                request_id=uuid.uuid4().hex,
            )
        )
        again = await stage.client.get_workflow_handle(handle.id, run_id=reset.run_id).result()
        assert again[0] == "closed"
        assert stage.refunds == [20]

    runner.run(play())


async def _scheduled(handle: Handle) -> Any:
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            yield event.activity_task_scheduled_event_attributes


def test_two_answers_at_once_act_once(runner: asyncio.Runner, stage: Stage) -> None:
    """Both pass the validator; the log lets one through."""

    async def play() -> None:
        handle, paused = await stage.begin()
        both = await asyncio.gather(
            answer(handle, paused, who=ANNA), answer(handle, paused, who=ANNA), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in both) == ["Shut", "int"]
        assert (await handle.result())[0] == "executed"
        assert stage.refunds == [20]

    runner.run(play())


def test_answers_to_what_is_no_longer_there(runner: asyncio.Runner, stage: Stage) -> None:
    """Another action than the one that waits, another pause, a workflow that is over: each is refused by name."""

    async def play() -> None:
        handle, paused = await stage.begin()
        other = paused._replace(action={**(paused.action or {}), "arguments": {"amount": 99}})
        for seen, branch in ((other, "refused"), (paused._replace(pause="other"), "closed")):
            with pytest.raises(Shut) as caught:
                await answer(handle, seen, who=ANNA)
            assert caught.value.branch == branch
        assert await answer(handle, paused, "reject", who=ANNA) is None
        assert (await handle.result())[0] == "closed"
        with pytest.raises(Shut) as caught:
            await answer(handle, paused, who=ANNA)
        assert caught.value.branch == "closed"
        with pytest.raises(NotFound):
            await waiting(handle)
        assert stage.refunds == []

    runner.run(play())


def test_an_edit_is_what_is_done(runner: asyncio.Runner, stage: Stage) -> None:
    """The activity is given the action that was approved."""

    async def play() -> None:
        handle, paused = await stage.begin()
        edited = {**(paused.action or {}), "arguments": {"amount": 5}}
        await answer(handle, paused, "edit", edited=edited, who=ANNA)
        await handle.result()
        assert stage.refunds == [5]

    runner.run(play())


def test_a_stale_plan_needs_a_recheck(runner: asyncio.Runner, stage: Stage) -> None:
    """After the deadline an answer is refused by the validator; one that makes the plan fresh again is taken."""

    async def play() -> None:
        handle, paused = await stage.begin(fresh=0.3)
        await asyncio.sleep(0.4)  # the time itself is the test
        with pytest.raises(Shut) as caught:
            await answer(handle, paused, who=ANNA)
        assert caught.value.branch == "review"
        await answer(handle, paused, fresh_for=timedelta(minutes=1), who=ANNA)
        assert (await handle.result())[0] == "executed"

    runner.run(play())


def test_nobody_answers(runner: asyncio.Runner, stage: Stage) -> None:
    """The wait ends by Temporal's own timer; nothing was done."""

    async def play() -> None:
        handle, paused = await stage.begin(wait=0.5)
        assert (await handle.result())[0] == "timeout"
        assert stage.gate.packet(paused)["state"] == "open"

    runner.run(play())


def test_a_child_speaks_as_its_root(runner: asyncio.Runner, stage: Stage) -> None:
    """The execution of a child workflow's pause is its root's workflow and run."""

    async def play() -> None:
        name = f"p-{uuid.uuid4().hex[:8]}"
        parent = await stage.client.start_workflow(Parent.run, f"ORDER-{name}", id=name, task_queue="tests")
        child = stage.client.get_workflow_handle(f"{name}-child")
        async with asyncio.timeout(120):
            while not any(one.run_id for one in (await parent.describe()).raw_description.pending_children):
                await asyncio.sleep(0.02)  # the parent may have asked for a child that is not there yet
            paused = await until_waiting(child)
        assert paused.execution == f"{name}/{parent.first_execution_run_id}"
        await answer(child, paused, "reject", who=ANNA)
        assert (await parent.result())[0] == "closed"

    runner.run(play())


def test_workflows_replay(runner: asyncio.Runner, stage: Stage) -> None:
    """The workflow side is deterministic: Temporal's replayer finds the same commands in a history with an answer."""

    async def play() -> None:
        handle, paused = await stage.begin()
        await answer(handle, paused, who=ANNA)
        await handle.result()
        result = await Replayer(workflows=[Refund]).replay_workflow(await handle.fetch_history())
        assert result.replay_failure is None

    runner.run(play())
