"""LangGraph's checkpoints, watched: a process dies in the middle of a refund, and its checkpoints tell of it."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from consumers.gates import open_gate
from ledger.runtimes.gate import Who
from ledger.runtimes.langgraph_saver import Seen, WatchedSaver
from ledger.runtimes.langgraph_unsettled import Unsettled, tell_unknown, unknown_outcomes
from ledger.runtimes.pauses import Paused

THREAD = {"configurable": {"thread_id": "ORDER-5"}}
REFUND = {"kind": "tool", "name": "refund", "arguments": {"amount": 20}, "idempotency_key": "ORDER-5-refund"}


class State(TypedDict):
    receipt: str


def refund(_: State) -> State:
    interrupt(REFUND)
    time.sleep(0.2)  # the payment provider takes its time
    Path("refunds.txt").write_text("ORDER-5: 20")  # and this is its book
    os.kill(os.getpid(), signal.SIGKILL)  # and now the machine loses power
    return {"receipt": "never written"}


def pauses(seen: Seen | Unsettled) -> list[Paused]:
    """What a pause of LangGraph's is called on the ledger."""
    return [
        Paused.of(
            runtime="langgraph",
            subject=seen.thread,
            execution=f"{seen.thread}#1",
            checkpoint=seen.checkpoint,
            interrupt=each.id,
            action=each.value,
        )
        for each in seen.interrupts
    ]


def look(_: Any) -> Literal["happened", "not_happened"]:
    return "happened" if Path("refunds.txt").exists() else "not_happened"


with (
    open_gate("sqlite:///pauseledger.db", source="urn:shop:refund-agent", actor="service:refund-agent") as gate,
    SqliteSaver.from_conn_string("checkpoints.db") as saver,
):

    def tell(seen: Seen) -> None:
        if not seen.answered:
            for paused in pauses(seen):
                gate.pause(paused, owner="user:anna", fresh_for=timedelta(minutes=15), side_effect="not_happened")

    if sys.argv[1:] == ["agent"]:
        builder = StateGraph(State).add_node("refund", refund).add_edge(START, "refund")
        watched = WatchedSaver(saver, tell, deadline_seconds=gate.deadline_seconds)
        graph = builder.compile(checkpointer=watched)
        graph.invoke({"receipt": ""}, THREAD, durability="sync")
        graph.invoke(Command(resume="yes"), THREAD, durability="sync")

    ended = subprocess.run([sys.executable, __file__, "agent"], check=False)
    print("the agent ended with", ended.returncode)

    for unsettled in unknown_outcomes(saver):
        print(unsettled.thread, unsettled.sign, unsettled.interrupts[0].value["name"])
        for paused, _ in tell_unknown(gate, unsettled, pauses):
            print("before anybody looks:", gate.decision(paused)["decision"])
            gate.reconcile(paused, look, who=Who("user:anna"))
            print("after a look at the book:", gate.decision(paused)["decision"])
