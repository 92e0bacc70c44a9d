"""One statement over a JSON text inserts exactly what row by row would, or says that it can't."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.recorders.sqlite_file import insert_all, insert_many
from ledger.tables import Column, Rows, Table

MADE = "CREATE TABLE t (a TEXT, b INTEGER, c TEXT)"
TABLE = Table("t", (Column("a"), Column("b", "integer"), Column("c")), ())
TEXTS = [
    "",
    "T-1",
    "'",
    '"',
    "\\",
    "[1]",
    "{}",
    "null",
    "1e3",
    "007",
    "é",
    "😀",
    "\x01\n\t\x7f",
    "\u2028",
    "$[0]",
]
NUMBERS = [None, 0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]


def inserted(statement: str, *parameters: Any, many: bool) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(MADE)
        (connection.executemany if many else connection.execute)(statement, *parameters)
        return connection.execute("SELECT a, typeof(a), b, typeof(b), c, typeof(c) FROM t ORDER BY rowid").fetchall()


def test_rows_are_the_same_either_way() -> None:
    """Every kind of text and number that a table of ours may hold, types included."""
    rows = Rows(TABLE, [(text, number, None) for text in TEXTS for number in NUMBERS])
    at_once = insert_all(rows)
    assert at_once is not None
    assert inserted(*at_once, many=False) == inserted(insert_many(rows), rows.rows, many=True)


def test_no_rows_insert_nothing() -> None:
    """A batch may have none for a table."""
    at_once = insert_all(Rows(TABLE, []))
    assert at_once is not None
    assert inserted(*at_once, many=False) == []


@pytest.mark.parametrize("value", [b"bytes", "a NUL \0 in it", "\0", "\\u0000", 2**64, "\ud800"])
def test_what_json_does_not_carry_is_refused(value: object) -> None:
    """Then the rows are inserted one by one."""
    assert insert_all(Rows(TABLE, [(value, 1, "c")])) is None


CLOSED_WHILE_ASKED = """
import sys, threading, time
from pathlib import Path
from eventsourcing.utils import Environment
from ledger.recorders.address import recorder_factory

counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i, hex(i) FROM n"
for _ in range(5):
    factory = recorder_factory(Path(sys.argv[1]), Environment("pauseledger", {"ORIGINATOR_ID_TYPE": "text"}))
    recorder, found, begun = factory.process_recorder(), [], threading.Event()

    def ask():
        with recorder.datastore.transaction(commit=False) as cursor:
            cursor.execute(counting)
            begun.set()
            found.append(len(cursor.fetchall()))

    asking = threading.Thread(target=ask)
    asking.start()
    begun.wait()
    factory.close()
    asking.join()
    assert found == [300000], found
"""


def test_closing_waits_for_what_other_threads_ask(tmp_path: Path) -> None:
    """In a process of its own, since a connection that is closed under a statement can end it by a signal."""
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_WHILE_ASKED, str(tmp_path / "index.db")], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
