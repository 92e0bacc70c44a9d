"""A DBOS workflow with the ledger: it waits for a person, refunds once, and takes a late approval for what it is."""

from datetime import timedelta

from dbos import DBOS, SetWorkflowID

from consumers.gates import open_gate
from ledger.runtimes.dbos import DurableGate
from ledger.runtimes.gate import Who
from ledger.runtimes.guard import Permit
from ledger.runtimes.shut import Shut

refunds = []
gates = []  # one, for the life of this process


def refund(permit: Permit) -> str:
    amount = permit.action["arguments"]["amount"]  # what was approved
    refunds.append((amount, permit.idempotency_key))  # the call of the payment provider
    permit.evidence = f"receipt-{len(refunds)}"
    return permit.evidence


@DBOS.workflow()
def refund_agent(order: str) -> list:
    durable = gates[0]
    paused = durable.pause(
        "refund",
        {"kind": "tool", "name": "refund", "arguments": {"amount": 20}, "idempotency_key": f"{order}-refund"},
        subject=order,
        owner="user:anna",
        requires_review=True,
        fresh_for=timedelta(minutes=15),
        reconcile_within=timedelta(hours=1),
        side_effect="not_happened",
    )
    ended = durable.perform(paused, refund, name="refund", timeout_seconds=900)
    return [ended.branch, ended.result]


with open_gate("sqlite:///pauseledger.db", source="urn:shop:refund-agent", actor="service:refund-agent") as gate:
    gates.append(DurableGate(gate))
    DBOS(config={"name": "shop", "system_database_url": "sqlite:///dbos.db", "log_level": "ERROR"})
    DBOS.launch()
    with SetWorkflowID("run-1"):
        handle = DBOS.start_workflow(refund_agent, "ORDER-2")

    # The approver, here or in another process (there with a DBOSClient in place of DBOS).
    durable = gates[0]
    seen = durable.waiting(DBOS, "run-1", "refund")
    try:
        durable.answer(DBOS, "run-1", seen, who=Who("user:mallory"))
    except Shut as shut:
        print(shut.branch, "-", shut.reason)
    durable.answer(DBOS, "run-1", seen, who=Who("user:anna"))
    print(handle.get_result())

    # Anna clicks a second time. DBOS would take the message without a word.
    try:
        durable.answer(DBOS, "run-1", seen, who=Who("user:anna"))
    except Shut as shut:
        print(shut.branch, "-", shut.reason)
    print(refunds)
    DBOS.destroy()
