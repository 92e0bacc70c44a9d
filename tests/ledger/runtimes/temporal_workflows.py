"""The workflows of the Temporal tests, in a file of their own: Temporal loads it into its sandbox."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from ledger.runtimes.pauses import Paused
    from ledger.runtimes.temporal import Approvals, Timeouts

TIMEOUTS = Timeouts(heartbeat=timedelta(seconds=10), between_tries=timedelta(seconds=0.05))


@workflow.defn
class Refund:
    """One pause, one refund; and a careless signal that goes around the update."""

    def __init__(self) -> None:
        self.approvals = Approvals(TIMEOUTS)
        self.paused: Paused | None = None
        self.forced: list[Any] = []

    @workflow.run
    async def run(self, subject: str, fresh_seconds: float, wait_seconds: float) -> list[Any]:
        self.paused = await self.approvals.pause(
            "refund",
            {"kind": "tool", "name": "refund", "arguments": {"amount": 20}},
            subject=subject,
            owner="user:anna",
            fresh_for=timedelta(seconds=fresh_seconds),
            side_effect="not_happened",
        )
        return list(await self.approvals.perform("refund", timeout=timedelta(seconds=wait_seconds)))

    @workflow.signal
    async def force(self, fence: int) -> None:
        assert self.paused is not None
        asked = {"paused": self.paused._asdict(), "fence": fence}
        self.forced.append(
            await workflow.execute_activity("refund", asked, start_to_close_timeout=timedelta(seconds=20))
        )

    @workflow.query
    def was_forced(self) -> list[Any]:
        return self.forced


@workflow.defn
class Parent:
    """Its child asks in its name."""

    @workflow.run
    async def run(self, subject: str) -> Any:
        return await workflow.execute_child_workflow(
            Refund.run, args=[subject, 3600.0, 60.0], id=f"{workflow.info().workflow_id}-child"
        )


@workflow.defn
class Bare:
    """A pause on terms that are given, and a handler of its own that waits for what comes after."""

    def __init__(self) -> None:
        self.approvals = Approvals(TIMEOUTS)
        self.over = False

    @workflow.run
    async def run(self, subject: str, terms: dict[str, Any], wait_seconds: float) -> list[Any]:
        action = {"kind": "tool", "name": "refund", "arguments": {"amount": 20}}
        await self.approvals.pause("refund", action, subject=subject, side_effect="not_happened", **terms)
        ended = await self.approvals.perform("refund", timeout=timedelta(seconds=wait_seconds))
        self.over = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        return list(ended)

    @workflow.update
    async def told_when_over(self) -> bool:
        await workflow.wait_condition(lambda: self.over)
        return True
