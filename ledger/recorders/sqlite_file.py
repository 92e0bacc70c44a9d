"""The SQLite file of an index: its connections, its transactions, and what its errors mean.

Most of it is the eventsourcing library's. Beside the library's pool two connections are kept: one for questions, one
for batches, whose last and longest part runs on a thread of its own.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from itertools import accumulate
from pathlib import Path

import orjson
from eventsourcing import sqlite
from eventsourcing.persistence import ConnectionPoolClosedError, IntegrityError, PersistenceError, ProgrammingError

from ledger.entries import EntryRow
from ledger.errors import UnusableLog
from ledger.logs.sqlite_file import ledger_error
from ledger.tables import Rows, on_conflict_clause

_LOCK_TIMEOUT_SECONDS = 30
_CACHE_KIB = 16_384
"""A batch and the index pages it touches fit: SQLite's own 2 MiB spill in the middle of each batch."""
_CHECKPOINT_PAGES = 8_192
"""32 MiB of write-ahead log between checkpoints, which sync the disk twice; SQLite's own 4 MiB are one batch."""
_SETTINGS = ("synchronous=NORMAL", f"cache_size=-{_CACHE_KIB}", f"wal_autocheckpoint={_CHECKPOINT_PAGES}")
_TRY_AGAIN_SECONDS = 0.02
_CLOSE_SECONDS = 5.0
_ANOTHER = "Set PAUSELEDGER_INDEX to the index's file, or to a new one, and run: pauseledger rebuild."

Statement = tuple[str, Sequence[str | bytes]]
"""A statement and its parameters."""


def insert_many(rows: Rows) -> str:
    """The statement that inserts one of these rows."""
    return (
        f"INSERT INTO {rows.table.name} VALUES ({', '.join('?' * len(rows.table.columns))}){on_conflict_clause(rows)}"
    )


def insert_all(rows: Rows) -> Statement | None:
    """The statement that inserts all of these rows from one JSON text, in a step that needs no interpreter.

    Null where the text would not carry them exactly: bytes, and a NUL, at which SQLite ends a string.
    """
    try:
        text = orjson.dumps(rows.rows)
    except TypeError:
        return None
    if b"\\u0000" in text:
        return None
    columns = ", ".join(f"json_extract(value, '$[{number}]')" for number in range(len(rows.table.columns)))
    statement = f"INSERT INTO {rows.table.name} SELECT {columns} FROM json_each(?) WHERE true{on_conflict_clause(rows)}"
    return statement, (text.decode(),)


def insert_entries(table: str, entries: Sequence[EntryRow]) -> Statement | None:
    """As :func:`insert_all`, for entries: their bytes go as one blob, out of which SQLite cuts them by their lengths.

    Null where a subject has a NUL.
    """
    if not entries:
        return None
    subjects, versions, topics, states = zip(*entries, strict=True)
    lengths = list(map(len, states))
    text = orjson.dumps(list(zip(subjects, versions, accumulate(lengths, initial=1), lengths, strict=False)))
    if b"\\u0000" in text:
        return None
    subject, version, at, length = (f"json_extract(value, '$[{number}]')" for number in range(4))
    statement = (
        f"INSERT INTO {table} (originator_id, originator_version, topic, state)"
        f" SELECT {subject}, {version}, ?2, substr(?3, {at}, {length}) FROM json_each(?1)"
    )
    return statement, (text.decode(), topics[0], b"".join(states))


def _set_up(cursor: sqlite3.Cursor, path: str) -> None:
    """Give a connection its settings, and see that it has taken the one that counts."""
    for setting in _SETTINGS:
        cursor.execute(f"PRAGMA {setting}")
    if cursor.execute("PRAGMA synchronous").fetchone()[0] != 1:
        raise UnusableLog(f"The index {path} can't be synced as it must.", "Put it on a local disk.")


class Pool(sqlite.SQLiteConnectionPool):
    """Connections whose ``synchronous`` is set, and looked at: the library leaves it to chance.

    It also closes what other threads use, which SQLite's Python module may answer with the end of the process.
    """

    def __init__(self, *, db_name: str, lock_timeout: int) -> None:
        self._users: dict[int, int] = {}
        self._is_closing = False
        super().__init__(db_name=db_name, lock_timeout=lock_timeout)

    def _get_connection(self, timeout: float = 0.0) -> sqlite.SQLiteConnection:
        with self._put_condition:
            if self._is_closing:
                raise ConnectionPoolClosedError
            connection = super()._get_connection(timeout)
            self._users[id(connection)] = threading.get_ident()
            return connection

    def close(self) -> None:
        """Wait for other threads' questions; what they have in use after that is left to them."""
        deadline = time.monotonic() + _CLOSE_SECONDS
        with self._put_condition:
            self._is_closing = True
            while self._used_by_others() and time.monotonic() < deadline:
                self._put_condition.wait(_TRY_AGAIN_SECONDS)
            for number in self._used_by_others():
                del self._in_use[number]
            super().close()

    def _used_by_others(self) -> list[int]:
        return [number for number in self._in_use if self._users[number] != threading.get_ident()]

    def _create_connection(self) -> sqlite.SQLiteConnection:
        connection = self._connected()
        with connection.cursor() as cursor:
            _set_up(cursor, self.db_name)
        return connection

    def _connected(self) -> sqlite.SQLiteConnection:
        """SQLite waits for no lock to change the journal mode: two that open a new file at once may clash."""
        deadline = time.monotonic() + _LOCK_TIMEOUT_SECONDS
        while True:
            try:
                return super()._create_connection()
            except sqlite3.DatabaseError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise ledger_error(error, f"The index {self.db_name}") from error
                time.sleep(_TRY_AGAIN_SECONDS)


