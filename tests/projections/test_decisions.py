"""The decisions: the same rows however batches were cut, and each what the branch table says at the last instant."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.decision import decide
from ledger.errors import NotFound
from projections.decisions import as_of_now, decisions, pause_of
from tests.faults.ledgers import dump, opened, put, url
from tests.faults.lines import opened as pause_data
from tests.faults.lines import pause
from tests.projections.tables import everything, indexed


def test_tables_do_not_depend_on_how_batches_were_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, by sevens, and all at once: every table of index and projections has the same bytes."""
    log = everything(tmp_path / "log.db")
    sizes = (1, 7, 4_096)
    counts = {indexed(log, tmp_path / f"{size}.db", size, monkeypatch) for size in sizes}
    assert len(counts) == 1
    assert counts.pop() > 800
    tables = [dump(tmp_path / f"{size}.db") for size in sizes]
    assert tables[0] == tables[1] == tables[2]
    assert {"resume", "reconcile", "terminate", "closed"} <= {row[3] for row in tables[0]["decisions"]}


def test_each_row_is_the_decision_of_its_last_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open pause's row is its decision as of the work item's last instant; a closed one's says how it closed."""
    log = everything(tmp_path / "log.db")
    indexed(log, tmp_path / "index.db", 4_096, monkeypatch)
    with opened(url(log), tmp_path / "index.db") as ledger:
        seen = {"open": 0, "closed": 0}
        for subject, name, _, decision, *_, content in dump(tmp_path / "index.db", "decisions")["decisions"]:
            item = ledger.index.work_item(subject)
            assert item is not None
            one = item.pauses[name]
            if one.is_open:
                assert item.instant is not None
                assert json.loads(content) == decide(item, one, item.instant).as_dict()
            else:
                assert (decision, json.loads(content)["outcome"]) == ("closed", one.outcome)
            seen["open" if one.is_open else "closed"] += 1
        assert min(seen.values()) > 20


def test_the_pauses_of_a_work_item_come_in_the_order_opened(tmp_path: Path) -> None:
    """Not in the order of their names."""
    from tests.faults.lines import line

    path = tmp_path / "ledger.db"
    names = ["p9", "p1", "p5"]
    with opened(url(path), path) as ledger:
        for name in names:
            put(ledger.log, [("T-1", line("pause.opened", pause_data(name), id=name))])
        ledger.indexer.catch_up()
        item = ledger.index.work_item("T-1")
        assert item is not None
        assert item.instant is not None
        assert [one.as_dict()["pause"] for one in decisions(item, item.instant)] == names


def test_now_is_never_before_the_last_instant(tmp_path: Path) -> None:
    """With our clock behind the log's, a decision is as of the last instant; ahead of it, as of now."""
    path = tmp_path / "ledger.db"
    with opened(url(path), path) as ledger:
        put(ledger.log, [("T-1", pause())])
        ledger.indexer.catch_up()
        item = ledger.index.work_item("T-1")
    assert item is not None
    assert item.instant is not None
    day = timedelta(days=1)
    assert as_of_now(item, item.instant - day) == item.instant
    assert as_of_now(item, item.instant + day) == item.instant + day


def test_a_pause_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """The advice names the pauses that there are."""
    path = tmp_path / "ledger.db"
    with opened(url(path), path) as ledger:
        put(ledger.log, [("T-1", pause())])
        ledger.indexer.catch_up()
        with pytest.raises(NotFound, match="p1"):
            pause_of(ledger.index.work_item("T-1"), "T-1", "p2")
        with pytest.raises(NotFound, match="none"):
            pause_of(ledger.index.work_item("T-2"), "T-2", "p2")
