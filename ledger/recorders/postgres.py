"""The index's recorder on PostgreSQL, in the eventsourcing library's terms.

As on SQLite one batch is one transaction. It looks at the index's generation, which nobody changes meanwhile, then
moves the position only from where the batch started: it waits for another indexer that moves the same one, and loses
then. Batches of different partitions do not wait for each other. Entries and what has bytes come by COPY, other rows
as one JSON text that the server takes apart.

The library locks its table so that notification ids follow the order of commits; nothing here rests on those ids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from eventsourcing import postgres
from eventsourcing.persistence import Tracking
from eventsourcing.utils import Environment
from psycopg import sql

from ledger.batch import Name
from ledger.entries import EntryRow
from ledger.errors import Fenced, UnusableLog
from ledger.recorders.address import PostgresAddress
from ledger.recorders.port import (
    FIRSTS,
    INDEX_FORMAT,
    MIGRATION_MARK,
    OWN_TABLES,
    POSITIONS,
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
from ledger.recorders.postgres_server import SETTING_UP, Connection, Server
from ledger.recorders.postgres_text import rows_as_json
from ledger.tables import (
    Column,
    Kind,
    Rows,
    Table,
    beside,
    create_statements,
    on_conflict_clause,
)

_KINDS: dict[Kind, str] = {"text": 'TEXT COLLATE "C"', "integer": "BIGINT", "bytes": "BYTEA"}
_TYPES = {"text": "text", "integer": "bigint", "bytes": "bytea"}
_GENERATION = Table("index_generation", (Column("one", "integer"), Column("generation", "integer")), ("one",))
Cursor = psycopg.Cursor[Any]
_MAKING, _REBUILDING = SETTING_UP + 1, 0x706C
_NEXT_GENERATION = "UPDATE index_generation SET generation = (generation + 1) & 2147483647"
_MOVE = """
    INSERT INTO index_positions AS known SELECT %(partition)s, %(next_offset)s, %(last_offset)s, %(last_digest)s
    WHERE %(started)s = 0 OR EXISTS (SELECT 1 FROM index_positions WHERE partition = %(partition)s)
    ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset, last_offset = excluded.last_offset,
    last_digest = excluded.last_digest WHERE known.next_offset = %(started)s RETURNING next_offset
"""
TRACKING_TABLE = "tracking"
_TRACK = """
    INSERT INTO tracking AS known VALUES (%s, %s) ON CONFLICT (application_name)
    DO UPDATE SET notification_id = excluded.notification_id WHERE known.notification_id < excluded.notification_id
"""
_STAND = """
    SELECT generation, next_offset, last_offset, last_digest
    FROM index_generation LEFT JOIN index_positions ON partition = %s
"""
# Sub-queries a name, so that each is looked up by its key, whatever the planner thinks of how many there are.
_VERSIONS = """
    SELECT * FROM (SELECT subject, (SELECT originator_version FROM stored_events WHERE originator_id = subject
    ORDER BY originator_version DESC LIMIT 1) AS version FROM unnest(%s::text[]) AS asked(subject)) AS found
    WHERE version IS NOT NULL
"""
_FIRSTS = """
    SELECT * FROM (SELECT subject, source, id, (SELECT version FROM index_firsts AS known WHERE
    known.subject = asked.subject AND known.source = asked.source AND known.id = asked.id) AS version
    FROM unnest(%s::text[], %s::text[], %s::text[]) AS asked(subject, source, id)) AS found WHERE version IS NOT NULL
