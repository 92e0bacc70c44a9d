"""The workflows of the Temporal program, in a file of their own: Temporal loads it into its sandbox."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from ledger.runtimes.temporal import Approvals, Timeouts
    from tests.contract.runtimes.scene import AMOUNT, OWNER, SUBJECT

TIMEOUTS = Timeouts(heartbeat=timedelta(seconds=5), between_tries=timedelta(seconds=0.1))
WAIT = timedelta(minutes=10)


@workflow.defn
class WiredRefund:
    """With the ledger."""

    @workflow.init
    def __init__(self, action: dict[str, Any], fresh_seconds: float) -> None:
        self.approvals = Approvals(TIMEOUTS)

    @workflow.run
    async def run(self, action: dict[str, Any], fresh_seconds: float) -> list[Any]:
        await self.approvals.pause(
            "refund",
            action,
            subject=SUBJECT,
            owner=OWNER,
            requires_review=True,
            fresh_for=timedelta(seconds=fresh_seconds),
            side_effect="not_happened",
        )
        return list(await self.approvals.perform("refund", timeout=WAIT))


@workflow.defn
class BareRefund:
    """As Temporal's manual shows a human in the loop: an update with a validator, a deadline, a retried activity."""

    def __init__(self) -> None:
        self.answered: dict[str, Any] | None = None
        self.deadline: datetime | None = None

    @workflow.run
    async def run(self, action: dict[str, Any], fresh_seconds: float) -> Any:
        self.deadline = workflow.now() + timedelta(seconds=fresh_seconds)
        try:
            await workflow.wait_condition(lambda: self.answered is not None, timeout=timedelta(seconds=fresh_seconds))
        except TimeoutError:
            return None
        assert self.answered is not None
        if self.answered["outcome"] == "reject":
            return None
        return await workflow.execute_activity(
            "refund",
            self.answered["amount"] or AMOUNT,
            start_to_close_timeout=timedelta(seconds=30),
            heartbeat_timeout=TIMEOUTS.heartbeat,
            retry_policy=RetryPolicy(initial_interval=TIMEOUTS.between_tries),
        )

    @workflow.query
    def asks(self) -> bool:
        return self.deadline is not None

    @workflow.update
    def approve(self, answer: dict[str, Any]) -> None:
        self.answered = answer

    @approve.validator
    def may_approve(self, answer: dict[str, Any]) -> None:
        if answer["actor"] != OWNER:
            raise ApplicationError("not the owner")
        if self.answered is not None:
            raise ApplicationError("already answered")
        if self.deadline is None or workflow.now() >= self.deadline:
            raise ApplicationError("too late")
