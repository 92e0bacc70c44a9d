"""LangGraph: a graph that asks with ``interrupt()``, on its SQLite saver; a process builds it anew for each command."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from ledger.runtimes.langgraph import Settings, guarded, wire
from ledger.runtimes.shut import Shut
from tests.contract.runtimes.program import serve
from tests.contract.runtimes.scene import AMOUNT, OWNER, SUBJECT, Approval, Scene

CONFIG: RunnableConfig = {"configurable": {"thread_id": "thread-1"}}


class State(TypedDict, total=False):
    """What the graph keeps."""

    order: str
    amount: int
    row: int | None


class Program:
    """The agent: one node that asks, and then refunds."""

    def start(self, scene: Scene) -> Any:
        with opened(scene) as graph:
            graph.invoke({"order": SUBJECT, "amount": AMOUNT}, CONFIG)

    def resume(self, scene: Scene, approval: Approval) -> Any:
        answer: dict[str, Any] = {"type": approval.outcome}
        if approval.outcome == "edit":
            answer["edited_action"] = {"name": "refund", "args": {"amount": approval.amount}}
        with opened(scene) as graph:
            # As LangGraph's manual has it: the answer goes to the interrupt that waits, by its id.
            waiting = [one.id for one in graph.get_state(CONFIG).interrupts]
            try:
                return graph.invoke(Command(resume=dict.fromkeys(waiting, answer)), of(approval.actor)).get("row")
            except Shut as shut:
                return {"shut": shut.branch}

    def recover(self, scene: Scene) -> Any:
        return self.resume(scene, Approval())


def of(actor: str) -> RunnableConfig:
    """The thread, and who speaks: the program knows him, the answer does not say it."""
    return {"configurable": {**CONFIG["configurable"], "pauseledger_actor": actor}}


@contextmanager
def opened(scene: Scene) -> Iterator[Any]:
    """The graph on its saver, wired where the scene is."""
    with closing(sqlite3.connect(scene.folder / "graph.db", check_same_thread=False, timeout=30)) as database:
        graph = compiled(scene, SqliteSaver(database))
        if not scene.wired:
            yield graph
            return
        terms = {"owner": OWNER, "fresh_for": scene.fresh_for}
        with scene.gate() as gate:
            yield wire(graph, gate, Settings(subject=lambda state: str(state["order"]), terms=terms))


def compiled(scene: Scene, saver: SqliteSaver) -> Any:
    def refund(state: State) -> State:
        answer = interrupt({"action": scene.action(state["amount"])})
        if answer["type"] == "reject":
            return {"row": None}
        amount = answer["edited_action"]["args"]["amount"] if answer["type"] == "edit" else state["amount"]
        if not scene.wired:
            return {"row": scene.effect(amount)}
        row = guarded(scene.action(amount), lambda permit: scene.effect(amount, permit))
        return {"row": row if isinstance(row, int) else None}

    builder = StateGraph(State)
    builder.add_node("refund", refund)
    builder.add_edge(START, "refund")
    builder.add_edge("refund", END)
    return builder.compile(checkpointer=saver)


if __name__ == "__main__":
    serve(Program())
