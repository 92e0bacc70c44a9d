"""The indexer: reads the log, folds it, keeps the index up to it, and halts where the log is not what it was.

Any number of processes may do this at once, each for as long as it likes: a batch counts only if the position is still
where the batch started. Nothing is ever reset silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from ledger.cloudevents import ReadLine
from ledger.errors import Fenced, LogChanged
from ledger.index import Index, record_digest
from ledger.log import Identity, Log, Slice
from ledger.recorders.port import Position
from ledger.reprojection import bring_up, refuse_newer_tables
from ledger.verdict import Verdict

BATCH_ENTRIES = 16_384
_REBUILD = "If this is the log that counts from now on, replay it: pauseledger rebuild."

Progress = Callable[[int], None]
"""Called after each batch with the number of entries folded in it."""

Fold = Callable[[Identity, int, Position, Slice], tuple[Sequence[Verdict], Position]]


class Folded(NamedTuple):
    """A batch of a partition: what was read, and the verdicts, one a record."""

    partition: int
    read: Slice
    verdicts: Sequence[Verdict]


class Indexer:
    """Folds one log into one index. ``fenced`` counts the batches that were lost to another indexer.

    Opening it makes those projections anew that an older version wrote, which may take long: ``remaking`` is told of
    the entries read meanwhile.
    """

    def __init__(self, log: Log, index: Index, *, remaking: Progress | None = None) -> None:
        self.log = log
        self.index = index
        self.fenced = 0
        self.identity = self._recognised()
        bring_up(index, self.identity.partitions, remaking)
        self._known: dict[int, Position] | None = None
        for partition, bounds in enumerate(self.log.all_bounds()):
            self._check_history(partition, *bounds)

    def position(self, partition: int) -> Position:
        """Where the fold of a partition stands, what was folded ahead included."""
        if self._known is None:
            self._known = dict(self.index.recorder.positions())
        return self._known.get(partition, Position(0))

    def forget(self) -> None:
        """Believe the index, not what is known of it: others may have moved it on, or emptied it."""
        self.index.forget()
        self._known = None

    def _recognised(self) -> Identity:
        """The log's identity, which must be that of the log this index was made from."""
        identity = self.log.identity()
        known = self.index.recorder.known_log()
        if known is None:
            self.index.remember(identity)
            known = self.index.recorder.known_log()
        refuse_newer_tables(self.index)
        if known is None or tuple(known) == tuple(identity):
            return identity
        if known.topic != identity.topic:
            what = f"This index was made from the log {known.topic!r}, and this is {identity.topic!r}."
        elif known.topic_id != identity.topic_id:
            ids = f"its id was {known.topic_id}, and is {identity.topic_id} now"
            what = f"The log {known.topic!r} was deleted and made again: {ids}."
        else:
            what = f"The log {known.topic!r} had {known.partitions} partitions, and has {identity.partitions} now."
        raise LogChanged(what, _REBUILD)

    def _check_history(self, partition: int, first: int, end: int) -> None:
        """The log must still hold all that was folded, and the last record of it must be the same."""
        self._check_bounds(partition, first, end)
        position = self.position(partition)
        if position.last_offset is not None:
            self._check_last(partition, position.last_offset, position.last_digest)

    def _check_bounds(self, partition: int, first: int, end: int) -> None:
        position = self.position(partition)
        where = f"Partition {partition} of {self.identity.topic!r}"
        if first > 0:
            advice = "Restore it; a ledger's topic keeps everything (retention.ms=-1, retention.bytes=-1)."
            raise LogChanged(f"{where} was cut: it starts at offset {first}.", advice)
        if end < position.next_offset:
            was = f"it ends at {end}, and was read up to {position.next_offset}"
            raise LogChanged(f"{where} was cut or restored from an old backup: {was}.", _REBUILD)

    def _check_last(self, partition: int, offset: int, digest: bytes | None) -> None:
        read = self.log.read(partition, offset, most=1, wait_seconds=10.0)
        if not read.records or read.records[0].offset != offset or record_digest(read.records[0]) != digest:
            raise LogChanged(
                f"Entry {partition}:{offset} is not the one that was read before: another history lies there.",
                _REBUILD,
            )

    def entries_ahead(self) -> int:
        """How many offsets of the log are not folded yet."""
        return sum(end - self.position(one).next_offset for one, (_, end) in enumerate(self.log.all_bounds()))

    def catch_up(self, progress: Progress | None = None) -> int:
        """Fold all that the log holds now; the number of entries folded here."""
        return self._caught_up({one: end for one, (_, end) in enumerate(self.log.all_bounds())}, progress)

    def catch_up_partition(self, partition: int, progress: Progress | None = None) -> int:
        """Fold all that a partition holds now."""
        return self._caught_up({partition: self.log.bounds(partition)[1]}, progress)

    def _caught_up(self, ends: Mapping[int, int], progress: Progress | None) -> int:
        """Fold partitions up to these offsets.

        Each batch is committed while the next one is folded; on return the last one is, too.
        """
        self.write()
        folded = 0
        try:
            for partition, end in ends.items():
                while self.position(partition).next_offset < end:
                    batch = self.step_on(partition, wait_seconds=1.0)
                    count = 0 if batch is None else len(batch.verdicts)
                    folded += count
                    if progress is not None:
                        progress(count)
        finally:
            self.settle()
        return folded

    def step(self, partition: int, *, wait_seconds: float = 0.0) -> Sequence[Verdict]:
        """Fold the next batch of a partition; its verdicts, none where another indexer was faster."""
        self.write()
        batch = self._step(partition, self.index.fold, wait_seconds)
        return () if batch is None else batch.verdicts

    def step_on(self, partition: int, *, wait_seconds: float = 0.0) -> Folded | None:
        """As :meth:`step`, but the batch is committed while the next one is folded: it counts after :meth:`settle`, or
        when the next step returns another one. Null where there was nothing to read, or it was ``fenced``.
        """
        return self._step(partition, self.index.fold_on, wait_seconds)

    def take_over(self, partitions: Iterable[int]) -> None:
        """Go on with these partitions where the index says that they stand; others may have worked on them."""
        self.settle()
        self.forget()
        self._recognised()
        bounds = self.log.all_bounds()
        for partition in partitions:
            self._check_history(partition, *bounds[partition])

    def look_again(self, partitions: Iterable[int]) -> None:
        """See that log and index are there, and that nothing of the log is gone. Raises as the constructor does."""
        self._recognised()
        bounds = self.log.all_bounds()
        for partition in partitions:
            self._check_bounds(partition, *bounds[partition])

    def step_ahead(
        self, partition: int, *, read_before: Mapping[int, ReadLine | None] | None = None, wait_seconds: float = 0.0
    ) -> Sequence[Verdict]:
        """As :meth:`step`, but in memory: :meth:`write` puts many batches into the index at once.

        ``read_before`` has by offset the lines of the partition that were read as events already, by whoever sent them.
        """
        batch = self._step(partition, partial(self.index.fold_ahead, read_before=read_before or {}), wait_seconds)
        return () if batch is None else batch.verdicts

    def write(self, *, settle: bool = True) -> None:
        """Write what was folded ahead. Where another indexer has done it, it is forgotten.

        Without ``settle`` it is being committed still; what is folded next waits for that, and is told of a failure.
        """
        try:
            with self._positions_in_doubt():
                self.index.write_ahead(self.identity)
                if settle:
                    self.index.settle()
        except Fenced:
            self._lost_a_race()

    def _lost_a_race(self) -> None:
        self.fenced += 1
        self._recognised()

    def settle(self) -> None:
        """Wait until what was written counts. Raises what made it fail."""
        with self._positions_in_doubt():
            self.index.settle()

    @contextmanager
    def _positions_in_doubt(self) -> Iterator[None]:
        """Whatever fails inside, the positions are read from the index again."""
        try:
            yield
        except BaseException:
            self._known = None
            raise

    def _step(self, partition: int, fold: Fold, wait_seconds: float) -> Folded | None:
        started = self.position(partition)
        read = self.log.read(partition, started.next_offset, most=BATCH_ENTRIES, wait_seconds=wait_seconds)
        if read.next_offset == started.next_offset:
            return None
        self._refuse_another_log()
        try:
            with self._positions_in_doubt():
                verdicts, reached = fold(self.identity, partition, started, read)
        except Fenced:
            self._lost_a_race()
            return None
        if self._known is not None:
            self._known[partition] = reached
        return Folded(partition, read, verdicts)

    def _refuse_another_log(self) -> None:
        """What was read must be from the log that was recognised, even if that was made again a moment ago."""
        identity = self.log.identity()
        if identity != self.identity:
            self._recognised()
            raise LogChanged(f"The log {identity.topic!r} was made again while it was read.", "Start again.")
