"""A key store in one SQLite file: private, fully synced, and what is deleted is overwritten with zeros."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from consumers.personal.database import SCHEMA, Rows, Run
from ledger.errors import LogUnavailable, UnusableLog
from ledger.logs.sqlite_file import connect, immediate, ledger_error, snapshot, sync_folder, use_write_ahead_log

_BUSY_SECONDS = 30.0
_TRY_AGAIN_SECONDS = 0.02
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SqliteDatabase:
    """See :class:`consumers.personal.database.Database`."""

    def __init__(self, path: Path, *, create: bool, busy_seconds: float = _BUSY_SECONDS) -> None:
        self.where = f"The key store {path}"
        self._path = path
        self._busy_seconds = busy_seconds
        _see_that_it_is_private(path, create)
        self._file = _file_at(path)
        with self._explained():
            self._connection = connect(path, create=False)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        self._connection.execute(f"PRAGMA busy_timeout={round(self._busy_seconds * 1000)}")
        self._connection.execute("PRAGMA secure_delete=ON")
        if self._connection.execute("PRAGMA secure_delete").fetchone()[0] != 1:
            raise UnusableLog(f"{self.where} can't delete for good.", "Use an SQLite that keeps PRAGMA secure_delete.")
        names = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if names and "personal_store" not in names:
            raise UnusableLog(f"{self._path} is an SQLite file of something else, no key store.", "Name another file.")
        use_write_ahead_log(self._connection)
        if not names:
            with immediate(self._connection):
                for statement in SCHEMA:
                    self._connection.execute(statement.format(bytes="BLOB"))

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[Run]:
        if _file_at(self._path) != self._file:  # what is written to a file that was moved away is lost
            raise LogUnavailable(f"{self.where} was moved or replaced since it was opened.", "Try again.")
        with self._explained(), immediate(self._connection) if writes else snapshot(self._connection) as connection:

            def run(statement: str, parameters: Sequence[Any] = ()) -> Rows:
                return connection.execute(statement, parameters).fetchall()

            yield run

    def scrub(self) -> None:
        """Write all into the file, where it is overwritten, and cut the write-ahead log to nothing."""
        deadline = time.monotonic() + self._busy_seconds
        with self._explained():
            while self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    problem = f"{self.where} is being read, so its write-ahead log still has what was destroyed."
                    raise LogUnavailable(problem, "Run the same command again.")
                time.sleep(_TRY_AGAIN_SECONDS)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            found = ledger_error(error, self.where)
            if isinstance(found, UnusableLog):
                found.advice = "Restore it from a copy, or see what PAUSELEDGER_PERSONAL_KEYS names."
            raise found from error

    def close(self) -> None:
        self._connection.close()


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file lies there; null where none does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _see_that_it_is_private(path: Path, create: bool) -> None:
    """Make the file for its owner alone where there is none. Raises where there is none, or others can read it.

    What exists is opened by SQLite only: closing a descriptor of it would drop SQLite's locks.
    """
    if path.is_dir():
        raise UnusableLog(f"{path} is a folder, not a key store.", "Name a file in it: sqlite:///FOLDER/FILE.")
    if not path.parent.is_dir():
        raise UnusableLog(f"There is no folder {path.parent}.", "Make it first, or name another file.")
    if not create and not path.exists():
        raise UnusableLog(f"There is no key store at {path}.", "See what PAUSELEDGER_PERSONAL_KEYS names.")
    with suppress(FileExistsError):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise
        except OSError as error:
            raise LogUnavailable(f"The key store {path} can't be made: {error.strerror}.", "See its folder.") from None
        sync_folder(path.parent)
    if path.stat().st_mode & _OTHERS:
        raise UnusableLog(f"The key store {path} can be read by others than its owner.", f"Run: chmod 600 {path}")
