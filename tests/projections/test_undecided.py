"""Expired and never decided: which pauses count, from when, and that table and states agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from consumers.indexer import Indexer
from consumers.settings import Ledger, Settings
from ledger.logs.sqlite import SqliteLog
from projections.listing import work_items
from projections.undecided import WITH_UNDECIDED, expired_undecided, undecided_of
from tests.faults.ledgers import opened, put, url
from tests.faults.lines import DANA, line, resume
from tests.faults.lines import opened as pause_data
from tests.projections.tables import everything, indexed

START = datetime(2026, 3, 28, 9, tzinfo=UTC)
EXPIRES = START + timedelta(minutes=10)
DIGEST = "sha256:3ba9f9c80cf8e54c72d64aeb90288dcd593348964d9ca0681bf8041316f546f0"
OF_P1 = {"execution": "run-1", "pause": "p1"}

Line = tuple[float, bytes]


def told(minute: float, name: str, **data: Any) -> Line:
    return minute, line(name, OF_P1 | data, id=f"e-{minute}", actor=DANA)


def from_when(folder: Path, *lines: Line) -> datetime | None:
    """When the pause of T-1, fresh for ten minutes, begins to count, as the table says, after lines at minutes."""
    now = START
    log = SqliteLog(folder / "log.db", clock=lambda: int(now.timestamp() * 1000))
    index = Settings.read(url(folder / "log.db"), url(folder / "index.db")).open_index()
    ledger = Ledger(log, index, Indexer(log, index))
    try:
        for minute, value in ((0.0, line("pause.opened", pause_data(fresh_for="PT10M"))), *lines):
            now = START + timedelta(minutes=minute)
            put(log, [("T-1", value)])
        ledger.indexer.catch_up()
        assert {row[0] for row in index.recorder.select("SELECT verdict FROM trail")} == {"accepted"}
        counts = [expired_undecided(index, at) for at in (EXPIRES - timedelta(milliseconds=1), EXPIRES, now)]
        item = index.work_item("T-1")
        assert item is not None
        found = undecided_of(item, max(now, EXPIRES))
        assert len(found) == counts[1]
        assert counts[0] == 0
        return EXPIRES if counts[1] else None
    finally:
        ledger.close()


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [told(20, "note.added", text="has anybody looked?")],
        [told(20, "execution.finished")],
        [told(20, "pause.closed", outcome="abandoned")],
        [(20, line("execution.claimed", {"execution": "run-2", "owner": DANA, "replaces": "run-1"}, id="c"))],
        [told(20, "side_effect.attempted"), told(21, "side_effect.observed", status="not_happened", settles="0:1")],
    ],
)
def test_a_pause_that_nobody_decides_counts_from_the_instant_it_expires(tmp_path: Path, lines: list[Line]) -> None:
    """Open, or ended without a word on its action, also long after."""
    assert from_when(tmp_path, *lines) == EXPIRES


@pytest.mark.parametrize(
    "lines",
    [
        [told(5, "inputs.rechecked", fresh_for="PT1H")],
        [told(20, "inputs.rechecked", fresh_for="PT1H")],
        [told(20, "review.decided", outcome="reject", action_digest=DIGEST)],
        [told(5, "execution.finished")],
        [told(5, "pause.closed", outcome="abandoned")],
        [(5, resume())],
        [(5, resume()), told(20, "execution.finished")],
        [told(20, "side_effect.observed", status="happened"), told(21, "pause.closed", outcome="executed")],
    ],
)
def test_a_pause_that_was_decided_or_ended_in_time_does_not_count(tmp_path: Path, lines: list[Line]) -> None:
    """Before it expired or after."""
    assert from_when(tmp_path, *lines) is None


def test_a_recheck_starts_anew(tmp_path: Path) -> None:
    """What was decided and expires again counts again, from then."""
    lines = [told(20, "inputs.rechecked", fresh_for="PT1M")]
    assert from_when(tmp_path, *lines) is None
    with opened(url(tmp_path / "log.db"), tmp_path / "index.db") as ledger:
        again = START + timedelta(minutes=21)
        at = (again - timedelta(milliseconds=1), again)
        assert [expired_undecided(ledger.index, one) for one in at] == [0, 1]


def test_table_and_states_agree_on_every_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the batches were cut."""
    log = everything(tmp_path / "log.db")
    counts = set()
    for batch in (3, 5_000):
        index = tmp_path / f"index-{batch}.db"
        indexed(log, index, batch, monkeypatch)
        with opened(url(log), index) as ledger:
            later = datetime(2100, 1, 1, tzinfo=UTC)
            items = work_items(ledger.index, WITH_UNDECIDED, now=later)
            listed = sum(len(undecided_of(item, later)) for item, _ in items)
            assert listed == expired_undecided(ledger.index, later) >= 10
            counts.add(listed)
    assert len(counts) == 1
