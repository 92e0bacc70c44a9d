"""A Temporal worker and its client: an update approves, an activity refunds, and the server keeps the state.

A worker lives on between commands, as in a deployment; once it was killed, Temporal gives its activity to the next.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError
from temporalio.worker import Worker

from ledger.runtimes.gate import Who
from ledger.runtimes.guard import Permit
from ledger.runtimes.shut import Shut
from ledger.runtimes.temporal import WAITING, LedgerActivities, Observing, answer, beating, waiting
from tests.contract.runtimes.program import serve
from tests.contract.runtimes.scene import AMOUNT, Approval, Scene
from tests.contract.runtimes.temporal_workflows import BareRefund, WiredRefund


class Process:
    """What this process runs: a worker on one scene's task queue, and that scene as it is told now."""

    def __init__(self) -> None:
        self.scene: Scene
        self.client: Client
        self._folder: Path | None = None
        self._ledger: LedgerActivities | None = None
        self._worker: Worker | None = None
        self._gates = ExitStack()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def work_on(self, scene: Scene) -> None:
        """Work on this scene from here on; its gate has this command's moments in it."""
        old, self._gates = self._gates, ExitStack()
        gate = self._gates.enter_context(scene.gate()) if scene.wired else None
        self.scene = scene
        if self._folder == scene.folder and self._ledger is not None and gate is not None:
            self._ledger.gate = gate
        elif self._folder != scene.folder:
            self.do(self._begin(scene, gate))
        old.close()

    async def _begin(self, scene: Scene, gate: Any) -> None:
        if self._worker is not None:
            await self._worker.shutdown()
        self._folder = scene.folder
        self._ledger = None if gate is None else LedgerActivities(gate)
        interceptors = [] if gate is None else [Observing(gate)]
        self.client = await Client.connect(scene.extra["address"], interceptors=interceptors)
        activities: list[Any] = [bare_refund]
        if self._ledger is not None:
            activities = [*self._ledger.activities, self._ledger.effect("refund", wired_refund)]
        self._worker = Worker(
            self.client,
            task_queue=name_of(scene),
            workflows=[WiredRefund, BareRefund],
            activities=activities,
            max_cached_workflows=0,  # a killed worker's cache must not be waited for
        )
        task = asyncio.create_task(self._worker.run())
        task.add_done_callback(lambda done: done.exception())

    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(name_of(self.scene))


process = Process()


def name_of(scene: Scene) -> str:
    """All scenes share a server: each has its own workflow id and task queue."""
    return f"refund-{hashlib.sha256(str(scene.folder).encode()).hexdigest()[:12]}"


def wired_refund(permit: Permit) -> int:
    assert permit.action is not None
    return process.scene.effect(int(permit.action["arguments"]["amount"]), permit)


@activity.defn(name="refund")
async def bare_refund(amount: int) -> int:
    async with beating():
        return await asyncio.to_thread(process.scene.effect, amount)


class Durable:
    """The agent: one workflow."""

    def start(self, scene: Scene) -> Any:
        process.work_on(scene)
        return process.do(self._start(scene))

    async def _start(self, scene: Scene) -> Any:
        name, workflow = name_of(scene), WiredRefund if scene.wired else BareRefund
        handle = await process.client.start_workflow(
            workflow.run,
            args=[scene.action(), scene.fresh_seconds],
            id=name,
            task_queue=name,
        )
        while not await handle.query(WAITING if scene.wired else BareRefund.asks):
            await asyncio.sleep(0.02)

    def resume(self, scene: Scene, approval: Approval) -> Any:
        process.work_on(scene)
        return process.do(self._wired(scene, approval) if scene.wired else self._bare(approval))

    async def _wired(self, scene: Scene, approval: Approval) -> Any:
        handle = process.handle()
        seen = await waiting(handle)
        edited = scene.action(approval.amount or AMOUNT) if approval.outcome == "edit" else None
        try:
            await answer(handle, seen, approval.outcome, edited=edited, who=Who(approval.actor))
        except Shut as shut:
            if shut.branch == "reconcile":  # another one's approval is under way
                await asyncio.wait_for(handle.result(), 20)
            return {"shut": shut.branch}
        return await handle.result()

    async def _bare(self, approval: Approval) -> Any:
        handle = process.handle()
        try:
            await handle.execute_update(BareRefund.approve, approval._asdict())
        except (WorkflowUpdateFailedError, RPCError) as error:
            if approval.actor == "user:mallory":
                return str(error)
        return await handle.result()

    def recover(self, scene: Scene) -> Any:
        """Temporal itself does it: a new worker gets the activity when the old one's heartbeats are missed."""
        process.work_on(scene)
        return process.do(self._shut(scene) if scene.wired else process.handle().result())

    async def _shut(self, scene: Scene) -> Any:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            shown = await process.handle().query(WAITING)
            if shown is None or shown["shut"] is not None:
                return shown
            await asyncio.sleep(0.05)
        raise AssertionError("Temporal did not try again")


if __name__ == "__main__":
    serve(Durable())
