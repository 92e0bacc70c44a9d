"""The recorder's own tables: written all or none, kept by a rebuild, and older shapes made anew by it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.persistence import PersistenceError

from consumers.settings import Ledger
from ledger.recorders.port import INDEX_FORMAT
from ledger.tables import Column, Table
from tests.faults.command import run
from tests.faults.ledgers import dump, opened, put, url
from tests.faults.lines import pause

INSERT = "INSERT INTO kept (id, n) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with opened(url(tmp_path / "ledger.db"), tmp_path / "ledger.db") as made:
        made.index.recorder.make_tables([Table("kept", (Column("id"), Column("n", "integer")), ("id",))])
        yield made


def test_statements_say_how_many_rows_each_changed(ledger: Ledger) -> None:
    """An insert that finds its row there changes none, nor does an update whose condition holds for none."""
    execute = ledger.index.recorder.execute
    assert execute([(INSERT, ("a", 1)), (INSERT, ("b", 2)), (INSERT, ("a", 3))]) == [1, 1, 0]
    assert execute([("UPDATE kept SET n = n + 1", ()), ("UPDATE kept SET n = 0 WHERE n = ?", (9,))]) == [2, 0]
    assert ledger.index.recorder.select("SELECT id, n FROM kept ORDER BY id") == [("a", 2), ("b", 3)]
    assert execute([]) == []


def test_statements_that_fail_change_nothing(ledger: Ledger) -> None:
    """Not even by those before the one that failed."""
    with pytest.raises(PersistenceError):
        ledger.index.recorder.execute([(INSERT, ("a", 1)), ("INSERT INTO nowhere VALUES (1)", ())])
    assert ledger.index.recorder.select("SELECT id FROM kept") == []


def test_a_rebuild_keeps_what_is_no_projection(ledger: Ledger) -> None:
    """The projections' rows go, and come again with the log."""
    put(ledger.log, [("T-1", pause())])
    ledger.indexer.catch_up()
    ledger.index.recorder.execute([(INSERT, ("a", 1))])
    ledger.index.start_over()
    assert ledger.index.recorder.select("SELECT subject FROM deadlines") == []
    assert ledger.index.recorder.select("SELECT id FROM kept") == [("a",)]


def test_an_older_shape_is_refused_then_made_anew(tmp_path: Path) -> None:
    """A table of an older version has other columns: no command trips over it, and a rebuild leaves today's."""
    log, index = url(tmp_path / "log.db"), tmp_path / "index.db"
    with opened(log, index) as ledger:
        put(ledger.log, [("T-1", pause())])
        ledger.indexer.catch_up()
    wanted = dump(index)
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("DROP TABLE deadlines")
        connection.execute("CREATE TABLE deadlines (subject TEXT PRIMARY KEY, fresh_until TEXT) WITHOUT ROWID")
        connection.execute("UPDATE index_identity SET format = ?", (INDEX_FORMAT - 1,))
    addresses = ("--log", log, "--index", url(index))
    refused = run("deadlines", *addresses, folder=tmp_path)
    assert refused.code == 1
    assert "made by an older pauseledger. Replay the log: pauseledger rebuild." in refused.err
    assert run("rebuild", *addresses, folder=tmp_path).code == 0
    assert dump(index) == wanted
