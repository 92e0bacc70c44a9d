"""The index's recorder on SQLite, in the eventsourcing library's terms.

Beside the library's tables: where each partition's fold stands, which log that was, and the first entry of every
(subject, source, id). One batch is one transaction, and its first statement moves the position only from where the
batch started: whoever lost that race writes nothing.

``synchronous=NORMAL``: a power cut can take the newest batches of an index, which is read again from the log; it can't
tear one. The log itself (:mod:`ledger.logs.sqlite`) syncs every append.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from eventsourcing import sqlite
from eventsourcing.persistence import IntegrityError, PersistenceError, ProgrammingError, StoredEvent, Tracking
from eventsourcing.utils import Environment

from ledger.batch import Name
from ledger.errors import Fenced, UnusableLog
from ledger.logs.sqlite_file import ledger_error

INDEX_FORMAT = 2
"""Counts the shapes of what an index holds; an older one is made anew from the log."""
_LOCK_TIMEOUT_SECONDS = 30
_CACHE_KIB = 16_384
"""A batch and the index pages it touches fit: SQLite's own 2 MiB spill in the middle of each batch."""
_CHECKPOINT_PAGES = 8_192
"""32 MiB of write-ahead log between checkpoints, which sync the disk twice; SQLite's own 4 MiB are one batch."""
_TRY_AGAIN_SECONDS = 0.02
_TRIES = 10

TABLES = (
    "CREATE TABLE IF NOT EXISTS index_identity ("
    "one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER, topic TEXT, topic_id TEXT, partitions INTEGER)",
    "CREATE TABLE IF NOT EXISTS index_positions ("
    "partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL, last_offset INTEGER, last_digest BLOB)",
    "CREATE TABLE IF NOT EXISTS index_firsts ("
    "subject TEXT, source TEXT, id TEXT, version INTEGER NOT NULL, PRIMARY KEY (subject, source, id)) WITHOUT ROWID",
)
_MOVE = (
    "INSERT INTO index_positions SELECT :partition, :next_offset, :last_offset, :last_digest "
    # Where no position is, a batch starts at 0: one that started further on is from before a rebuild.
    "WHERE :started = 0 OR EXISTS (SELECT 1 FROM index_positions WHERE partition = :partition) "
    "ON CONFLICT (partition) DO UPDATE SET next_offset = :next_offset, last_offset = :last_offset, "
    "last_digest = :last_digest WHERE next_offset = :started RETURNING next_offset"
)
_ANOTHER = "Set PAUSELEDGER_INDEX to the index's file, or to a new one, and run: pauseledger rebuild."
_GENERATION = "PRAGMA user_version"
_STAND = (
    "SELECT user_version, next_offset, last_offset, last_digest"
    " FROM pragma_user_version LEFT JOIN index_positions ON partition = ?"
)
_FIRST = "INSERT OR IGNORE INTO index_firsts VALUES (?, ?, ?, ?)"


class Position(NamedTuple):
    """Where the fold of a partition stands: the next offset, and which record was the last one folded."""

    next_offset: int
    last_offset: int | None = None
    last_digest: bytes | None = None


class Move(NamedTuple):
    """A batch's step on a partition, made only if the position is still where the batch ``started``, in the same
    ``generation`` of the index: a rebuild may have come to the same place meanwhile.
    """

    partition: int
    started: int
    reached: Position
    generation: int


class Stand(NamedTuple):
    """Where the fold of a partition stands, in which generation of the index."""

    generation: int
    position: Position


class Look(NamedTuple):
    """What an index has, at one moment: the versions of work items, those of first entries by name, and its stand."""

    versions: dict[str, int]
    firsts: dict[Name, int]
    stand: Stand


class KnownLog(NamedTuple):
    """The log that an index was made from."""

    topic: str
    topic_id: str
    partitions: int


