"""Projections that an older version wrote are made anew beside the old ones, whatever happens meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from consumers.indexer import Indexer
from consumers.settings import Ledger
from ledger import reprojection
from ledger.errors import UnusableLog
from ledger.index import Index
from ledger.recorders.address import index_address
from ledger.recorders.port import VERSIONS
from ledger.tables import Column, Rows, Table
from projections.trail import Trail
from tests.faults.ledgers import caught_up, dump, opened, put, url
from tests.faults.lines import day, note

NAMES = ("trail", "decisions", "deadlines", "owners")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small ledger has many."""
    monkeypatch.setattr(reprojection, "_CHUNK", 7)
    monkeypatch.setattr(reprojection, "_FEW", 3)


def lines(count: int, start: int = 0) -> list[tuple[str | None, bytes]]:
    """A day's events of a few work items, and among them what is no event."""
    sound = [(json.loads(value)["subject"], value) for value in day(start + count, work_items=9)][start:]
    broken: list[tuple[str | None, bytes]] = [(f"T-{n % 9}", b"{no event") for n in range(count // 10)]
    return [*sound, *broken]


def put_back(index: Index, *names: str, version: int = 0) -> None:
    """As if tables were of another version."""
    index.recorder.insert([Rows(VERSIONS, [(name, version) for name in names], "replace")])


def versions(ledger: Ledger) -> dict[str, int]:
    return {name: version for name, version in ledger.index.recorder.table_versions().items() if name in NAMES}


@contextmanager
def older(log_url: str, index: str) -> Iterator[Ledger]:
    """A ledger that goes on running while the tables of its index become of version 0, and empty."""
    with opened(log_url, index) as ledger:
        ledger.indexer.catch_up()
        for table in ledger.index.tables:
            if table.name != "trail":
                ledger.index.recorder.drop([table])
                ledger.index.recorder.make_tables([table])
        put_back(ledger.index, *NAMES)
        yield ledger


@pytest.mark.parametrize("name", NAMES)
def test_an_old_table_is_made_anew(tmp_path: Path, new_index: Callable[[], str], name: str) -> None:
    """Its rows are those that a replay of the log gives; the others are left as they are."""
    log_url, index = url(tmp_path / "log.db"), new_index()
    with opened(log_url, index) as ledger:
        put(ledger.log, lines(300))
        ledger.indexer.catch_up()
        if name != "trail":
            [table] = [one for one in ledger.index.tables if one.name == name]
            ledger.index.recorder.drop([table])
            older_shape = Table(name, (Column("subject"), Column("bird")), ("subject",))
            ledger.index.recorder.make_tables([older_shape])
            ledger.index.recorder.insert([Rows(older_shape, [("T-1", "wren")])])
        put_back(ledger.index, name)
    with opened(log_url, index) as ledger:
        assert versions(ledger) == dict.fromkeys(NAMES, 1)
        put(ledger.log, lines(100, 300))
        ledger.indexer.catch_up()
    caught_up(log_url, tmp_path / "fresh.db")
    assert dump(index) == dump(tmp_path / "fresh.db")


def test_a_new_projection_is_filled(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """An index that was folded without it has its rows afterwards."""
    log_url, index = url(tmp_path / "log.db"), new_index()
    with opened(log_url, tmp_path / "unused.db") as ledger:
        put(ledger.log, lines(200))
        with closing(Index(index_address(index), [Trail()])) as without:
            Indexer(ledger.log, without).catch_up()
    with opened(log_url, index) as ledger:
        assert versions(ledger) == dict.fromkeys(NAMES, 1)
    caught_up(log_url, tmp_path / "fresh.db")
    assert dump(index) == dump(tmp_path / "fresh.db")


def test_others_go_on_writing_meanwhile(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """What they fold while the tables are filled is in the new ones, and they go on after the swap."""
    log_url, index = url(tmp_path / "log.db"), new_index()
    with opened(log_url, index) as ledger:
        put(ledger.log, lines(300))
    written = []
    with older(log_url, index) as running, closing(Index(index_address(index), running.index.projections)) as new:

        def meanwhile(_: int) -> None:
            if len(written) < 20:
                put(running.log, [(f"T-{len(written)}", note(10_000 + len(written)))])
                written.append(running.indexer.catch_up())

        Indexer(running.log, new, remaking=meanwhile)
        assert written == [1] * 20
        put(running.log, [("T-1", note(20_000))])
        assert sum(running.indexer.catch_up() for _ in range(2)) == 1
    caught_up(log_url, tmp_path / "fresh.db")
    assert dump(index) == dump(tmp_path / "fresh.db")


def test_one_that_died_on_the_way_is_made_good(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """What it left beside is dropped; until the swap the old tables are what they were."""
    log_url, index = url(tmp_path / "log.db"), new_index()
    with opened(log_url, index) as ledger:
        put(ledger.log, lines(300))

    def dies(_: int) -> None:
        raise KeyboardInterrupt

    with older(log_url, index) as running, closing(Index(index_address(index), running.index.projections)) as new:
        before = dump(index)
        with pytest.raises(KeyboardInterrupt):
            Indexer(running.log, new, remaking=dies)
        assert dump(index) == before
    caught_up(log_url, index)
    caught_up(log_url, tmp_path / "fresh.db")
    assert dump(index) == dump(tmp_path / "fresh.db")


def test_an_index_that_is_emptied_meanwhile_is_made_anew_from_there(
    tmp_path: Path, new_index: Callable[[], str]
) -> None:
    """Nothing of what was read before is in it."""
    log_url, index = url(tmp_path / "log.db"), new_index()
    with opened(log_url, index) as ledger:
        put(ledger.log, lines(300))
    with older(log_url, index) as running, closing(Index(index_address(index), running.index.projections)) as new:
        emptied: list[int] = []

        def meanwhile(_: int) -> None:
            if not emptied:
                running.index.start_over()
                emptied.append(1)

        Indexer(running.log, new, remaking=meanwhile)
        assert emptied == [1]
        assert dump(index, *NAMES) == {name: [] for name in NAMES}
    caught_up(log_url, index)
    caught_up(log_url, tmp_path / "fresh.db")
    assert dump(index) == dump(tmp_path / "fresh.db")


def test_several_may_come_upon_it_at_once(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """One of them does it; the others wait, and all go on."""
    log_url, index = url(tmp_path / "log.db"), new_index()
    with opened(log_url, index) as ledger:
        put(ledger.log, lines(300))
    with older(log_url, index):
        failed: list[Any] = []

        def come_upon_it() -> None:
            try:
                caught_up(log_url, index)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=come_upon_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
    caught_up(log_url, tmp_path / "fresh.db")
    assert dump(index) == dump(tmp_path / "fresh.db")


def test_an_older_version_halts_at_newer_tables(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """At its start, and while it runs: the swap has fenced it."""
    log_url, index = url(tmp_path / "log.db"), new_index()
    with opened(log_url, index) as running:
        put(running.log, lines(100))
        running.indexer.catch_up()
        put(running.log, lines(100, 100))
        recorder = running.index.recorder
        decisions = [table for table in running.index.tables if table.name == "decisions"]
        recorder.make_tables([table._replace(name="decisions_beside", lookups=(), views=()) for table in decisions])
        recorder.swap([decisions[0]._replace(version=2)], recorder.generation(), list)
        before = dump(index)
        with pytest.raises(UnusableLog, match="newer"):
            running.indexer.catch_up()
        with pytest.raises(UnusableLog, match="newer"), opened(log_url, index):
            pass
        assert dump(index) == before
