"""Folded ahead of the index: the same verdicts, the same index once it is written, and nothing wrong when it isn't."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from consumers import indexer as indexer_module
from consumers.publishing import IndexCourt
from consumers.settings import Ledger
from ledger.ahead import Ahead
from ledger.batch import ItemCache, fold_batch, names_of
from ledger.cloudevents import read_event
from ledger.errors import DiskFailed, UnusableLog
from ledger.index import Index
from ledger.log import Identity, Receipt
from ledger.record import Record
from ledger.recorders.port import INDEX_FORMAT, Position
from ledger.sending import Sending
from tests.faults.ledgers import caught_up, dump, folded, opened, put, url
from tests.faults.lines import day, note


def lines(count: int) -> list[tuple[str | None, bytes]]:
    """A day of events, each tenth of them sent twice."""
    told = [(json.loads(value)["subject"], value) for value in day(count, work_items=3)]
    return [one for number, line in enumerate(told) for one in [line] * (2 if number % 10 == 0 else 1)]


def ahead_by_steps(ledger: Ledger, told: list[tuple[str | None, bytes]], each: int) -> list[str]:
    """The verdicts of lines that are put and folded ahead a few at a time."""
    verdicts = []
    for at in range(0, len(told), each):
        put(ledger.log, told[at : at + each])
        verdicts += [one.verdict for one in ledger.indexer.step_ahead(0)]
    return verdicts


@pytest.mark.parametrize("each", [1, 7, 1_000])
def test_ahead_and_written_it_is_what_the_log_gives(tmp_path: Path, each: int) -> None:
    """However many entries a step has, verdicts are the fold's, and the index written at once is that of a replay."""
    log_url, told = url(tmp_path / "log.db"), lines(300)
    with opened(log_url, tmp_path / "index.db") as ledger:
        verdicts = ahead_by_steps(ledger, told, each)
        assert verdicts == folded(ledger.log)[1]
        assert "duplicate" in verdicts
        assert ledger.index.ahead()[0] == len(told)
        assert not dump(tmp_path / "index.db")["trail"]
        ledger.indexer.write()
        assert ledger.index.ahead() == (0, 0)
        assert ahead_by_steps(ledger, lines(20)[:5], 1) == ["duplicate"] * 5
        ledger.indexer.write()
    caught_up(log_url, tmp_path / "again.db")
    assert dump(tmp_path / "index.db") == dump(tmp_path / "again.db")


@pytest.mark.parametrize("cached", [4_096, 1])
def test_another_indexer_moves_on_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: int) -> None:
    """What is folded ahead never rests on what another has written since: it is folded again, and counts once."""
    monkeypatch.setattr(ItemCache.__init__, "__defaults__", (cached, 16_384))
    path, told = tmp_path / "ledger.db", lines(120)
    with opened(url(path), path) as ledger, opened(url(path), path) as other:
        verdicts: dict[int, str] = {}
        for at in range(0, len(told), 10):
            put(ledger.log, told[at : at + 10])
            if at % 3 == 0:
                other.indexer.catch_up()
            while ledger.indexer.position(0).next_offset < ledger.log.bounds(0)[1]:
                verdicts |= {one.offset: one.verdict for one in ledger.indexer.step_ahead(0)}
            if at % 7 == 0:
                ledger.indexer.write()
        ledger.indexer.write()
        ledger.indexer.catch_up()
        wanted = folded(ledger.log)[1]
        assert verdicts == {offset: wanted[offset] for offset in verdicts}
    with sqlite3.connect(path) as connection:
        assert [row[0] for row in connection.execute("SELECT verdict FROM trail ORDER BY offset")] == wanted
    caught_up(url(path), tmp_path / "again.db")
    assert dump(path) == dump(tmp_path / "again.db")


@pytest.mark.parametrize("ahead", [True, False])
def test_a_rebuild_that_comes_to_the_same_place_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: bool
) -> None:
    """What was loaded while the index was empty is worth nothing, even if the position is soon the same again."""
    path, told = tmp_path / "ledger.db", lines(30)
    with opened(url(path), path) as ledger, opened(url(path), path) as other:
        put(ledger.log, told)
        ledger.indexer.catch_up()
        before, end = other.log.read(0, 0, most=1_000), ledger.log.bounds(0)[1]
        put(ledger.log, told[:1])  # a resend: its first is known to the index only
        as_it_is = ledger.index._fold_onto

        def raced(*given: Any) -> Any:
            other.index.start_over()
            folded = as_it_is(*given)
            other.index.remember(other.log.identity())
            other.index.fold(other.log.identity(), 0, Position(0), before)
            return folded

        step = ledger.indexer.step_ahead if ahead else ledger.indexer.step
        with monkeypatch.context() as racing:
            racing.setattr(ledger.index, "_fold_onto", raced)
            assert step(0) == ()
        assert ledger.indexer.position(0).next_offset == end
        assert [one.verdict for one in step(0)] == ["duplicate"]
        ledger.indexer.write()
    caught_up(url(path), tmp_path / "again.db")
    assert dump(path) == dump(tmp_path / "again.db")


