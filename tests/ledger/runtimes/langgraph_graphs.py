"""Graphs for the tests: each refunds what was approved, into a list that the runtime knows nothing of."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from ledger.runtimes.gate import Gate
from ledger.runtimes.langgraph import Settings, Settled, Wired, guarded, wire

ANNA = "user:anna"
APPROVE = {"type": "approve", "actor": ANNA}
REJECT = {"type": "reject", "actor": ANNA}
TERMS: dict[str, Any] = {"owner": ANNA, "fresh_for": "PT1H"}
BELIEVING = Settings(terms=TERMS, answers_name_actor=True)
"""Answers say who gives them, and these tests speak the truth."""
CONFIG: RunnableConfig = {"configurable": {"thread_id": "T-1"}}


class State(TypedDict, total=False):
    """What the graphs keep."""

    amount: int
    done: Annotated[list[Any], operator.add]


def refund(amount: int) -> dict[str, Any]:
    return {"name": "refund", "arguments": {"amount": amount}}


def asking(effects: list[int], *, amount: Callable[[State], int] = lambda state: state["amount"]) -> Any:
    """A node that asks, and then refunds what its state says."""

    def node(state: State) -> State:
        asked = refund(amount(state))
        answer = interrupt({"action": asked})
        if answer["type"] == "reject":
            return {"done": ["rejected"]}
        meant = refund(answer["edited_action"]["args"]["amount"]) if answer["type"] == "edit" else asked
        done = guarded(meant, lambda permit: effects.append(permit.action["arguments"]["amount"]))  # type: ignore
        return {"done": ["settled" if isinstance(done, Settled) else "refunded"]}

    return node


def graph_of(*nodes: Any, parallel: bool = False, saver: Any = None) -> Any:
    """A graph of these nodes, one after another or all at once."""
    builder = StateGraph(State)
    names = [f"node-{number}" for number, _ in enumerate(nodes)]
    for name, node in zip(names, nodes, strict=True):
        builder.add_node(name, node)
    if parallel:
        for name in names:
            builder.add_edge(START, name)
            builder.add_edge(name, END)
    else:
        for one, other in zip([START, *names], [*names, END], strict=True):
            builder.add_edge(one, other)
    return builder.compile(checkpointer=saver or InMemorySaver())


def wired_on(gate: Gate, *nodes: Any, terms: dict[str, Any] | None = None, **more: Any) -> Wired:
    return wire(graph_of(*nodes, **more), gate, BELIEVING if terms is None else BELIEVING._replace(terms=terms))


def answer(wired: Wired, given: Any = APPROVE, *, at: int = 0, config: RunnableConfig = CONFIG) -> Any:
    """Answer the interrupt that waits."""
    question = wired.pending(config)[at]
    return wired.invoke(Command(resume={question.id: given}), config)


def states(gate: Gate, subject: str = "T-1") -> list[str]:
    """The pauses of a work item, in the order opened: open, or how each was closed."""
    return [one["outcome"] or one["state"] for one in gate.work_item(subject)["pauses"]]
