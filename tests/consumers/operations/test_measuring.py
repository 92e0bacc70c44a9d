"""Measuring: the figures are those of the index, counted by hand."""

from __future__ import annotations

from pathlib import Path

from consumers.operations import metrics
from consumers.operations.measuring import Measuring
from consumers.settings import Settings
from tests.faults.ledgers import opened, put, url
from tests.faults.lines import line
from tests.faults.lines import opened as pause_data


def test_what_expired_undecided_is_measured(tmp_path: Path) -> None:
    """Of two stale pauses the one that was decided since isn't counted."""
    log_url, index_url = url(tmp_path / "log.db"), url(tmp_path / "index.db")
    stale = [pause_data(name, fresh_for="PT0.001S") for name in ("p1", "p2")]
    with opened(log_url, tmp_path / "index.db") as ledger:
        lines = [line("pause.opened", data, id=data["pause"], actor="user:dana") for data in stale]
        decided = {"execution": "run-1", "pause": "p2", "fresh_for": "P1D"}
        lines.append(line("inputs.rechecked", decided, id="decided", actor="user:dana"))
        put(ledger.log, [("T-1", one) for one in lines])
        assert [one.verdict for one in ledger.indexer.step(0)] == ["accepted"] * 3
    measuring = Measuring(Settings.read(log_url, index_url))
    measuring.measure()
    measuring._close()
    assert metrics.EXPIRED_UNDECIDED._value.get() == 1
