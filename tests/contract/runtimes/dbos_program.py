"""A DBOS workflow, its state in SQLite: it waits with ``recv``, and refunds in a step.

One process of a deployment runs the workflow, and lives on between commands; any other speaks to it as a client. Once
it was killed, whichever comes first takes its place, and DBOS recovers what was pending.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSClient, SetWorkflowID

from ledger.runtimes.dbos import DurableGate, Runtime
from ledger.runtimes.gate import Who
from ledger.runtimes.guard import Permit
from ledger.runtimes.shut import Shut
from tests.contract.runtimes.program import serve
from tests.contract.runtimes.scene import AMOUNT, SUBJECT, Approval, Scene

WORKFLOW = "refund-1"
WAIT_SECONDS = 600.0


class Process:
    """What this process runs: DBOS on one scene's folder, and that scene as it is told now."""

    def __init__(self) -> None:
        self.scene: Scene
        self.durable: DurableGate
        self._folder: Path | None = None
        self._open = ExitStack()

    def take_over(self, scene: Scene) -> bool:
        """Run this scene's workflows, unless another process does. Whether this one does now."""
        self.scene = scene
        if self._folder == scene.folder:
            return True
        self.leave()
        lock = self._open.enter_context((scene.folder / "runs.lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._folder = scene.folder
        if scene.wired:
            self.durable = DurableGate(self._open.enter_context(scene.gate()))
        self._open.callback(DBOS.destroy)
        DBOS(
            config={
                "name": "refunds",
                "system_database_url": _database(scene),
                "notification_listener_polling_interval_sec": 0.02,
                "application_version": "1",
                "executor_id": "worker",
                "log_level": "WARNING",
            }
        )
        DBOS.launch()
        return True

    def leave(self) -> None:
        self._folder = None
        self._open.close()


process = Process()


def _amount(permit: Permit) -> int:
    assert permit.action is not None
    return int(permit.action["arguments"]["amount"])


def _database(scene: Scene) -> str:
    return f"sqlite:///{scene.folder}/dbos.db"


@DBOS.workflow()
def wired_refund(fresh_seconds: float) -> Any:
    """With the ledger."""
    durable, scene = process.durable, process.scene
    paused = durable.pause(
        "refund",
        scene.action(),
        subject=SUBJECT,
        **scene.terms,
    )
    ended = durable.perform(
        paused,
        lambda permit: process.scene.effect(_amount(permit), permit),
        name="refund",
        timeout_seconds=WAIT_SECONDS,
    )
    return ended._asdict()


@DBOS.step()
def refund(amount: int) -> int:
    return process.scene.effect(amount)


@DBOS.workflow()
def bare_refund(fresh_seconds: float) -> Any:
    """As DBOS's manual shows a human in the loop: show what is asked, wait for the answer with a deadline, act."""
    DBOS.set_event("asked", {"amount": AMOUNT})
    answer = DBOS.recv("approval", fresh_seconds)
    if answer is None or answer["outcome"] == "reject":
        return None
    return refund(answer["amount"] or AMOUNT)


class Durable:
    """The agent: one workflow."""

    def start(self, scene: Scene) -> Any:
        assert process.take_over(scene)
        with SetWorkflowID(WORKFLOW):
            DBOS.start_workflow(wired_refund if scene.wired else bare_refund, scene.fresh_seconds)
        return DBOS.get_event(WORKFLOW, "pauseledger/refund" if scene.wired else "asked", 20)

    def resume(self, scene: Scene, approval: Approval) -> Any:
        with _runtime(scene) as runtime:
            if not scene.wired:
                runtime.send(WORKFLOW, approval._asdict(), "approval")
                return _result(runtime)
            with scene.gate("urn:people") as gate:
                durable = DurableGate(gate)
                seen = durable.waiting(runtime, WORKFLOW, "refund")
                edited = scene.action(approval.amount or AMOUNT) if approval.outcome == "edit" else None
                try:
                    durable.answer(runtime, WORKFLOW, seen, approval.outcome, edited=edited, who=Who(approval.actor))
                except Shut as shut:
                    if shut.branch == "reconcile":  # another one's approval is under way
                        _until(lambda: _over(runtime), 20.0)
                    return {"shut": shut.branch}
                return _result(runtime)

    def recover(self, scene: Scene) -> Any:
        """DBOS itself does it, when it is launched."""
        assert process.take_over(scene)
        if not scene.wired:
            return _result(DBOS)
        _until(lambda: _over(DBOS) or DBOS.get_event(WORKFLOW, "pauseledger/refund", 1)["shut"] is not None, 2.0)
        return DBOS.get_event(WORKFLOW, "pauseledger/refund", 1)["shut"]


@contextmanager
def _runtime(scene: Scene) -> Iterator[Runtime]:
    if process.take_over(scene):
        yield DBOS
        return
    client = DBOSClient(system_database_url=_database(scene))
    try:
        yield client
    finally:
        client.destroy()


def _result(runtime: Runtime) -> Any:
    return runtime.retrieve_workflow(WORKFLOW).get_result(polling_interval_sec=0.02)


def _over(runtime: Runtime) -> bool:
    return runtime.retrieve_workflow(WORKFLOW).get_status().status == "SUCCESS"


def _until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)


if __name__ == "__main__":
    serve(Durable())
