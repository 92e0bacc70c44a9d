"""What the index asks of its database, whichever that is (:mod:`~ledger.recorders.sqlite`,
:mod:`~ledger.recorders.postgres`).

One batch is one transaction. It moves its partition's position only from where the batch started, in the same
generation of the index: whoever lost that race writes nothing. Every recorder passes
``tests/contract/test_recorder.py`` and the eventsourcing library's own tests.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from eventsourcing.persistence import ProcessRecorder, Tracking

from ledger.batch import Name
from ledger.entries import EntryRow
from ledger.errors import UnusableLog
from ledger.tables import Column, Rows, Table

INDEX_FORMAT = 4
"""Counts the shapes of what an index holds beside its projections; an older one is made anew from the log."""

FIRSTS = Table(
    "index_firsts",
    (Column("subject"), Column("source"), Column("id"), Column("version", "integer", required=True)),
    ("subject", "source", "id"),
)
POSITIONS = Table(
    "index_positions",
    (
        Column("partition", "integer"),
        Column("next_offset", "integer", required=True),
        Column("last_offset", "integer"),
        Column("last_digest", "bytes"),
    ),
    ("partition",),
)
IDENTITY = Table(
    "index_identity",
    (
        Column("one", "integer"),
        Column("format", "integer"),
        Column("topic"),
        Column("topic_id"),
        Column("partitions", "integer"),
    ),
    ("one",),
)
VERSIONS = Table("index_projections", (Column("name"), Column("version", "integer", required=True)), ("name",))
"""Of which version each projection's table is; 0 where it has rows of some of the entries only."""
OWN_TABLES = (IDENTITY, POSITIONS, FIRSTS, VERSIONS)
SNAPSHOTS = Table(
    "stored_snapshots",
    (Column("originator_id"), Column("originator_version", "integer"), Column("topic"), Column("state", "bytes")),
    ("originator_id", "originator_version"),
)
"""The library's own."""
MIGRATION_MARK = "__migration__"
"""What the library keeps in its tracking table beside positions."""


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


class Recorder(ProcessRecorder):
    """An opened index database: what the eventsourcing library asks of it, and what we do."""

    @abstractmethod
    def make_tables(self, tables: Iterable[Table]) -> None:
        """Make the tables that aren't there."""

    @abstractmethod
    def write(self, batch: Written) -> Future[None]:
        """Write a batch; it counts when the future has its result, and until then no other may be written here.

        Raises ``Fenced`` where another indexer was faster: then nothing of it is written.
        """

    @abstractmethod
    def look(self, partition: int, subjects: Collection[str] = (), names: Iterable[Name] = ()) -> Look:
        """What the index has of work items and names, and where it stands, all at one moment.

        ``names`` of other work items are of those that the index has for certain.
        """

    @abstractmethod
    def generation(self) -> int:
        """How often the index was emptied: what was read of it before, an older generation, is worth nothing."""

    def positions(self) -> dict[int, Position]:
        """Where each partition stands, by its number; partitions without an entry are not there."""
        rows = self.select("SELECT partition, next_offset, last_offset, last_digest FROM index_positions")
        return {row[0]: Position(*row[1:]) for row in rows}

    def known_log(self) -> KnownLog | None:
        """The log that this index was made from; null before the first entry. Raises for another format."""
        rows = self._identity()
        _refuse_newer(rows)
        if not rows:
            return None
        if rows[0][0] < INDEX_FORMAT:
            raise UnusableLog("The index was made by an older pauseledger.", "Replay the log: pauseledger rebuild.")
        return KnownLog(*rows[0][1:])

    def refuse_newer(self) -> None:
        """Raises ``UnusableLog`` where an index was made by a newer version: it may be neither read nor emptied."""
        _refuse_newer(self._identity())

    def _identity(self) -> list[tuple[Any, ...]]:
        return self.select("SELECT format, topic, topic_id, partitions FROM index_identity")

    @abstractmethod
    def remember_log(self, log: KnownLog) -> None:
        """Keep which log this index is made from, unless one is known already."""

    @abstractmethod
    def versions(self, subjects: Iterable[str]) -> dict[str, int]:
        """The number of entries of each work item that has any."""

    @abstractmethod
    def select(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query as plain tuples; ``?`` stands for a parameter, in SQL that both databases take."""

    @abstractmethod
    def start_over(self, tables: Iterable[Table]) -> None:
        """Empty the index in one transaction: these tables, which are made anew, the library's and our own.

        Not one of a newer version.
        """

    @abstractmethod
    def execute(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[int]:
        """Run statements with their parameters in one transaction; how many rows each changed.

        For tables that are no projection: what they hold isn't made from the log, and no rebuild touches it.
        """

    def is_of_this_version(self) -> bool:
        """Whether the index has the shapes that this version gives it, or none yet."""
        return all(row[0] == INDEX_FORMAT for row in self._identity())

    def table_versions(self) -> dict[str, int]:
        """Of which version each projection's table is, as far as that is known."""
        return dict(self.select(f"SELECT name, version FROM {VERSIONS.name}"))

    @abstractmethod
    def remember_versions(self, tables: Iterable[Table]) -> None:
        """Keep of which version tables are that were just made: their own, or 0 where entries were folded before."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[None]:
        """Only one process at a time may be in here; the others wait."""

    @abstractmethod
    def insert(self, rows: Iterable[Rows]) -> None:
        """Insert rows in a transaction."""

    @abstractmethod
    def drop(self, tables: Iterable[Table]) -> None:
        """Drop tables, where they are there."""

    @abstractmethod
    def swap(self, tables: Sequence[Table], generation: int, last: Callable[[], Iterable[Rows]]) -> None:
        """Put the tables that were filled beside these into their places, in one transaction.

        While it lasts nobody else writes; ``last`` gives the rows that are still missing. Afterwards the index is of
        the next generation, so that a process that knows older tables only is fenced. Raises ``Fenced`` where it isn't
        of ``generation`` any more.
        """

    @abstractmethod
    def damage(self) -> str | None:
        """What is wrong with the database's files, as far as it can tell quickly; null where nothing is."""


def _refuse_newer(identity: Sequence[Sequence[Any]]) -> None:
    if identity and identity[0][0] > INDEX_FORMAT:
        raise UnusableLog("The index was made by a newer pauseledger.", "Upgrade this one, or name another index.")