class Pool(sqlite.SQLiteConnectionPool):
    """Connections whose ``synchronous`` is set, and looked at: the library leaves it to chance."""

    def _create_connection(self) -> sqlite.SQLiteConnection:
        connection = self._connected()
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        cursor.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        cursor.execute("PRAGMA synchronous")
        if cursor.fetchone()[0] != 1:
            raise UnusableLog(f"The index {self.db_name} can't be synced as it must.", "Put it on a local disk.")
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


class Datastore(sqlite.SQLiteDatastore):
    """The library's, whose troubles with the file or the disk are told in the ledger's own errors."""

    def __init__(self, path: str) -> None:
        super().__init__(path, lock_timeout=_LOCK_TIMEOUT_SECONDS, originator_id_type="text")
        self.pool.close()
        self.pool = Pool(db_name=path, lock_timeout=_LOCK_TIMEOUT_SECONDS)
        self._reader: sqlite3.Connection | None = None
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
                self._reader = self._connected_to_read()
            with closing(self._reader.cursor()) as cursor:
                yield cursor

    def _connected_to_read(self) -> sqlite3.Connection:
        self.pool._create_connection().close()  # makes the file, and sees that it is as it must be
        connection = sqlite3.connect(
            self.pool.db_name,
            uri=True,
            check_same_thread=False,
            isolation_level=None,
            timeout=_LOCK_TIMEOUT_SECONDS,
        )
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        return connection

    def close(self) -> None:
        """Close the pool, and the connection beside it."""
        with getattr(self, "_reading", nullcontext()):  # also called of what was never quite made
            reader, self._reader = getattr(self, "_reader", None), None
            if reader is not None:
                reader.close()
            super().close()

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[sqlite.SQLiteCursor]:
        with _explained(self.pool.db_name), super().transaction(commit=commit) as cursor:
            yield cursor


def _refuse_foreign(path: str) -> None:
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


