"""The index's recorder on SQLite, in the eventsourcing library's terms.

Beside the library's tables: where each partition's fold stands, which log that was, and the first entry of every
(subject, source, id). One batch is one transaction, and its first statement moves the position only from where the
batch started: whoever lost that race writes nothing.

``synchronous=NORMAL``: a power cut can take the newest batches of an index, which is read again from the log; it can't
tear one. The log itself (:mod:`ledger.logs.sqlite`) syncs every append.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from eventsourcing import sqlite
from eventsourcing.persistence import IntegrityError
from eventsourcing.utils import Environment

from ledger.batch import Name
from ledger.errors import Fenced
from ledger.recorders.port import (
    INDEX_FORMAT,
    MIGRATION_MARK,
    OWN_TABLES,
    SNAPSHOTS,
    VERSIONS,
    KnownLog,
    Look,
    Move,
    Position,
    Recorder,
    Stand,
    Written,
)
from ledger.recorders.sqlite_file import Datastore, insert_all, insert_entries, insert_many, refuse_foreign
from ledger.tables import Kind, Rows, Table, beside, create_statements

_TRIES = 10
_PATIENCE_SECONDS = 24 * 60 * 60
_Cursor = sqlite3.Cursor | sqlite.SQLiteCursor
_KINDS: dict[Kind, str] = {"text": "TEXT", "integer": "INTEGER", "bytes": "BLOB"}
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


class SqliteRecorder(sqlite.SQLiteProcessRecorder, Recorder):
    """Stored entries, tracking, positions and firsts; rows of projections in the same transaction."""

    datastore: Datastore

    def construct_create_table_statements(self) -> list[str]:
        own = [statement for table in OWN_TABLES for statement in _statements(table)]
        return [*super().construct_create_table_statements(), *own]

    def create_table(self) -> None:
        """Make the tables; where another process makes them at the same moment, look again."""
        for _ in range(_TRIES - 1):
            try:
                return super().create_table()
            except IntegrityError:  # the library's mark was there when it came to set it
                continue
        return super().create_table()

    def write(self, batch: Written) -> Future[None]:
        """See the port."""
        with self.datastore.writing() as c:
            self._move(c, batch.move)
            later = []
            if (statement := insert_entries(self.events_table_name, batch.entries)) is not None:
                later.append(statement)
            else:
                c.executemany(self.insert_events_statement, batch.entries)
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
        """See the port."""
        return int(self.select(_GENERATION)[0][0])

    def remember_log(self, log: KnownLog) -> None:
        """See the port."""
        with self.datastore.transaction(commit=True) as c:
            c.execute("INSERT OR IGNORE INTO index_identity VALUES (1, ?, ?, ?, ?)", (INDEX_FORMAT, *log))

    def versions(self, subjects: Iterable[str]) -> dict[str, int]:
        """See the port."""
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
        """See the port."""
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
        """See the port."""
        with self.datastore.reading() as c:
            c.execute(statement, parameters)
            return c.fetchall()

    def start_over(self, tables: Iterable[Table]) -> None:
        """See the port."""
        self.refuse_newer()
        with self.datastore.transaction(commit=True) as c:
            for table in [*OWN_TABLES, SNAPSHOTS]:
                c.execute(f"DELETE FROM {table.name}")
            c.execute(f"DELETE FROM {self.events_table_name}")
            c.execute("DELETE FROM tracking WHERE application_name <> ?", (MIGRATION_MARK,))
            for table in tables:
                _drop(c, table)
                _make(c, table)
                c.execute(f"INSERT INTO {VERSIONS.name} VALUES (?, ?)", (table.name, table.version))
            _next_generation(c)

    def execute(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[int]:
        """See the port."""
        changed = []
        with self.datastore.transaction(commit=True) as c:
            for statement, parameters in statements:
                c.execute(statement, parameters)
                c.execute("SELECT changes()")
                changed.append(c.fetchone()[0])
        return changed

    def make_tables(self, tables: Iterable[Table]) -> None:
        """See the port."""
        with self.datastore.transaction(commit=True) as c:
            for table in tables:
                _make(c, table)

    def remember_versions(self, tables: Iterable[Table]) -> None:
        """See the port."""
        known = "CASE WHEN EXISTS (SELECT 1 FROM index_positions) THEN 0 ELSE ? END"
        with self.datastore.transaction(commit=True) as c:
            for table in tables:
                statement = f"INSERT OR IGNORE INTO {VERSIONS.name} SELECT ?, {known}"
                c.execute(statement, (table.name, table.version))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See the port. A file beside the index is locked: the index itself stays free for others."""
        path = f"{self.datastore.pool.db_name}.rebuilding"
        with closing(sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            yield

    def insert(self, rows: Iterable[Rows]) -> None:
        """See the port."""
        with self.datastore.transaction(commit=True) as c:
            for some in rows:
                c.executemany(insert_many(some), some.rows)

    def drop(self, tables: Iterable[Table]) -> None:
        """See the port."""
        with self.datastore.transaction(commit=True) as c:
            for table in tables:
                _drop(c, table)

    def swap(self, tables: Sequence[Table], generation: int, last: Callable[[], Iterable[Rows]]) -> None:
        """See the port."""
        with self.datastore.writing() as c:
            if c.execute(_GENERATION).fetchone()[0] != generation:
                raise Fenced("The index was emptied meanwhile.")
            for rows in last():
                c.executemany(insert_many(rows), rows.rows)
            for table in tables:
                _drop(c, table)
                c.execute(f"ALTER TABLE {beside(table).name} RENAME TO {table.name}")
                _make(c, table)
                c.execute(f"INSERT OR REPLACE INTO {VERSIONS.name} VALUES (?, ?)", (table.name, table.version))
            _next_generation(c)
        self.datastore.committed(()).result()

    def damage(self) -> str | None:
        """See the port."""
        found = str(self.select("PRAGMA quick_check(1)")[0][0])
        return None if found == "ok" else found


def _statements(table: Table) -> list[str]:
    return create_statements(table, _KINDS, options=" WITHOUT ROWID", view="CREATE VIEW IF NOT EXISTS")


def _make(c: _Cursor, table: Table) -> None:
    for statement in _statements(table):
        c.execute(statement)


def _drop(c: _Cursor, table: Table) -> None:
    for view in table.views:
        c.execute(f"DROP VIEW IF EXISTS {view.name}")
    c.execute(f"DROP TABLE IF EXISTS {table.name}")


def _next_generation(c: _Cursor) -> None:
    c.execute(_GENERATION)
    c.execute(f"PRAGMA user_version={(c.fetchone()[0] + 1) & 0x7FFFFFFF}")


class SqliteFactory(sqlite.SQLiteFactory):
    """What the library builds an index on SQLite from."""

    process_recorder_class = SqliteRecorder

    def __init__(self, env: Environment, path: Path) -> None:
        refuse_foreign(str(path))
        super().__init__(Environment(env.name, {**env, self.SQLITE_DBNAME: str(path)}))
        self.datastore.close()
        self.datastore = Datastore(str(path))