"""


class PostgresRecorder(postgres.PostgresProcessRecorder, Recorder):
    """Stored entries, tracking, positions and firsts; rows of projections in the same transaction."""

    datastore: Server

    def create_table(self) -> None:
        """Make the tables, one process at a time. Raises ``UnusableLog`` for a schema of something else.

        Where they are there nothing is made: even ``CREATE … IF NOT EXISTS`` waits for whoever writes.
        """
        own = {table.name for table in (*OWN_TABLES, _GENERATION)}
        if self.datastore.tables() >= {self.events_table_name, TRACKING_TABLE, *own}:
            self.datastore.register_type_adapters()
            if self.select(f"SELECT generation FROM {_GENERATION.name}"):
                return
        with self.datastore.setting_up() as connection:
            schema = sql.Identifier(self.datastore.schema)
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            self._refuse_foreign()
            super().create_table()
            self.make_tables([*OWN_TABLES, _GENERATION])
            self._change(f"INSERT INTO {_GENERATION.name} VALUES (1, 0) ON CONFLICT DO NOTHING")

    def _refuse_foreign(self) -> None:
        there = self.datastore.tables()
        if there & {self.events_table_name, "trail"} and _GENERATION.name not in there:
            raise UnusableLog(
                f"The schema {self.datastore.schema!r} of {self.datastore.address} is of something else.",
                "Name another: postgresql://…?schema=NAME.",
            )

    def make_tables(self, tables: Iterable[Table]) -> None:
        """See the port."""
        there = self.datastore.tables()
        tables = [table for table in tables if table.name not in there]
        if not tables:
            return
        with self.datastore.transaction(commit=True) as c:
            c.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
            for table in tables:
                _make(c, table)

    def execute(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[int]:
        """See the port."""
        with self.datastore.transaction(commit=True) as c:
            return [c.execute(_in_psycopg(one).encode(), given).rowcount for one, given in statements]

    def remember_versions(self, tables: Iterable[Table]) -> None:
        """See the port."""
        known = "CASE WHEN EXISTS (SELECT 1 FROM index_positions) THEN 0 ELSE %s END"
        for table in tables:
            statement = f"INSERT INTO {VERSIONS.name} SELECT %s, {known} ON CONFLICT DO NOTHING"
            self._change(statement, (table.name, table.version))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See the port."""
        with self.datastore.explained(), closing(self.datastore.connected()) as connection:
            connection.execute("SET lock_timeout = 0")
            connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", (_REBUILDING, self.datastore.schema))
            yield

    def insert(self, rows: Iterable[Rows]) -> None:
        """See the port."""
        with self.datastore.writing() as connection:
            for some in rows:
                _insert(connection, some)
        self.datastore.committed(lambda _: None).result()

    def drop(self, tables: Iterable[Table]) -> None:
        """See the port."""
        with self.datastore.transaction(commit=True) as c:
            for table in tables:
                _drop(c, table)

    def swap(self, tables: Sequence[Table], generation: int, last: Callable[[], Iterable[Rows]]) -> None:
        """See the port."""
        with self.datastore.writing(alone=True) as connection:
            found = connection.execute("SELECT generation FROM index_generation").fetchone()
            if found != (generation,):
                raise Fenced("The index was emptied meanwhile.")
            for rows in last():
                _insert(connection, rows)
            for table in tables:
                _drop(connection, table)
                connection.execute(f"ALTER TABLE {beside(table).name} RENAME TO {table.name}".encode())
                _make(connection, table)
                _insert(connection, Rows(VERSIONS, [(table.name, table.version)], "replace"))
            connection.execute(_NEXT_GENERATION)
        self.datastore.committed(lambda _: None).result()

    def write(self, batch: Written) -> Future[None]:
        """See the port."""
        with self.datastore.writing() as connection:
            self._move(connection, batch.move)

        def rest(connection: Connection) -> None:
            self._copy_entries(connection, batch.entries)
            for rows in batch.rows:
                _insert(connection, rows)
            _track(connection, batch.tracking)

        return self.datastore.committed(rest)

    def _move(self, connection: Connection, move: Move) -> None:
        (generation,) = connection.execute("SELECT generation FROM index_generation").fetchone() or (None,)
        if generation != move.generation:
            raise Fenced("The index was emptied meanwhile.")
        told = {"partition": move.partition, "started": move.started, **move.reached._asdict()}
        if connection.execute(_MOVE, told).fetchone() is None:
            raise Fenced(f"Another indexer has moved partition {move.partition} on.")

    def _copy_entries(self, connection: Connection, entries: Sequence[EntryRow]) -> None:
        statement = "COPY stored_events (originator_id, originator_version, topic, state) FROM STDIN (FORMAT BINARY)"
        with connection.cursor() as c, c.copy(statement) as copy:
            copy.set_types(("text", "bigint", "text", "bytea"))
            for entry in entries:
                copy.write_row(entry)

    def generation(self) -> int:
        """See the port."""
        return int(self.select("SELECT generation FROM index_generation")[0][0])

    def remember_log(self, log: KnownLog) -> None:
        """See the port."""
        statement = "INSERT INTO index_identity VALUES (1, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
        self._change(statement, (INDEX_FORMAT, *log))

    def versions(self, subjects: Iterable[str]) -> dict[str, int]:
        """See the port."""
        return dict(self._selected(_VERSIONS, (list(subjects),)))

    def look(self, partition: int, subjects: Collection[str] = (), names: Iterable[Name] = ()) -> Look:
        """See the port."""
        with self.datastore.reading() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            versions: dict[str, int] = {}
            if subjects:
                versions = dict(connection.execute(_VERSIONS, (list(subjects),)).fetchall())
            new = set(subjects) - versions.keys()
            asked = [name for name in names if name[0] not in new]
            firsts: dict[Name, int] = {}
            if asked:
                columns = [list(column) for column in zip(*asked, strict=True)]
                firsts = {tuple(row[:3]): row[3] for row in connection.execute(_FIRSTS, columns)}
            generation, *position = connection.execute(_STAND, (partition,)).fetchone() or (None, None)
        known = Position(0) if position[0] is None else Position(*position)
        return Look(versions, firsts, Stand(generation, known))

    def select(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See the port."""
        return self._selected(_in_psycopg(statement), parameters)

    def _selected(self, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.datastore.reading() as connection, connection.cursor(binary=True) as c:
            return c.execute(statement.encode(), parameters).fetchall()

    def _change(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        with self.datastore.transaction(commit=True) as c:
            c.execute(statement.encode(), parameters)

    def start_over(self, tables: Iterable[Table]) -> None:
        """See the port."""
        self.refuse_newer()
        # Locked in this order, which is that of look(): two that wait for each other would be stopped.
        own = [table.name for table in OWN_TABLES if table not in (FIRSTS, POSITIONS)]
        emptied = [self.events_table_name, FIRSTS.name, POSITIONS.name, SNAPSHOTS.name, *own]
        with self.datastore.writing(alone=True) as connection:
            connection.execute(_NEXT_GENERATION)
            connection.execute(f"TRUNCATE {', '.join(emptied)}".encode())
            connection.execute("DELETE FROM tracking WHERE application_name <> %s", (MIGRATION_MARK,))
            for table in tables:
                _drop(connection, table)
                _make(connection, table)
                _insert(connection, Rows(VERSIONS, [(table.name, table.version)]))
        self.datastore.committed(lambda _: None).result()

    def damage(self) -> str | None:
        """See the port. PostgreSQL says so itself, of what it reads."""
        self.generation()
        return None


def _make(c: Connection | Cursor, table: Table) -> None:
    for statement in create_statements(table, _KINDS, view="CREATE OR REPLACE VIEW"):
        c.execute(statement.encode())


def _drop(c: Connection | Cursor, table: Table) -> None:
    for view in table.views:
        c.execute(f"DROP VIEW IF EXISTS {view.name}".encode())
    c.execute(f"DROP TABLE IF EXISTS {table.name}".encode())


def _in_psycopg(statement: str) -> str:
    return statement.replace("%", "%%").replace("?", "%s")


def _insert(connection: Connection, rows: Rows) -> None:
    if not rows.rows:
        return
    text = rows_as_json(rows.rows)
    if text is not None:
        places = ", ".join(
            f"(value->>{number})::{_TYPES[column.kind]}" for number, column in enumerate(rows.table.columns)
        )
        statement = (
            f"INSERT INTO {rows.table.name} SELECT {places} FROM jsonb_array_elements(%s::jsonb) AS given(value)"
        )
        connection.execute((statement + on_conflict_clause(rows)).encode(), (text,))
    elif rows.on_conflict == "fail":
        _copy(connection, rows.table.name, rows)
    else:
        connection.execute(f"CREATE TEMP TABLE given (LIKE {rows.table.name}) ON COMMIT DROP".encode())
        _copy(connection, "given", rows)
        connection.execute(f"INSERT INTO {rows.table.name} SELECT * FROM given{on_conflict_clause(rows)}".encode())
        connection.execute("DROP TABLE given")


def _copy(connection: Connection, into: str, rows: Rows) -> None:
    with connection.cursor() as c, c.copy(f"COPY {into} FROM STDIN (FORMAT BINARY)".encode()) as copy:
        copy.set_types([_TYPES[column.kind] for column in rows.table.columns])
        for row in rows.rows:
            copy.write_row(row)


def _track(connection: Connection, tracking: Tracking) -> None:
    connection.execute(_TRACK, (tracking.application_name, tracking.notification_id))


class PostgresSnapshots(postgres.PostgresAggregateRecorder):
    """The library's recorder of snapshots, whose table is made by one process at a time, and only where it is not."""

    datastore: Server

    def create_table(self) -> None:
        if self.events_table_name in self.datastore.tables():
            self.datastore.register_type_adapters()
            return
        with self.datastore.setting_up():
            super().create_table()


class PostgresFactory(postgres.PostgresFactory):
    """What the library builds an index on PostgreSQL from."""

    aggregate_recorder_class = PostgresSnapshots

    def __init__(self, env: Environment, address: PostgresAddress) -> None:
        nobody = {self.POSTGRES_DBNAME: "-", self.POSTGRES_HOST: "-", self.POSTGRES_USER: "-"}
        super().__init__(Environment("", {**env, **nobody, self.POSTGRES_PASSWORD: "-"}))
        self.datastore.close()
        self.datastore = Server(address)
        with self.datastore.reading():
            pass  # the library's pool would not say why it has no connection

    def process_recorder(self) -> PostgresRecorder:
        """With the names that the library gives its tables in SQLite."""
        recorder = PostgresRecorder(
            self.datastore, events_table_name="stored_events", tracking_table_name=TRACKING_TABLE
        )
        recorder.create_table()
        return recorder