def test_a_long_backlog_is_written_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher on an index that is far behind holds no more ahead than it may."""
    monkeypatch.setattr(indexer_module, "BATCH_ENTRIES", 500)
    path = tmp_path / "ledger.db"
    with opened(url(path), path) as ledger:
        put(ledger.log, [("T-1", note(number)) for number in range(6_000)])
        court = IndexCourt(ledger.log, ledger.indexer)
        (verdict,) = court.judge([(Receipt(0, 5_999, 0), Sending(b""))])
        assert (verdict.offset, verdict.verdict) == (5_999, "accepted")
        assert ledger.index.ahead()[0] < 4_096
        assert ledger.index.recorder.positions()[0].next_offset > 4_000


def test_what_is_not_written_is_folded_by_whoever_comes_next(tmp_path: Path) -> None:
    """A process that ends in between leaves an index that is only behind."""
    path = tmp_path / "ledger.db"
    with opened(url(path), path) as ledger:
        ahead_by_steps(ledger, lines(50), 5)
    assert caught_up(url(path), path) == len(lines(50))


def test_a_disk_that_fails_is_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts were given; what could not be written is folded again from where the index stands."""
    path, told = tmp_path / "ledger.db", lines(40)

    def fails(*_: object) -> None:
        raise DiskFailed("The disk is full.", "Make room.")

    with opened(url(path), path) as ledger:
        first = ahead_by_steps(ledger, told, 4)
        with monkeypatch.context() as failing:
            failing.setattr(Index, "_write", fails)
            with pytest.raises(DiskFailed):
                ledger.indexer.write()
        assert ledger.indexer.position(0).next_offset == 0
        assert [one.verdict for one in ledger.indexer.step_ahead(0)] == first
        ledger.indexer.write()
    caught_up(url(path), tmp_path / "again.db")
    assert dump(path) == dump(tmp_path / "again.db")


def test_a_court_writes_when_there_is_time_or_much(tmp_path: Path) -> None:
    """Few entries wait for an idle moment; many do not; and closing leaves none."""
    path = tmp_path / "ledger.db"
    with opened(url(path), path) as ledger:
        court = IndexCourt(ledger.log, ledger.indexer)
        ahead_by_steps(ledger, [("T-1", note(1))], 1)
        court.rest(idle=False)
        assert ledger.index.ahead()[0] == 1
        assert ledger.index.verdict_ahead(0, 0) is not None
        court.rest(idle=True)
        assert ledger.index.ahead()[0] == 0
        ahead_by_steps(ledger, [("T-1", note(number)) for number in range(2, 4_100)], 5_000)
        court.rest(idle=False)
        assert ledger.index.ahead()[0] == 0


def test_an_index_of_an_older_version_asks_for_a_rebuild(tmp_path: Path) -> None:
    """It is not read, and can be made anew."""
    path = tmp_path / "ledger.db"
    with opened(url(path), path) as ledger:
        put(ledger.log, [("T-1", note(1))])
        ledger.indexer.catch_up()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE index_identity SET format = ?", (INDEX_FORMAT - 1,))
    connection.close()
    with pytest.raises(UnusableLog, match="older pauseledger"), opened(url(path), path):
        pass
    with Index(path, []) as index:
        index.start_over()
        index.remember(Identity("log", "anew", 1))
        assert index.recorder.known_log() is not None


def test_verdicts_are_found_by_offset_past_gaps() -> None:
    """Kafka's markers leave gaps between the offsets: each entry still has its own verdict, and a gap has none."""
    lines_at = [(offset, value) for offset, (_, value) in zip((0, 1, 4, 5, 9), lines(5), strict=False)]
    records = [Record(0, at, 1_774_688_400_000, json.loads(value)["subject"].encode(), value) for at, value in lines_at]
    ahead = Ahead(0, Position(0))
    for some in (records[:3], records[3:]):
        events = [read_event(record, 1) for record in some]
        ahead.add(fold_batch(0, some, events, names_of(events), {}, {}))
    found = {offset: ahead.verdict(offset) for offset in range(12)}
    assert {offset for offset, verdict in found.items() if verdict is not None} == {0, 1, 4, 5, 9}
    assert all(verdict is None or verdict.offset == offset for offset, verdict in found.items())
