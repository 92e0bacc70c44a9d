"""Graphs that pause, for the tests of LangGraph's checkpoints; run as a program, one that waits to be killed.

``python -m tests.ledger.runtimes.checkpoint_graphs FILE pause|resume|again`` plays one run of thread T-1 on a SQLite
file. With ``resume`` the effect's mark is written and the process then waits: whoever started it kills it.
"""

from __future__ import annotations

import operator
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from ledger.runtimes.langgraph_saver import WatchedSaver

CONFIG: Any = {"configurable": {"thread_id": "T-1"}}
ACTION = {"kind": "tool", "name": "refund", "arguments": {"amount": 20}}


class State(TypedDict):
    done: Annotated[list[Any], operator.add]


class Crash(BaseException):
    """What stands for a killed process where a real one would be too slow: nothing is stored after it."""


def node(*questions: Any, effect: Callable[[], object] = lambda: None) -> Callable[[State], Any]:
    """A node that asks the questions, one after another, and acts."""

    def act(state: State) -> Any:
        answers = [interrupt(question) for question in questions]
        effect()
        return {"done": answers}

    return act


def crash() -> None:
    raise Crash


def failure() -> None:
    raise OSError("cut off")


def graph(**nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    """A graph of nodes beside one another."""
    builder = StateGraph(State)
    for name, each in nodes.items():
        builder.add_node(name, each)
        builder.add_edge(START, name)
    return builder


def chain(*nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    """A graph of nodes one after another."""
    builder = StateGraph(State)
    for at, each in enumerate(nodes):
        builder.add_node(f"n{at}", each)
        builder.add_edge(f"n{at - 1}" if at else START, f"n{at}")
    return builder


def _main(file: Path, command: str) -> None:
    def effect() -> None:
        file.with_suffix(".effect").write_text("done")
        while command == "resume":
            time.sleep(0.05)

    with SqliteSaver.from_conn_string(str(file)) as saver:
        compiled = graph(pay=node(ACTION, effect=effect)).compile(checkpointer=WatchedSaver(saver, lambda fact: None))
        given = {"pause": {"done": []}, "resume": Command(resume="yes"), "again": None}[command]
        compiled.invoke(given, CONFIG, durability="sync")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])
