"""The index: the folded ledger in the eventsourcing library. A work item is an aggregate, its entries are its events.

1. A batch of records is folded, then written with its projections' rows and the new position in one transaction, which
   fails as a whole if another indexer moved the position meanwhile (``Fenced``). So any process may index.
2. The index is rebuilt from the log alone. Nothing that leaves the ledger rests on the library's notification ids.
3. States are frozen and cached in bounded memory; a work item that isn't cached is rebuilt by ``repository.get``,
   from its newest snapshot on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

from eventsourcing.application import AggregateNotFoundError
from eventsourcing.persistence import InfrastructureFactory, Tracking
from eventsourcing.projection import EventSourcedProjection
from eventsourcing.utils import Environment

from ledger.ahead import Ahead
from ledger.batch import Change, ItemCache, Projection, fold_batch, names_of
from ledger.cloudevents import ReadLine, read_event
from ledger.entries import Entry, EntryMapper, ItemSnapshot, first_of, project
from ledger.errors import Fenced
from ledger.fold import READ_AHEAD
from ledger.log import Identity, Slice
from ledger.packet import WorkItem
from ledger.record import Record, record_bytes
from ledger.recorders.address import IndexAddress, recorder_factory
from ledger.recorders.port import FIRSTS, SNAPSHOTS, KnownLog, Move, Position, Recorder, Stand, Written
from ledger.tables import Rows
from ledger.verdict import Verdict

SNAPSHOT_INTERVAL = 256


def record_digest(record: Record) -> bytes:
    """The SHA-256 of a record's bytes: by it an index knows the last record again."""
    return hashlib.sha256(record_bytes(record)).digest()


def _reached(started: Position, read: Slice) -> Position:
    """Where the fold stands after a slice; past a gap the last record stays the one before it."""
    if not read.records:
        return Position(read.next_offset, started.last_offset, started.last_digest)
    last = read.records[-1]
    return Position(read.next_offset, last.offset, record_digest(last))


