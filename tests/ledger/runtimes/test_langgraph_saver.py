"""The watched saver: it conforms, it stores what the saver inside would, and no ledger holds it up."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from consumers.gates import open_gate
from ledger.errors import NotFound
from ledger.runtimes.gate import Gate
from ledger.runtimes.langgraph_saver import Seen, WatchedSaver
from ledger.runtimes.pauses import Paused
from tests.faults.ledgers import url
from tests.ledger.runtimes.checkpoint_graphs import ACTION, CONFIG, failure, graph, node

BASE = {"put", "put_writes", "get_tuple", "list", "delete_thread"}
RARER = {"delete_for_runs", "copy_thread", "prune"}


class Threaded(BaseCheckpointSaver[Any]):
    """The synchronous half of a saver, called from coroutines: the conformance suite knows no other."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        self.saver = saver
        self.serde = saver.serde

    async def aget_tuple(self, config: Any) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.saver.get_tuple, config)

    async def alist(self, config: Any, **criteria: Any) -> AsyncIterator[CheckpointTuple]:
        for found in await asyncio.to_thread(lambda: list(self.saver.list(config, **criteria))):
            yield found

    async def aput(self, *given: Any) -> Any:
        return await asyncio.to_thread(self.saver.put, *given)

    async def aput_writes(self, *given: Any, **named: Any) -> None:
        await asyncio.to_thread(lambda: self.saver.put_writes(*given, **named))

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.saver.delete_thread, thread_id)


class Rich(InMemorySaver):
    """A saver with the methods that none of the installed ones has."""

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        for found in list(self.list(None)):
            if found.metadata.get("run_id") in run_ids:
                thread, namespace, checkpoint = _names(found)
                del self.storage[thread][namespace][checkpoint]
                self.writes.pop((thread, namespace, checkpoint), None)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        for namespace, found in self.storage[source_thread_id].items():
            self.storage[target_thread_id][namespace] = dict(found)
        for where, writes in list(self.writes.items()):
            if where[0] == source_thread_id:
                self.writes[(target_thread_id, *where[1:])] = dict(writes)
        for blob, value in list(self.blobs.items()):
            if blob[0] == source_thread_id:
                self.blobs[(target_thread_id, *blob[1:])] = value

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        for thread in thread_ids:
            if strategy == "delete":
                self.delete_thread(thread)
            for namespace, found in self.storage[thread].items():
                for checkpoint in sorted(found)[:-1]:
                    del found[checkpoint]
                    self.writes.pop((thread, namespace, checkpoint), None)


def _names(found: CheckpointTuple) -> tuple[str, str, str]:
    configurable = found.config["configurable"]
    return configurable["thread_id"], configurable["checkpoint_ns"], configurable["checkpoint_id"]


def ignore(fact: Seen) -> None:
    pass


async def in_memory() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
    yield WatchedSaver(InMemorySaver(), ignore)


async def rich() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
    yield WatchedSaver(Rich(), ignore)


async def in_sqlite() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        yield Threaded(WatchedSaver(SqliteSaver(connection), ignore))


async def in_async_sqlite() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
    async with AsyncSqliteSaver.from_conn_string(":memory:") as saver:
        yield WatchedSaver(saver, ignore)


@pytest.mark.parametrize(
    ("factory", "capabilities"),
    [(in_memory, BASE), (in_sqlite, BASE), (in_async_sqlite, BASE), (rich, BASE | RARER)],
)
def test_it_conforms(factory: Any, capabilities: set[str]) -> None:
    """LangGraph's own suite passes on it around each saver, with every capability that the saver has and no other."""
    report = asyncio.run(validate(checkpointer_test(name=factory.__name__)(factory)))
    results = report.results
    assert {name for name, result in results.items() if result.detected} == capabilities
    failures = [each for result in results.values() for each in result.failures or []]
    assert failures == []
    assert sum(result.tests_passed for name, result in results.items() if name in BASE) == 58


def facts_of(run: Callable[[BaseCheckpointSaver[Any]], object]) -> list[Seen]:
    facts: list[Seen] = []
    run(WatchedSaver(InMemorySaver(), facts.append))
    return facts


