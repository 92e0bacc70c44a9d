"""What a crash leaves in LangGraph's checkpoints: found where it is, and nowhere else; told to the ledger once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

from ledger.runtimes.gate import Who
from ledger.runtimes.langgraph_saver import WatchedSaver
from ledger.runtimes.langgraph_unsettled import unknown_outcomes
from tests.ledger.runtimes.checkpoint_graphs import (
    CONFIG,
    Crash,
    State,
    chain,
    crash,
    failure,
    graph,
    node,
)

ROOT = Path(__file__).parents[3]
ANNA = Who("user:anna")
YES: Any = Command(resume="yes")


def played(builder: Any, *given: Any, durability: Any = "sync") -> Any:
    """A saver after these runs of the graph; a run may crash, or fail."""
    saver = WatchedSaver(InMemorySaver(), lambda fact: None)
    compiled = builder.compile(checkpointer=saver)
    for each in ({"done": []}, *given):
        with suppress(Crash, OSError):
            compiled.invoke(each(compiled) if callable(each) else each, CONFIG, durability=durability)
    return saver


def signs(saver: BaseCheckpointSaver[Any], unclear: bool = False) -> list[tuple[str, list[Any]]]:
    return [(each.sign, [one.value for one in each.interrupts]) for each in unknown_outcomes(saver, unclear=unclear)]


def answers(**by_question: Any) -> Callable[[Any], Any]:
    """Answers by a map of interrupt ids, looked up by what was asked."""

    def command(compiled: Any) -> Any:
        waiting = {each.value: each.id for each in compiled.get_state(CONFIG).interrupts}
        return Command(resume={waiting[question]: answer for question, answer in by_question.items()})

    return command


# -- where nothing is unknown ----------------------------------------------------------------------


def compiled_inside(*nodes: Any) -> Any:
    return chain(*nodes).compile()


def sent_twice() -> Any:
    builder = StateGraph(State)
    builder.add_node("ask", lambda which: {"done": [interrupt(which)]})
    builder.add_conditional_edges(START, lambda state: [Send("ask", "q0"), Send("ask", "q1")], ["ask"])
    return builder


def bears_a_failure(_: State) -> Any:
    """Calls a graph, and goes on when that fails."""
    with suppress(OSError):
        compiled_inside(node("q", effect=failure)).invoke({"done": []})
    return {"done": ["went on"]}


def play_again(compiled: Any) -> Any:
    """Resume from the checkpoint that waited first: LangGraph makes a branch of it."""
    waited = [each for each in compiled.get_state_history(CONFIG) if each.next == ("a",)][-1]
    compiled.invoke(Command(resume="no"), waited.config, durability="sync")
    return YES


def update(compiled: Any) -> None:
    compiled.update_state(CONFIG, {"done": ["by hand"]}, as_node="a")


CLEAN: dict[str, tuple[Any, list[Any]]] = {
    "paused": (graph(a=node("q")), []),
    "completed": (graph(a=node("q")), [YES]),
    "completed, and asked again": (graph(a=node("q")), [YES, {"done": []}]),
    "resumed after completion": (graph(a=node("q")), [YES, YES]),
    "two nodes": (chain(node("q1"), node("q2")), [YES]),
    "two questions": (graph(a=node("q1", "q2")), [YES]),
    "two questions, other answers": (graph(a=node("q1", "q2", "q3")), [YES, Command(resume="no")]),
    "parallel, one answered": (graph(a=node("q1"), b=node("q2")), [answers(q1="yes")]),
    "parallel, both answered": (graph(a=node("q1"), b=node("q2")), [answers(q1="yes", q2="yes")]),
    "parallel, one after another": (graph(a=node("q1"), b=node("q2")), [answers(q1="yes"), YES]),
    "subgraph": (graph(sub=compiled_inside(node("q"))), [YES]),
    "subgraph paused twice": (graph(sub=compiled_inside(node("q1"), node("q2"))), [YES]),
    "subgraph paused twice, completed": (graph(sub=compiled_inside(node("q1"), node("q2"))), [YES, YES]),
    "subgraph with two questions": (graph(sub=compiled_inside(node("q1", "q2"))), [YES]),
    "subgraphs in one another": (graph(a=compiled_inside(compiled_inside(node("q1"), node("q2")))), [YES]),
    "parallel subgraphs": (
        graph(a=compiled_inside(node("q1")), b=compiled_inside(node("q2"))),
        [answers(q1="yes"), YES],
    ),
    "one node sent twice": (sent_twice(), [answers(q0="yes"), YES]),
    "a subgraph with a history of its own": (
        graph(sub=chain(node("q1"), node("q2")).compile(checkpointer=True)),
        [YES],
    ),
    "the same, run twice": (
        graph(sub=chain(node("q1"), node("q2")).compile(checkpointer=True)),
        [YES, YES, {"done": []}, Command(resume="no")],
    ),
    "an older checkpoint played again": (graph(a=node("q")), [YES, play_again]),
    "passed by an update": (graph(a=node("q")), [update]),
    "failed in a subgraph, and borne": (graph(a=bears_a_failure), [YES]),
    "rejected by new input": (graph(a=node("q")), [{"done": ["new"]}]),
}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("name", CLEAN)
def test_clean_runs_find_nothing(name: str, durability: str) -> None:
    """Whatever waits or has completed leaves nothing unknown, though old checkpoints hold answers."""
    builder, given = CLEAN[name]
    assert signs(played(builder, *given, durability=durability)) == []


def test_a_completed_run_holds_its_answer_in_an_old_checkpoint() -> None:
    """The sign alone would find this one: the answer is still among the writes of a checkpoint that was left."""
    saver = played(graph(a=node("q")), YES)
    holding = [found for found in saver.list(None) if any(write[1] == "__resume__" for write in found.pending_writes)]
    assert len(holding) == 1
    assert signs(saver, unclear=True) == []


# -- where something is ----------------------------------------------------------------------------


def calls_a_graph_and_acts(state: State) -> Any:
    compiled_inside(node("q")).invoke({"done": []})
    raise Crash


def first_time() -> Callable[[], None]:
    """An effect that crashes once."""
    times = iter([crash])
    return lambda: next(times, lambda: None)()


CRASHED: dict[str, tuple[Callable[[], Any], list[Any], list[Any]]] = {
    "one": (lambda: graph(a=node("q", effect=crash)), [YES], [("answered", ["q"])]),
    "failed": (lambda: graph(a=node("q", effect=failure)), [YES], [("failed", ["q"])]),
    "failed by a map": (lambda: graph(a=node("q", effect=failure)), [answers(q="yes")], [("failed", ["q"])]),
    "the second of two nodes": (
        lambda: chain(node("q1"), node("q2", effect=crash)),
        [YES, YES],
        [("answered", ["q2"])],
    ),
    "the second question, another answer": (
        lambda: graph(a=node("q1", "q2", effect=crash)),
        [YES, Command(resume="no")],
        [("answered", ["q2"])],
    ),
    "parallel, the second": (
        lambda: graph(a=node("q1"), b=node("q2", effect=crash)),
        [answers(q1="yes"), YES],
        [("answered", ["q2"])],
    ),
    "parallel, the first failed": (
        lambda: graph(a=node("q1", effect=failure), b=node("q2")),
        [answers(q1="yes", q2="yes")],
        [("failed", ["q1"])],
    ),
    "hidden by new input": (
        lambda: graph(a=node("q", effect=first_time())),
        [YES, {"done": []}],
        [("answered", ["q"])],
    ),
    "hidden by a whole new run": (
        lambda: graph(a=node("q", effect=first_time())),
        [YES, {"done": []}, YES],
        [("answered", ["q"])],
    ),
    "in a subgraph": (lambda: graph(sub=compiled_inside(node("q", effect=crash))), [YES], [("answered", ["q"])]),
    "failed in a subgraph": (
        lambda: graph(sub=compiled_inside(node("q", effect=failure))),
        [YES],
        [("failed", ["q"])],
    ),
    "two graphs down": (
        lambda: graph(a=compiled_inside(compiled_inside(node("q", effect=crash)))),
        [YES],
        [("answered", ["q"])],
    ),
    "past the subgraph, in the node that called it": (
        lambda: graph(a=calls_a_graph_and_acts),
        [YES],
        [("answered", ["q"])],
    ),
}


@pytest.mark.parametrize("name", CRASHED)
def test_crashes_are_found(name: str) -> None:
    """Each crash between an answer and the end of its task is found once, in the innermost graph."""
    build, given, expected = CRASHED[name]
    assert signs(played(build(), *given)) == expected


def test_the_namespace_is_the_innermost() -> None:
    """Of a subgraph's interrupt, stored at every level, the level that asked is named, with those above it."""
    saver = played(graph(a=compiled_inside(compiled_inside(node("q", effect=crash)))), YES)
    [found] = unknown_outcomes(saver)
    assert [part.split(":")[0] for part in found.namespace.split("|")] == ["a", "n0"]
    assert list(found.parents) == ["", found.namespace.split("|")[0]]
    root = saver.get_tuple(CONFIG)
    assert found.root_checkpoint == root.config["configurable"]["checkpoint_id"] != found.checkpoint