class Recorder(sqlite.SQLiteProcessRecorder):
    """Stored entries, tracking, positions and firsts; rows of projections in the same transaction."""

    datastore: Datastore

    def construct_create_table_statements(self) -> list[str]:
        return [*super().construct_create_table_statements(), *TABLES]

    def create_table(self) -> None:
        """Make the tables; where another process makes them at the same moment, look again."""
        for _ in range(_TRIES - 1):
            try:
                return super().create_table()
            except IntegrityError:  # the library's mark was there when it came to set it
                continue
        return super().create_table()

    def _insert_events(
        self, c: sqlite.SQLiteCursor, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        move: Move | None = kwargs.get("move")
        if move is None:
            return super()._insert_events(c, stored_events, **kwargs)
        self._move(c, move)
        c.executemany(self.insert_events_statement, kwargs["entries"])
        c.executemany(_FIRST, kwargs["firsts"])
        for statement, rows in kwargs["rows"]:
            c.executemany(statement, rows)
        tracking: Tracking = kwargs["tracking"]
        self._insert_tracking(c, tracking)
        return None

    def _move(self, c: sqlite.SQLiteCursor, move: Move) -> None:
        reached = move.reached._asdict()
        c.execute(_MOVE, {"partition": move.partition, "started": move.started, **reached})
        if c.fetchone() is None:
            raise Fenced(f"Another indexer has moved partition {move.partition} on.")
        c.execute(_GENERATION)  # after the move, which takes the write lock: whoever reads first may not write then
        if c.fetchone()[0] != move.generation:
            raise Fenced("The index was emptied meanwhile.")

    def generation(self) -> int:
        """How often the index was emptied: what was read of it before, an older generation, is worth nothing."""
        return int(self.select(_GENERATION)[0][0])

    def positions(self) -> dict[int, Position]:
        """Where each partition stands, by its number; partitions without an entry are not there."""
        rows = self.select("SELECT partition, next_offset, last_offset, last_digest FROM index_positions")
        return {row[0]: Position(*row[1:]) for row in rows}

    def known_log(self) -> KnownLog | None:
        """The log that this index was made from; null before the first entry."""
        rows = self._identity_rows()
        if not rows:
            return None
        if rows[0][0] < INDEX_FORMAT:
            raise UnusableLog("The index was made by an older pauseledger.", "Replay the log: pauseledger rebuild.")
        return KnownLog(*rows[0][1:])

    def _identity_rows(self) -> list[tuple[Any, ...]]:
        rows = self.select("SELECT format, topic, topic_id, partitions FROM index_identity")
        if rows and rows[0][0] > INDEX_FORMAT:
            raise UnusableLog("The index was made by a newer pauseledger.", "Upgrade this one, or name another file.")
        return rows

    def remember_log(self, log: KnownLog) -> None:
        """Keep which log this index is made from, unless one is known already."""
        with self.datastore.transaction(commit=True) as c:
            c.execute("INSERT OR IGNORE INTO index_identity VALUES (1, ?, ?, ?, ?)", (INDEX_FORMAT, *log))

    def versions(self, subjects: Iterable[str]) -> dict[str, int]:
        """The number of entries of each work item that has any."""
        with self.datastore.reading() as c:
            return self._versions(c, subjects)

    def _versions(self, c: sqlite3.Cursor, subjects: Iterable[str]) -> dict[str, int]:
        statement = f"SELECT MAX(originator_version) FROM {self.events_table_name} WHERE originator_id = ?"
        found: dict[str, int] = {}
        for subject in subjects:
            c.execute(statement, (subject,))
            if (version := c.fetchone()[0]) is not None:
                found[subject] = version
        return found

    def look(self, partition: int, subjects: Collection[str] = (), names: Iterable[Name] = ()) -> Look:
        """What the index has of work items and names, and where it stands, all at one moment.

        ``names`` of other work items are of those that the index has for certain.
        """
        with self.datastore.reading() as c:
            c.execute("BEGIN")
            try:
                versions = self._versions(c, subjects)
                new = set(subjects) - versions.keys()
                firsts = self._first_versions(c, [name for name in names if name[0] not in new])
                c.execute(_STAND, (partition,))
                generation, *position = c.fetchone()
            finally:
                c.execute("ROLLBACK")
        known = Position(0) if position[0] is None else Position(*position)
        return Look(versions, firsts, Stand(generation, known))

    def _first_versions(self, c: sqlite3.Cursor, names: Iterable[Name]) -> dict[Name, int]:
        statement = "SELECT version FROM index_firsts WHERE subject = ? AND source = ? AND id = ?"
        found: dict[Name, int] = {}
        for name in names:
            c.execute(statement, name)
            if (row := c.fetchone()) is not None:
                found[name] = row[0]
        return found

    def select(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, as plain tuples."""
        with self.datastore.reading() as c:
            c.execute(statement, parameters)
            return c.fetchall()

    def start_over(self, tables: Iterable[str]) -> None:
        """Empty the index in one transaction: these tables, the library's and our own. Not one of a newer version."""
        self._identity_rows()
        own = ["index_identity", "index_positions", "index_firsts"]
        with self.datastore.transaction(commit=True) as c:
            for table in [*tables, *own, self.events_table_name, "stored_snapshots"]:
                c.execute(f"DELETE FROM {table}")
            c.execute("DELETE FROM tracking WHERE application_name <> '__migration__'")  # the library's own mark
            c.execute(_GENERATION)
            c.execute(f"PRAGMA user_version={(c.fetchone()[0] + 1) & 0x7FFFFFFF}")

    def run(self, statements: Iterable[str]) -> None:
        """Run statements that make tables."""
        with self.datastore.transaction(commit=True) as c:
            for statement in statements:
                c.execute(statement)


class Factory(sqlite.SQLiteFactory):
    """What the library builds an index on SQLite from."""

    process_recorder_class = Recorder

    def __init__(self, env: Environment) -> None:
        _refuse_foreign(str(env.get(self.SQLITE_DBNAME)))
        super().__init__(env)
        self.datastore.close()
        self.datastore = Datastore(str(env.get(self.SQLITE_DBNAME)))
