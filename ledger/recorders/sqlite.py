"""The index's recorder on SQLite, in the eventsourcing library's terms.

Beside the library's tables: where each partition's fold stands, which log that was, and the first entry of every
(subject, source, id). One batch is one transaction, and its first statement moves the position only from where the
batch started: whoever lost that race writes nothing.

``synchronous=NORMAL``: a power cut can take the newest batches of an index, which is read again from the log; it can't
tear one. The log itself (:mod:`ledger.logs.sqlite`) syncs every append.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from eventsourcing import sqlite
from eventsourcing.persistence import IntegrityError, Tracking
from eventsourcing.utils import Environment

from ledger.batch import Name, Rows
from ledger.entries import EntryRow
from ledger.errors import Fenced, UnusableLog
from ledger.recorders.sqlite_file import Datastore, insert_all, insert_many, refuse_foreign

INDEX_FORMAT = 3
"""Counts the shapes of what an index holds; an older one is made anew from the log."""
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
_GENERATION = "PRAGMA user_version"
_STAND = (
    "SELECT user_version, next_offset, last_offset, last_digest"
    " FROM pragma_user_version LEFT JOIN index_positions ON partition = ?"
)
FIRSTS = "INSERT OR IGNORE INTO index_firsts"


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


class Written(NamedTuple):
    """What is written of a batch: its entries, the rows of all tables beside them, and where it leads."""

    move: Move
    entries: Sequence[EntryRow]
    rows: Sequence[Rows]
    tracking: Tracking


class KnownLog(NamedTuple):
    """The log that an index was made from."""

    topic: str
    topic_id: str
    partitions: int


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

    def write(self, batch: Written) -> Future[None]:
        """Write a batch; it counts when the future has its result, and until then no other may be written here.

        Raises ``Fenced`` where another indexer was faster: then nothing of it is written.
        """
        with self.datastore.writing() as c:
            self._move(c, batch.move)
            c.executemany(self.insert_events_statement, batch.entries)
            later = []
            for rows in batch.rows:
                if (statement := insert_all(rows)) is not None:
                    later.append(statement)
                else:
                    c.executemany(insert_many(rows), rows.rows)
            self._insert_tracking(sqlite.SQLiteCursor(c), batch.tracking)
        return self.datastore.committed(later)

    def _move(self, c: sqlite3.Cursor, move: Move) -> None:
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
                if c.connection.in_transaction:  # of a failing disk SQLite rolls back by itself
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
        refuse_foreign(str(env.get(self.SQLITE_DBNAME)))
        super().__init__(env)
        self.datastore.close()
        self.datastore = Datastore(str(env.get(self.SQLITE_DBNAME)))
