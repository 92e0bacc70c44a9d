"""The outbox: facts that nobody knows to be on the log, kept in a file until they are.

One SQLite file, fully synced, shared by any number of publishers of any logs. Rows are resent as they are, under the
same id, by whichever publisher of the same log comes first; twice does no harm, the fold counts them once.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ledger.errors import UnusableLog
from ledger.logs.sqlite_file import connect, immediate, ledger_error
from ledger.record import Headers, headers_bytes, headers_from

_TABLE = (
    "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, log TEXT NOT NULL,"
    " subject TEXT, value BLOB NOT NULL, headers BLOB NOT NULL)"
)


class Waiting(NamedTuple):
    """A fact in the outbox. ``subject`` is null where the event names none."""

    number: int
    subject: str | None
    value: bytes
    headers: Headers


class Outbox:
    """The rows of one log in an outbox file; the file is made when the first row is. Thread-safe."""

    def __init__(self, path: Path, log: str) -> None:
        self.path = path
        self._log = log
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        if path.exists():
            with _explained(path):
                self._connection = _connected(path, create=False)

    def put(self, facts: Iterable[tuple[str | None, bytes, Headers]]) -> list[int]:
        """Keep facts (subject, value, headers); their numbers. On return they survive a power cut."""
        with self._lock, _explained(self.path):
            if self._connection is None:
                self._connection = _connected(self.path, create=True)
            with immediate(self._connection) as connection:
                rows = [(self._log, subject, value, headers_bytes(headers)) for subject, value, headers in facts]
                statement = "INSERT INTO outbox (log, subject, value, headers) VALUES (?, ?, ?, ?)"
                return [connection.execute(statement, row).lastrowid or 0 for row in rows]

    def waiting(self, most: int, *, after: int = 0) -> list[Waiting]:
        """The oldest facts that wait for this log, at most so many, with a number larger than ``after``."""
        if self._connection is None:
            return []
        with self._lock, _explained(self.path):
            rows = self._connection.execute(
                "SELECT number, subject, value, headers FROM outbox"
                " WHERE log = ? AND number > ? ORDER BY number LIMIT ?",
                (self._log, after, most),
            ).fetchall()
        return [Waiting(number, subject, value, headers_from(headers)) for number, subject, value, headers in rows]

    def remove(self, numbers: Sequence[int]) -> None:
        """Forget facts that the log has."""
        if self._connection is None or not numbers:
            return
        with self._lock, _explained(self.path), immediate(self._connection) as connection:
            connection.executemany("DELETE FROM outbox WHERE number = ?", [(number,) for number in numbers])

    def __len__(self) -> int:
        """How many facts wait for this log."""
        if self._connection is None:
            return 0
        with self._lock, _explained(self.path):
            (count,) = self._connection.execute("SELECT count(*) FROM outbox WHERE log = ?", (self._log,)).fetchone()
        return int(count)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _connected(path: Path, create: bool) -> sqlite3.Connection:
    connection = connect(path, create)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(_TABLE)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's errors inside become the ledger's, about the outbox."""
    try:
        yield
    except sqlite3.Error as error:
        found = ledger_error(error, f"The outbox {path}")
        if isinstance(found, UnusableLog):
            found.advice = "Move it away, or name another file: what it kept is lost only if you delete it."
        raise found from error