def test_it_tells_of_pause_answer_and_end() -> None:
    """An interrupt with its value, that there was an answer, and that the task finished; never the answer itself."""

    def run(saver: BaseCheckpointSaver[Any]) -> None:
        compiled = graph(pay=node(ACTION)).compile(checkpointer=saver)
        compiled.invoke({"done": []}, CONFIG)
        compiled.invoke(Command(resume="a secret"), CONFIG)

    paused, answered, finished = facts_of(run)
    assert (paused.thread, paused.namespace, paused.answered) == ("T-1", "", False)
    assert [each.value for each in paused.interrupts] == [ACTION]
    assert (answered.task, answered.answered, answered.finished) == ("", True, False)
    assert (finished.task, finished.answered, finished.finished) == (paused.task, True, True)
    assert {fact.checkpoint for fact in (paused, answered, finished)} == {paused.checkpoint}
    assert "a secret" not in repr([paused, answered, finished])


def test_it_tells_of_failure_and_subgraphs() -> None:
    """A node that raised after its answer is told as failed, in the namespace of its graph."""

    def run(saver: BaseCheckpointSaver[Any]) -> None:
        inside = graph(pay=node(ACTION, effect=failure)).compile()
        compiled = graph(agent=inside).compile(checkpointer=saver)
        compiled.invoke({"done": []}, CONFIG)
        with pytest.raises(OSError, match="cut off"):
            compiled.invoke(Command(resume="yes"), CONFIG)

    failed = [fact for fact in facts_of(run) if fact.failed]
    assert [fact.namespace.split(":")[0] for fact in failed] == ["agent"]
    assert failed[0].answered


def test_it_tells_in_coroutines_too(tmp_path: Path) -> None:
    """The asynchronous half tells the same facts."""
    facts: list[Seen] = []

    async def run() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "c.db")) as saver:
            compiled = graph(pay=node(ACTION)).compile(checkpointer=WatchedSaver(saver, facts.append))
            await compiled.ainvoke({"done": []}, CONFIG)
            await compiled.ainvoke(Command(resume="yes"), CONFIG)

    asyncio.run(run())
    assert [(bool(fact.interrupts), fact.answered, fact.finished) for fact in facts] == [
        (True, False, False),
        (False, True, False),
        (False, True, True),
    ]


def stored(file: Path, wrap: Callable[[SqliteSaver], BaseCheckpointSaver[Any]]) -> list[Any]:
    with SqliteSaver.from_conn_string(str(file)) as saver:
        compiled = graph(pay=node("q1", "q2"), ask=node("q3")).compile(checkpointer=wrap(saver))
        ids = [each.id for each in compiled.invoke({"done": []}, CONFIG)["__interrupt__"]]
        compiled.invoke(Command(resume=dict.fromkeys(ids, "yes")), CONFIG)
        compiled.invoke(Command(resume="no"), CONFIG)
    with closing(sqlite3.connect(file)) as connection:
        order = "ORDER BY checkpoint_id, task_path, idx"
        writes = connection.execute(f"SELECT task_path, idx, channel, type FROM writes {order}").fetchall()
        return [writes, connection.execute("SELECT metadata FROM checkpoints ORDER BY checkpoint_id").fetchall()]


def test_the_same_is_stored_without_it(tmp_path: Path) -> None:
    """The rows of a run are those that the saver alone would have written, paths of tasks among them."""
    alone = stored(tmp_path / "alone.db", lambda saver: saver)
    watched = stored(tmp_path / "watched.db", lambda saver: WatchedSaver(saver, ignore))
    assert watched == alone
    assert any(row[0] for row in watched[0])


def test_everything_else_is_the_saver_inside() -> None:
    """Serializer, versions, settings, an allowlist, attributes of its own: all come from the saver inside."""
    inside = Rich()
    saver = WatchedSaver(inside, ignore)
    assert saver.serde is inside.serde
    assert saver.config_specs == inside.config_specs
    assert saver.get_next_version("00000000000000000000000000000004.1", None).startswith("0" * 31 + "5.")
    assert saver.storage is inside.storage
    assert hasattr(saver, "nothing_of_this_name") is False
    narrowed = saver.with_allowlist([("tests", "Thing")])
    assert isinstance(narrowed, WatchedSaver)
    assert narrowed.storage is inside.storage
    assert "aprune" in dir(type(narrowed))
    assert (narrowed is saver) == (inside.with_allowlist([("tests", "Thing")]) is inside)


