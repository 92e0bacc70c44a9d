"""The file of the embedded log: what may lie at its path, its connections and transactions, what errors mean.

Every connection has ``synchronous=FULL`` and a busy timeout. A folder, a file of something else, a damaged
one, one that a newer version made, one that can't be written: each is told apart and said in one line.

The file is only ever opened through SQLite: closing any other descriptor of it would drop our locks on it.
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ledger.errors import DiskFailed, LedgerError, LogUnavailable, UnusableLog

APPLICATION_ID = 0x70614C64
"""``paLd``: what ``file`` and ``PRAGMA application_id`` show of a ledger."""
FORMAT = 1
PROTOCOL = 1

_BUSY_SECONDS = 30.0
_TRY_AGAIN_SECONDS = 0.02

_SCHEMA = (
    "CREATE TABLE log_identity (topic_id TEXT NOT NULL, format INTEGER NOT NULL, protocol INTEGER NOT NULL)",
    "CREATE TABLE log_records (offset INTEGER PRIMARY KEY, recorded_at INTEGER NOT NULL,"
    " key BLOB, value BLOB, headers BLOB NOT NULL)",
)
_CHECKPOINT_BYTES = 1_000 * 4_120
"""How long SQLite's write-ahead log is when it is checkpointed: 1,000 pages of 4 KiB, each with its head."""
_LARGE_ROW = "INSERT INTO log_records VALUES (-1, 0, NULL, zeroblob(?), x'')"
_SET_IT = "Set PAUSELEDGER_LOG to the ledger's file, or to a new one."
_PERMIT = "Make it and its folder writable for this user, or use a copy."
_MEANINGS: dict[int, tuple[type[LedgerError], str, str]] = {
    sqlite3.SQLITE_NOTADB: (UnusableLog, "is no SQLite file", _SET_IT),
    sqlite3.SQLITE_CORRUPT: (UnusableLog, "is damaged", "Restore it from a copy."),
    sqlite3.SQLITE_FULL: (DiskFailed, "can't grow: the disk is full", "Make room, then try again."),
    sqlite3.SQLITE_IOERR: (
        DiskFailed,
        "can't be read or written",
        "See that the disk is sound and not full.",
    ),
    sqlite3.SQLITE_READONLY: (LogUnavailable, "can't be written", _PERMIT),
    sqlite3.SQLITE_PERM: (LogUnavailable, "can't be written", _PERMIT),
    sqlite3.SQLITE_CANTOPEN: (LogUnavailable, "can't be opened", _PERMIT),
    sqlite3.SQLITE_BUSY: (
        LogUnavailable,
        "is locked by another process",
        "Find out by which, and try again.",
    ),
}


def refuse_bad_path(path: Path, create: bool) -> bool:
    """Whether the file has to be made. Never opens it (see above)."""
    if path.is_dir():
        raise UnusableLog(f"{path} is a folder, not a ledger file.", "Name a file in it: sqlite:///FOLDER/FILE.")
    if path.exists():
        if not os.access(path, os.R_OK | os.W_OK):
            raise LogUnavailable(f"{path} can't be written.", _PERMIT)
        return False
    if not create:
        raise UnusableLog(f"There is no ledger at {path}.", "Publish an event to make it, or set PAUSELEDGER_LOG.")
    if not path.parent.is_dir():
        raise UnusableLog(f"There is no folder {path.parent}.", "Make it first, or name another file.")
    return True


def connect(path: Path, create: bool) -> sqlite3.Connection:
    """A connection that syncs fully; ``create`` makes the file when it is first written."""
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        if _pragma(connection, "synchronous") != 2:
            raise UnusableLog(f"{path} can't be synced fully.", "Use an SQLite that keeps PRAGMA synchronous.")
    except BaseException:
        connection.close()
        raise
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def prepare(connection: sqlite3.Connection, path: Path, create: bool) -> None:
    """Make the ledger in an empty file, or see that it is one; then see that it writes ahead."""
    if not _tables(connection) and create:
        use_write_ahead_log(connection)
        with immediate(connection):
            if not _tables(connection):  # another process may have been first
                _make(connection)
    topic_id(connection, path)
    use_write_ahead_log(connection)
    if _pragma(connection, "journal_mode") != "wal":
        raise UnusableLog(f"{path} can't have a write-ahead log.", "Put it on a local disk.")


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _make(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO log_identity VALUES (?, ?, ?)", (str(uuid.uuid4()), FORMAT, PROTOCOL))
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")


def use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """SQLite waits for no lock to change the journal mode: two that open a new file at once may clash."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_TRY_AGAIN_SECONDS)


def topic_id(connection: sqlite3.Connection, path: Path) -> str:
    """The UUID made with the file. Raises ``UnusableLog`` where it is no ledger that we can read."""
    try:
        rows = connection.execute("SELECT * FROM log_identity").fetchall()
    except sqlite3.OperationalError:
        tables = _tables(connection)
        if "log_identity" in tables:
            raise
        what = "is an SQLite file of something else" if tables else "is empty"
        raise UnusableLog(f"{path} {what}, no ledger.", _SET_IT) from None
    if len(rows) != 1 or len(rows[0]) < 3:
        raise UnusableLog(f"{path} is damaged: it doesn't say which ledger it is.", "Restore it from a copy.")
    topic_id, written, protocol = rows[0][:3]
    if written > FORMAT or protocol > PROTOCOL:
        raise UnusableLog(f"{path} was made by a newer pauseledger.", "Upgrade this one.")
    return str(topic_id)


def grow_write_ahead_log(connection: sqlite3.Connection, path: Path) -> None:
    """Give the write-ahead log the size at once to which it grows between checkpoints.

    A sync of a file that has grown writes its new length too, which takes half as long again. The room is made by
    spilling a large row there and rolling it back.
    """
    with suppress(sqlite3.Error, OSError):  # without room it is only slower
        if Path(f"{path}-wal").stat().st_size >= _CHECKPOINT_BYTES:
            return
        connection.execute("PRAGMA cache_size=16")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_LARGE_ROW, (_CHECKPOINT_BYTES,))
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA cache_size=-2000")


def sync_folder(folder: Path) -> None:
    """A new file survives a power cut only when its name does."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Take the write lock first, so that the end that is read is the end that is written to."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One consistent view for several reads."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """SQLite's errors inside become the ledger's."""
    try:
        yield
    except sqlite3.Error as error:
        raise ledger_error(error, f"The log {path}") from error


def ledger_error(error: sqlite3.Error, what: str) -> LedgerError:
    """SQLite's error in the ledger's words; ``what`` failed, such as ``The log FILE``."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    unknown = (LogUnavailable, f"failed ({error})", "See that the file and its disk are sound.")
    kind, problem, advice = _MEANINGS.get(code, unknown)
    return kind(f"{what} {problem}.", advice)
