"""The trail lists every entry, however broken, and what it says of a time is what was said then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.log import Draft
from ledger.logs.sqlite import SqliteLog
from ledger.times import from_milliseconds
from projections.trail import trail, verdict_at
from tests.faults.ledgers import dump, folded, opened, put, records_of, url
from tests.faults.lines import line, note, pause
from tests.projections.tables import everything, indexed


def test_every_entry_has_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By partition and offset, with the fold's own verdict; a malformed record is kept byte for byte."""
    log = everything(tmp_path / "log.db")
    count = indexed(log, tmp_path / "index.db", 100, monkeypatch)
    rows = dump(tmp_path / "index.db", "trail")["trail"]
    with opened(url(log), tmp_path / "index.db") as ledger:
        _, verdicts = folded(ledger.log)
        records = records_of(ledger.log)
        assert [(row[1], row[6]) for row in rows] == list(enumerate(verdicts))
        assert len(rows) == count
        assert {"accepted", "refused", "duplicate", "malformed"} == set(verdicts)
        for record, row in zip(records, rows, strict=True):
            assert (row[8] is None) == (row[6] != "malformed")
            verdict = verdict_at(ledger.index, 1, record.partition, record.offset)
            assert verdict is not None
            assert (verdict.verdict, verdict.code, verdict.recorded_at) == (row[6], row[7], record.recorded_at)
        assert verdict_at(ledger.index, 1, 0, count) is None


def test_the_trails_of_all_work_items_are_the_whole_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry that names a work item is on that one's trail, once, with its record; the rest name none."""
    log = everything(tmp_path / "log.db")
    indexed(log, tmp_path / "index.db", 4_096, monkeypatch)
    with opened(url(log), tmp_path / "index.db") as ledger:
        records = records_of(ledger.log)
        rows = dump(tmp_path / "index.db", "trail")["trail"]
        subjects = {row[2] for row in rows} - {None}
        found = [one.record for subject in subjects for one in trail(ledger.index, 1, subject)]
        named = [record for record, row in zip(records, rows, strict=True) if row[2] is not None]
        assert sorted(found, key=lambda record: record.offset) == named
        assert 0 < len(records) - len(named) < 50


@pytest.fixture
def stepped(tmp_path: Path) -> Path:
    """A log whose entries of T-1 lie a second apart: a pause, noise that names it, a note, another key, a note."""
    ticks = iter(range(1_000_000, 10_000_000, 1_000))
    log = SqliteLog(tmp_path / "ledger.db", clock=lambda: next(ticks))
    wrong = line("note.added", {"no": "text"}, id="x1")
    for key, value in [("T-1", pause()), ("T-1", wrong), ("T-1", note(1)), ("T-2", note(2)), ("T-1", note(3))]:
        log.append([Draft(0, key.encode(), value, STRUCTURED_HEADERS)])
    log.close()
    return tmp_path / "ledger.db"


@pytest.mark.parametrize(
    ("milliseconds", "offsets"),
    [
        (-1, []),
        (0, [0]),
        (999, [0]),
        (1_000, [0, 1]),
        (1_999, [0, 1]),
        (2_000, [0, 1, 2]),
        (2_999, [0, 1, 2]),
        (3_999, [0, 1, 2, 3]),
        (4_000, [0, 1, 2, 3, 4]),
        (10**9, [0, 1, 2, 3, 4]),
    ],
)
def test_a_trail_at_a_time_has_what_had_happened(stepped: Path, milliseconds: int, offsets: list[int]) -> None:
    """To the millisecond, malformed entries that name the work item too; offset 3 names it under another key."""
    with opened(url(stepped), stepped) as ledger:
        ledger.indexer.catch_up()
        at = from_milliseconds(1_000_000 + milliseconds)
        found = [one.record.offset for one in trail(ledger.index, 1, "T-1", at=at)]
        assert found == offsets
        assert [one.record.offset for one in trail(ledger.index, 1, "T-none", at=at)] == []


def test_a_line_shows_the_event_as_it_came(tmp_path: Path) -> None:
    """Unknown members too; null where the value is no JSON."""
    path = tmp_path / "ledger.db"
    content: dict[str, Any] = json.loads(note(1)) | {"extra": {"a": [1, None]}, "n": 2**60}
    with opened(url(path), path) as ledger:
        put(ledger.log, [("T-1", json.dumps(content).encode())])
        ledger.log.append([Draft(0, b"T-1", b"\xff", STRUCTURED_HEADERS)])
        ledger.indexer.catch_up()
        [line_] = trail(ledger.index, 1, "T-1")
        assert line_.as_dict()["event"] == content
        assert line_.as_dict()["verdict"] == "accepted"