class Index(EventSourcedProjection[str]):
    """The index in one SQLite file, or in a PostgreSQL database. Not thread-safe for writing; any number of processes
    may write.
    """

    name = "pauseledger"
    recorder: Recorder

    def __init__(self, address: IndexAddress, projections: Sequence[Projection]) -> None:
        self.address = address
        self._cache = ItemCache()
        self._ahead: dict[int, Ahead] = {}
        self._generation: int | None = None
        self._generation_shown: int | None = None
        self._settling: Future[None] | None = None
        self._written: Ahead | None = None
        self.projections = projections
        super().__init__()
        self.tables = tuple(table for projection in projections for table in projection.tables)
        if self.recorder.is_of_this_version():  # another one is refused when it is asked what log it is of
            known = self.recorder.table_versions()
            new = [table for table in self.tables if table.name not in known]
            self.recorder.make_tables(new)
            self.recorder.remember_versions(new)

    def construct_env(self, name: str, env: Any = None) -> Environment:  # noqa: ARG002
        """Our own settings only: the process's environment must not choose classes for us."""
        return Environment(
            name,
            {"ORIGINATOR_ID_TYPE": "text", "IS_SNAPSHOTTING_ENABLED": "y"},
        )

    def construct_factory(self, env: Environment) -> InfrastructureFactory:
        return recorder_factory(self.address, env)

    def construct_mapper(self) -> EntryMapper:
        return EntryMapper(transcoder=self.construct_transcoder())

    def policy(self, domain_event: Any, processing_event: Any) -> None:
        raise NotImplementedError("the log is folded in batches, by fold()")

    def work_item(self, subject: str, *, at: datetime | None = None) -> WorkItem | None:
        """A work item now, or as of its entries with an instant of at most ``at``; null where it has none."""
        version = self.recorder.versions([subject]).get(subject, 0) if at is None else self.version_at(subject, at)
        self._drop_outdated()  # after the version was read: of a later generation it is looked for in no older state
        if version == 0:
            return None
        item = self._cache.get(subject)  # as of a version, in one generation, a state is always the same
        if item is not None and item.version == version:
            return item
        try:
            item = self._rebuilt(subject, version)
        except AggregateNotFoundError:
            return None
        if at is None:
            # Newer than this index's own position it may be; then another indexer wrote it, and our next batch, which
            # starts from where we stood, is fenced and forgets all that is kept here.
            self._cache.put(item)
        return item

    def _drop_outdated(self) -> None:
        """States from before the index was emptied may have the versions of others now."""
        generation = self.recorder.generation()
        if generation != self._generation_shown:
            self._cache.clear()
            self._generation_shown = generation

    def work_item_at(self, subject: str, version: int) -> WorkItem | None:
        """A work item after so many of its entries; null after none. Raises ``Fenced`` where they are there no more."""
        if version == 0:
            return None
        try:
            item = self._rebuilt(subject, version)
        except AggregateNotFoundError:
            item = None
        if item is None or item.version != version:
            raise Fenced("The index was emptied while it was read.")
        return item

    def _rebuilt(self, subject: str, version: int | None = None) -> WorkItem:
        projector = cast(Any, project)  # the library's type variables leave no room for a frozen state without bases
        return cast(WorkItem, self.repository.get(subject, version=version, projector_func=projector))

    def entries(self, subject: str, *, gt: int | None = None, lte: int | None = None) -> Iterable[Entry]:
        """The entries of a work item with a version in (gt, lte], oldest first; none that is malformed."""
        return cast(Iterable[Entry], self.events.get(subject, gt=gt, lte=lte))

    def version_at(self, subject: str, at: datetime) -> int:
        """How many of a work item's entries have an instant of at most ``at``. Instants never go back."""
        low, high = 0, self.recorder.versions([subject]).get(subject, 0)
        while low < high:
            middle = (low + high + 1) // 2
            if self.entry(subject, middle).instant <= at:
                low = middle
            else:
                high = middle - 1
        return low

    def entry(self, subject: str, version: int) -> Entry:
        """One entry of a work item, by its version (counted from 1). Raises ``Fenced`` where it is there no more."""
        entry = next(iter(self.entries(subject, gt=version - 1, lte=version)), None)
        if entry is None:
            raise Fenced("The index was emptied while it was read.")
        return entry

    def fold(self, log: Identity, partition: int, started: Position, read: Slice) -> tuple[Sequence[Verdict], Position]:
        """Fold the records read at a position, and write it all in one transaction; the verdicts, and where it stands.

        Raises ``Fenced`` when another indexer was faster: nothing was written, the position must be read again.
        """
        folded = self.fold_on(log, partition, started, read)
        self.settle()
        return folded

    def fold_on(
        self, log: Identity, partition: int, started: Position, read: Slice
    ) -> tuple[Sequence[Verdict], Position]:
        """As :meth:`fold`, but the batch counts only after :meth:`settle`; until then the next one may be folded on it.

        Raises too what made the batch before it fail: then neither counts.
        """
        ahead = Ahead(partition, started)
        with self._nothing_kept_on_failure():
            generation = self._generation_now()
            verdicts, _ = self._fold_onto(ahead, log, read, {})
            self.settle()
            self._write(log, ahead, Move(partition, started.next_offset, ahead.reached, generation))
        return verdicts, ahead.reached

    def settle(self) -> None:
        """Wait until what was written counts. Raises what made it fail: then nothing of it was written."""
        if self._settling is not None:
            with self._nothing_kept_on_failure():
                self._settling.result()
            self._settling = self._written = None

    def fold_ahead(
        self,
        log: Identity,
        partition: int,
        started: Position,
        read: Slice,
        read_before: Mapping[int, ReadLine | None],
    ) -> tuple[Sequence[Verdict], Position]:
        """Fold the records read at a position in memory, to be written later by :meth:`write_ahead`.

        ``read_before`` has by offset what was read as an event already. Raises ``Fenced`` when another indexer has
        moved on: what it wrote may have been taken for older than it is, so all that was folded ahead is forgotten,
        and the positions must be read again.
        """
        self.settle()
        ahead = self._ahead.setdefault(partition, Ahead(partition, started))
        with self._nothing_kept_on_failure():
            generation = self._generation_now()
            verdicts, stand = self._fold_onto(ahead, log, read, read_before)
            if stand != Stand(generation, ahead.started):
                raise Fenced(f"Another indexer has moved partition {partition} on.")
        return verdicts, ahead.reached

    def write_ahead(self, log: Identity) -> None:
        """Write what was folded ahead, a transaction a partition. It counts after :meth:`settle`.

        Raises as :meth:`fold`; then all is forgotten.
        """
        with self._nothing_kept_on_failure():
            for partition in list(self._ahead):
                ahead = self._ahead[partition]
                move = Move(partition, ahead.started.next_offset, ahead.reached, self._generation_now())
                self.settle()
                self._write(log, ahead, move)
                del self._ahead[partition]

    def ahead(self) -> tuple[int, int]:
        """How many entries were folded ahead, and how many bytes they hold."""
        return sum(one.entries for one in self._ahead.values()), sum(one.bytes for one in self._ahead.values())

    def verdict_ahead(self, partition: int, offset: int) -> Verdict | None:
        """The verdict of an entry that was folded ahead, or is being committed; null for any other."""
        for ahead in (self._ahead.get(partition), self._written):
            if ahead is not None and ahead.partition == partition and (verdict := ahead.verdict(offset)) is not None:
                return verdict
        return None

    @contextmanager
    def _nothing_kept_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.forget()
            if isinstance(error, AggregateNotFoundError):
                raise Fenced("The index was emptied while it was read.") from error
            raise

    def forget(self) -> None:
        """Keep nothing of what was read or folded here: another indexer may have been at it since."""
        if self._settling is not None:
            self._settling.exception()  # whatever became of it: the next one must find it ended
        self._cache.clear()
        self._ahead.clear()
        self._settling = self._written = None
        self._generation = None

    def _generation_now(self) -> int:
        """The index's generation when the first of what is kept here was loaded."""
        if self._generation is None:
            self._generation = self.recorder.generation()
        return self._generation

    def _fold_onto(
        self, ahead: Ahead, log: Identity, read: Slice, read_before: Mapping[int, ReadLine | None]
    ) -> tuple[list[Verdict], Stand]:
        """Fold records on what is in the index and ahead of it; where the index stood after all was loaded.

        Some are read before they are folded: quicker than by turns, and while they are in the processor's cache.
        """
        verdicts: list[Verdict] = []
        stand = None
        for at in range(0, len(read.records), READ_AHEAD):
            records = read.records[at : at + READ_AHEAD]
            events = [read_event(record, log.partitions, read_before.get(record.offset)) for record in records]
            names = names_of(events)
            subjects = {name[0] for name in names if name is not None}
            items = self._kept(subjects, ahead.items)
            firsts = {name: ahead.firsts[name] for name in names if name in ahead.firsts}
            if self._written is not None:
                firsts |= {name: self._written.firsts[name] for name in names if name in self._written.firsts}
            unknown = {name for name in names if name is not None and name not in firsts and not ahead.began(name[0])}
            found = self.recorder.look(ahead.partition, subjects - items.keys(), unknown)
            if found.versions or found.firsts:
                items |= {name: self._rebuilt(name) for name in found.versions}
                firsts |= {name: first_of(self.entry(name[0], version)) for name, version in found.firsts.items()}
                stand = None
            else:
                stand = found.stand
            batch = fold_batch(ahead.partition, records, events, names, items, firsts)
            ahead.add(batch)
            verdicts += batch.verdicts
        ahead.reached = _reached(ahead.reached, read)
        return verdicts, stand or self.recorder.look(ahead.partition).stand

    def _kept(self, subjects: Iterable[str], ahead: Mapping[str, WorkItem]) -> dict[str, WorkItem]:
        """The states that need not be loaded."""
        written = {} if self._written is None else self._written.items
        found = ((name, ahead.get(name) or written.get(name) or self._cache.get(name)) for name in subjects)
        return {name: item for name, item in found if item is not None}

    def _write(self, log: Identity, ahead: Ahead, move: Move) -> None:
        batch = ahead.whole()
        firsts = [(*name, version) for name, version in zip(batch.firsts, batch.first_versions, strict=True)]
        rows = [rows for projection in self.projections for rows in projection.rows(batch)]
        self._settling = self.recorder.write(
            Written(
                move,
                batch.entries(),
                [Rows(FIRSTS, firsts, "keep"), *rows, self._snapshots(batch.changes)],
                Tracking(f"{log.topic}/{move.partition}", move.reached.next_offset - 1),
            )
        )
        self._written = ahead
        for change in batch.changes:
            self._cache.put(change.after)

    def _snapshots(self, changes: Iterable[Change]) -> Rows:
        """Snapshots are rarer the more pauses a state holds, so that their bytes stay in proportion to the entries."""
        rows = []
        for before, after in changes:
            interval = max(SNAPSHOT_INTERVAL, len(after.pauses))
            if after.version // interval > (0 if before is None else before.version) // interval:
                stored = self.mapper.to_stored_event(ItemSnapshot(after.subject, after.version, after))
                rows.append((stored.originator_id, stored.originator_version, stored.topic, stored.state))
        return Rows(SNAPSHOTS, rows, "replace")

    def start_over(self) -> None:
        """Empty the index, to be folded again from the log."""
        self.forget()
        self.recorder.start_over(self.tables)

    def remember(self, log: Identity) -> None:
        """Keep which log this index is made from, unless one is known already."""
        self.recorder.remember_log(KnownLog(*log))