def _committer() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="pauseledger-index")


class Datastore(sqlite.SQLiteDatastore):
    """The library's, whose troubles with the file or the disk are told in the ledger's own errors."""

    def __init__(self, path: str) -> None:
        super().__init__(path, lock_timeout=_LOCK_TIMEOUT_SECONDS, originator_id_type="text")
        self.pool.close()
        self.pool = Pool(db_name=path, lock_timeout=_LOCK_TIMEOUT_SECONDS)
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._committer: ThreadPoolExecutor | None = None
        self._reading = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor]:
        """A cursor for questions that need no transaction, on a connection that is kept for them: to take one from the
        library's pool takes longer than a short question, and there each statement is compiled anew.
        """
        with self._reading, _explained(self.pool.db_name):
            if self.pool.closed:
                raise UnusableLog(f"The index {self.pool.db_name} is closed.", "Open it again.")
            if self._reader is None:
                self._reader = self.connected()
            with closing(self._reader.cursor()) as cursor:
                yield cursor

    def connected(self) -> sqlite3.Connection:
        """A connection beside the pool, which compiles a statement once."""
        connection = sqlite3.connect(
            self.pool.db_name,
            uri=True,
            check_same_thread=False,
            isolation_level=None,
            timeout=_LOCK_TIMEOUT_SECONDS,
        )
        with closing(connection.cursor()) as cursor:
            _set_up(cursor, self.pool.db_name)
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Cursor]:
        """A transaction on a connection that is kept for batches, left open for :meth:`committed`; not on an error."""
        with _explained(self.pool.db_name):
            if self._writer is None:
                self._writer = self.connected()
                self._committer = _committer()
            with closing(self._writer.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield cursor
                except BaseException:
                    self._roll_back()
                    raise

    def committed(self, statements: Sequence[Statement]) -> Future[None]:
        """Run statements in what is open and commit it, on another thread: that takes long, and no interpreter."""
        assert self._committer is not None
        try:
            return self._committer.submit(self._commit, statements)
        except BaseException:  # no thread could be started: what was handed over must never run
            self._roll_back()
            self._committer = _committer()
            raise

    def _commit(self, statements: Sequence[Statement]) -> None:
        assert self._writer is not None
        with _explained(self.pool.db_name):
            try:
                for statement in statements:
                    self._writer.execute(*statement)
                self._writer.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._writer is not None and self._writer.in_transaction:  # of a full disk SQLite rolls back by itself
            self._writer.execute("ROLLBACK")

    def close(self) -> None:
        """Let what is being committed end; close the pool, and the connections beside it."""
        with getattr(self, "_reading", nullcontext()):  # also called of what was never quite made
            if (committer := getattr(self, "_committer", None)) is not None:
                committer.shutdown()
            for name in ("_reader", "_writer"):
                connection = getattr(self, name, None)
                setattr(self, name, None)
                if connection is not None:
                    connection.close()
            super().close()

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[sqlite.SQLiteCursor]:
        with _explained(self.pool.db_name), super().transaction(commit=commit) as cursor:
            yield cursor


def refuse_foreign(path: str) -> None:
    """Raises ``UnusableLog`` for an SQLite file of something else, which stays as it is."""
    if not Path(path).exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=_LOCK_TIMEOUT_SECONDS)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error as error:
        found = ledger_error(error, f"The index {path}")
        if isinstance(found, UnusableLog):
            found.advice = _ANOTHER
        raise found from error
    tables = {name for (name,) in rows}
    if tables and not tables & {"index_identity", "log_identity"}:
        raise UnusableLog(f"The index {path} is an SQLite file of something else.", _ANOTHER)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Errors of the file and its disk become the ledger's; conflicts and bugs stay the library's."""
    try:
        yield
    except (IntegrityError, ProgrammingError):
        raise
    except (PersistenceError, sqlite3.Error) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, sqlite3.Error):
            cause = cause.__cause__
        if cause is None or getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR:
            raise
        raise ledger_error(cause, f"The index {path}") from error
