"""An agent of one's own, with the ledger: it pauses before a refund, a person approves, and it refunds once."""

from datetime import timedelta

from consumers.gates import open_gate
from ledger.runtimes.gate import Who
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut

refunds = []


def refund(amount: int, idempotency_key: str | None) -> str:
    refunds.append((amount, idempotency_key))  # the call of the payment provider
    return f"receipt-{len(refunds)}"


with open_gate("sqlite:///pauseledger.db", source="urn:shop:refund-agent", actor="service:refund-agent") as gate:
    action = {"kind": "tool", "name": "refund", "arguments": {"amount": 20}, "idempotency_key": "ORDER-1-refund"}
    paused = Paused.of(runtime="mine", subject="ORDER-1", execution="run-1", interrupt="refund", action=action)
    gate.pause(
        paused,
        owner="user:anna",
        requires_review=True,
        fresh_for=timedelta(minutes=15),
        reconcile_within=timedelta(hours=1),
        side_effect="not_happened",
    )

    # Hours later, perhaps in another process: the same names make the same pause.
    anna = Who("user:anna")
    gate.review(paused, "approve", who=anna)
    with gate.guard(gate.request_resume(paused, who=anna)) as permit:
        permit.evidence = refund(20, permit.idempotency_key)

    # Somebody clicks a second time.
    try:
        with gate.guard(gate.request_resume(paused, who=anna)) as permit:
            refund(20, permit.idempotency_key)
    except Shut as shut:
        print(shut.branch, "-", shut.reason)

    print(gate.packet(paused)["outcome"], refunds)
