"""A LangGraph agent, with the ledger: it asks before a refund, a person approves, and it refunds once."""

import sqlite3
from contextlib import closing
from typing import TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from consumers.gates import open_gate
from ledger.runtimes.langgraph import Settings, Settled, guarded, wire
from ledger.runtimes.shut import Shut


class State(TypedDict, total=False):
    order: str
    amount: int
    receipt: str


refunds = []


def pay_back(amount: int, idempotency_key: str | None) -> str:
    refunds.append((amount, idempotency_key))  # the call of the payment provider
    return f"receipt-{len(refunds)}"


def refund(state: State) -> State:
    action = {
        "name": "refund",
        "arguments": {"amount": state["amount"]},
        "idempotency_key": f"{state['order']}-refund",
    }
    answer = interrupt({"action": action, "recheck": "Read the order again."})
    if answer["type"] != "approve":
        return {"receipt": "none"}
    receipt = guarded(action, lambda permit: pay_back(state["amount"], permit.idempotency_key))
    return {"receipt": "paid before" if isinstance(receipt, Settled) else receipt}


builder = StateGraph(State)
builder.add_node("refund", refund)
builder.add_edge(START, "refund")
builder.add_edge("refund", END)

with (
    closing(sqlite3.connect("graph.db", check_same_thread=False)) as database,
    open_gate("sqlite:///pauseledger.db", source="urn:shop:refund-agent", actor="service:refund-agent") as gate,
):
    terms = {"owner": "user:anna", "fresh_for": "PT15M", "reconcile_within": "PT1H"}
    settings = Settings(subject=lambda state: state["order"], terms=terms)
    graph = wire(builder.compile(checkpointer=SqliteSaver(database)), gate, settings)

    thread = {"configurable": {"thread_id": "chat-7"}}
    graph.invoke({"order": "ORDER-4", "amount": 20}, thread)

    # Hours later, perhaps in another process: Anna sees what waits, and answers that.
    (question,) = graph.pending(thread)
    paused_at = graph.get_state(thread).config
    answer = Command(resume={question.id: {"type": "approve"}})
    anna = {"configurable": {"thread_id": "chat-7", "pauseledger_actor": "user:anna"}}  # as your login says
    print(graph.invoke(answer, anna)["receipt"])

    # She clicks a second time.
    try:
        graph.invoke(answer, anna)
    except Shut as shut:
        print(shut.branch)

    # Somebody resumes from the old checkpoint, which without the ledger refunds again.
    print(graph.invoke(answer, paused_at)["receipt"])
    print(gate.packet(question.paused[0])["outcome"], refunds)
