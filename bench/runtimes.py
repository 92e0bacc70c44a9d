"""Reported: what the ledger adds to a LangGraph run with one interrupt, in milliseconds of its pause and its resume."""

from __future__ import annotations

import importlib.util
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from bench.ledgers import folder
from bench.rounds import Reported, say
from bench.sizes import Sizes
from consumers.gates import open_gate

_WARM_UP = 3
_NAME, _TITLE = "langgraph", "LangGraph: what the ledger adds to a run with one interrupt"
_ACTION = {"name": "refund", "arguments": {"amount": 20}}
_TERMS = {"owner": "user:anna", "fresh_for": "PT1H"}


class _Taken(NamedTuple):
    """The milliseconds of one run: until it is paused, and from its answer to its end."""

    pause: float
    resume: float


def _compiled(saver: Any, effect: Callable[[], str]) -> Any:
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import interrupt

    def refund(_: dict[str, Any]) -> dict[str, Any]:
        interrupt({"action": _ACTION})
        return {"receipt": effect()}

    builder = StateGraph(dict)
    builder.add_node("refund", refund)
    builder.add_edge(START, "refund")
    builder.add_edge("refund", END)
    return builder.compile(checkpointer=saver)


@contextmanager
def _graphs(place: Path) -> Iterator[tuple[Any, Any]]:
    """The same graph wired and bare, each on its own SQLite saver; the embedded ledger lies beside."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    from ledger.runtimes.langgraph import Settings, guarded, wire

    with ExitStack() as stack:
        savers = [
            SqliteSaver(stack.enter_context(closing(sqlite3.connect(place / name, check_same_thread=False))))
            for name in ("wired.db", "bare.db")
        ]
        log = f"sqlite:///{place}/ledger.db"
        gate = stack.enter_context(open_gate(log, outbox=place / "outbox.db", source="urn:bench"))
        graph = _compiled(savers[0], lambda: str(guarded(_ACTION, lambda _: "receipt")))
        yield wire(graph, gate, Settings(terms=_TERMS)), _compiled(savers[1], lambda: "receipt")


def _run(graph: Any, thread: str) -> _Taken:
    from langgraph.types import Command

    config = {"configurable": {"thread_id": thread, "pauseledger_actor": "user:anna"}}
    began = time.perf_counter()
    graph.invoke({"order": thread}, config)
    paused = time.perf_counter()
    (waiting,) = graph.get_state(config).interrupts
    found = time.perf_counter()
    told = graph.invoke(Command(resume={waiting.id: {"type": "approve"}}), config)
    done = time.perf_counter()
    assert told["receipt"] == "receipt", told
    return _Taken((paused - began) * 1_000, (done - found) * 1_000)


def _round(count: int) -> tuple[_Taken, _Taken]:
    """The medians of so many runs, wired and bare in turns; each is a thread and a work item of its own."""
    sides: tuple[list[_Taken], list[_Taken]] = ([], [])
    with folder() as place, _graphs(place) as graphs:
        for number in range(_WARM_UP + count):
            for side in (0, 1) if number % 2 else (1, 0):  # who comes second finds the disk busy
                sides[side].append(_run(graphs[side], f"thread-{number}"))
    wired, bare = (_Taken(*map(statistics.median, zip(*taken[_WARM_UP:], strict=True))) for taken in sides)
    return wired, bare


def langgraph(sizes: Sizes) -> list[Reported]:
    """The medians of what is added, beside those of the bare graph on the same disk."""
    if any(importlib.util.find_spec(name) is None for name in ("langgraph", "langgraph.checkpoint.sqlite")):
        return [Reported(_NAME, _TITLE, [], skipped="langgraph and langgraph-checkpoint-sqlite are not installed")]
    rounds = []
    for turn in range(sizes.rounds):
        wired, bare = _round(sizes.langgraph)
        say(f"  langgraph {turn + 1}/{sizes.rounds}: wired {wired}, bare {bare}")
        rounds.append((wired, bare))
    values = []
    for name in _Taken._fields:
        added = statistics.median(getattr(wired, name) - getattr(bare, name) for wired, bare in rounds)
        values.append((f"added to a {name}", added, "ms"))
        values.append((f"a {name} without it", statistics.median(getattr(bare, name) for _, bare in rounds), "ms"))
    each = [{"wired": wired._asdict(), "bare": bare._asdict()} for wired, bare in rounds]
    return [
        Reported(_NAME, _TITLE, values, notes={"runs": sizes.langgraph, "langgraph": version("langgraph"), "ms": each})
    ]