def test_a_function_and_its_task() -> None:
    """The functional API stores the same signs."""

    @task
    def ask() -> Any:
        return interrupt("q")

    saver = InMemorySaver()

    @entrypoint(checkpointer=saver)
    def flow(given: Any) -> Any:
        ask().result()
        raise Crash

    flow.invoke({}, CONFIG)
    assert signs(saver) == []
    with suppress(Crash):
        flow.invoke(YES, CONFIG)
    assert [values for _, values in signs(saver)] == [["q"]]


def test_what_the_checkpoints_cannot_say() -> None:
    """An answer by a map leaves no trace before its task ends, and a second pause looks like a crash: both are said."""
    assert signs(played(graph(a=node("q", effect=crash)), answers(q="yes")), unclear=True) == []
    second_pause = played(graph(a=node("q1", "q2")), YES)
    second_crash = played(graph(a=node("q1", "q2", effect=crash)), YES, YES)
    assert signs(second_pause) == signs(second_crash) == []
    assert signs(second_pause, unclear=True) == signs(second_crash, unclear=True) == [("unclear", ["q2"])]
    beside = played(graph(a=node("q1"), b=node("q2")), answers(q1="yes"))
    assert signs(beside, unclear=True) == [("unclear", ["q2"])]


def test_an_old_answer_serves_the_next_question() -> None:
    """Why the unclear matter: at a clean second pause, going on without an answer acts with the first one's."""
    acted: list[str] = []
    builder = graph(a=node("q1", "q2", effect=lambda: acted.append("acted")))
    played(builder, YES, None)
    assert acted == ["acted"]


def test_one_thread_of_many() -> None:
    """Asked for one thread, only that one is looked at."""
    saver = InMemorySaver()
    compiled = graph(a=node("q", effect=crash)).compile(checkpointer=saver)
    for thread in ("T-1", "T-2"):
        for given in ({"done": []}, YES):
            with suppress(Crash):
                compiled.invoke(given, {"configurable": {"thread_id": thread}})
    assert [each.thread for each in unknown_outcomes(saver)] == ["T-1", "T-2"]
    assert [each.thread for each in unknown_outcomes(saver, thread="T-2")] == ["T-2"]