class Old(InMemorySaver):
    """A saver of the days before tasks had paths."""

    def put_writes(self, config: Any, writes: Any, task_id: str) -> None:  # type: ignore[override]
        super().put_writes(config, writes, task_id)


def test_a_saver_that_knows_no_paths() -> None:
    """One whose put_writes takes no task path is not given one."""
    compiled = graph(pay=node(ACTION)).compile(checkpointer=WatchedSaver(Old(), ignore))
    assert compiled.invoke({"done": []}, CONFIG)["__interrupt__"]


def test_a_ledger_that_hangs_costs_one_deadline() -> None:
    """The first fact is waited for once; the run goes on, and what hangs is not waited for again."""
    free, facts = threading.Event(), list[Seen]()

    def hang(fact: Seen) -> None:
        free.wait(30)
        facts.append(fact)

    compiled = graph(pay=node(ACTION)).compile(checkpointer=WatchedSaver(InMemorySaver(), hang, deadline_seconds=3.0))
    began = time.monotonic()
    compiled.invoke({"done": []}, CONFIG)
    waited = time.monotonic()
    assert compiled.invoke(Command(resume="yes"), CONFIG) == {"done": ["yes"]}
    assert 3.0 <= waited - began < 5.9
    assert time.monotonic() - waited < 2.9
    free.set()
    while len(facts) < 3:
        time.sleep(0.01)
    assert [fact.finished for fact in facts] == [False, False, True]


def test_a_ledger_that_hangs_does_not_hold_the_loop() -> None:
    """In coroutines the deadline is waited for without holding up the others."""
    free, beats = threading.Event(), list[int]()
    saver = WatchedSaver(InMemorySaver(), lambda fact: free.wait(30), deadline_seconds=0.3)

    async def beat() -> None:
        while True:
            beats.append(1)
            await asyncio.sleep(0.02)

    async def run() -> Any:
        beating = asyncio.create_task(beat())
        compiled = graph(pay=node(ACTION)).compile(checkpointer=saver)
        await compiled.ainvoke({"done": []}, CONFIG)
        beating.cancel()
        return await compiled.ainvoke(Command(resume="yes"), CONFIG)

    assert asyncio.run(run()) == {"done": ["yes"]}
    assert len(beats) > 5
    free.set()


def test_what_the_telling_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An error of the ledger, or of the mapping to it, is logged; the checkpoints are written."""

    def broken(fact: Seen) -> None:
        raise SystemExit("no ledger")

    compiled = graph(pay=node(ACTION)).compile(checkpointer=WatchedSaver(InMemorySaver(), broken))
    compiled.invoke({"done": []}, CONFIG)
    assert compiled.invoke(Command(resume="yes"), CONFIG) == {"done": ["yes"]}
    assert "could not be told" in caplog.text


def in_time(gate: Gate, paused: Paused) -> dict[str, Any]:
    """The packet, once the outbox has been sent."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return gate.packet(paused)
        except NotFound:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_facts_for_a_ledger_that_is_away_reach_it_later(tmp_path: Path) -> None:
    """A pause that is told while the log is locked stands in the outbox, and comes onto the ledger afterwards."""
    names: dict[str, Any] = {"source": "urn:test", "outbox": tmp_path / "outbox.db"}
    at: list[Paused] = []

    def pause(fact: Seen) -> None:
        for each in fact.interrupts if not fact.answered else ():
            at.append(
                Paused.of(runtime="langgraph", subject="T-1", execution="T-1#1", interrupt=each.id, action=ACTION)
            )
            gate.pause(at[-1])

    with sqlite3.connect(tmp_path / "log.db", isolation_level=None) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        with open_gate(url(tmp_path / "log.db"), deadline_seconds=0.3, **names) as gate:
            saver = WatchedSaver(InMemorySaver(), pause, deadline_seconds=1.0)
            began = time.monotonic()
            assert graph(pay=node(ACTION)).compile(checkpointer=saver).invoke({"done": []}, CONFIG)["__interrupt__"]
            assert time.monotonic() - began < 15
    lock.close()
    with open_gate(url(tmp_path / "log.db"), **names) as gate:
        assert in_time(gate, at[0])["state"] == "open"
