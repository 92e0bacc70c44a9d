"""The indexer as a job of the fleet: folds its partitions in turns, and waits for all of them at once.

While one batch is committed the next one is folded. What is counted and traced was committed, as far as this process
saw: of a batch whose commit failed, or was lost to another process, nothing is.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Set
from typing import NamedTuple

import structlog

from consumers.indexer import Folded
from consumers.operations import metrics
from consumers.operations.logs import Seldom
from consumers.operations.tracing import Tracing, open_tracing
from consumers.settings import Ledger, Settings
from ledger.log import Waiting
from ledger.verdict import Verdict

_WAIT_SECONDS = 0.25
_STEP_SECONDS = 1.0
"""After so long a step ends, if there is more to do or not: signals and rebalances wait for it."""
_LOOK_SECONDS = 2.0
"""How often an indexer with nothing to do looks whether its log and its index are still there."""
JOB = "indexer"


class _Begun(NamedTuple):
    """A batch that is being committed: when it began (nanoseconds since 1970), how long reading and folding took."""

    batch: Folded
    began_ns: int
    seconds: float


class IndexerJob:
    """See :class:`consumers.jobs.Job`."""

    def __init__(self, ledger: Ledger, tracing: Tracing | None = None) -> None:
        self._ledger = ledger
        self._tracing = tracing
        self._indexer = ledger.indexer
        self._partitions: list[int] = []
        self._begun: _Begun | None = None
        self._looked = time.monotonic()
        self._fenced = self._count = 0
        self._log = structlog.get_logger().bind(job=JOB)
        self._seldom = Seldom()

    def take(self, partitions: Set[int]) -> None:
        gained = partitions - set(self._partitions)
        if gained:
            self._indexer.take_over(gained)  # where that fails they are gained at the next try
            self._looked = time.monotonic()
        self._partitions = sorted(partitions)

    def step(self) -> int:
        """Fold what there is, for a second or so; the number of entries that are in the index now."""
        until = time.monotonic() + _STEP_SECONDS
        self._count = 0
        try:
            wait_seconds = _WAIT_SECONDS
            while self._round(wait_seconds) and time.monotonic() < until:
                self._partitions.append(self._partitions.pop(0))  # another one begins the next round
                wait_seconds = 0.0
            self._settle()
            if not self._count:
                self._look_again()
        except BaseException:
            self._begun = None
            self._looked = 0.0  # that it goes again must be seen before it's said
            raise
        return self._count

    def _round(self, wait_seconds: float) -> bool:
        """Fold a batch of each partition that has one; whether any had."""
        if not self._partitions:
            return False
        log = self._ledger.log
        ready: Collection[int] = tuple(self._partitions)
        each_seconds = wait_seconds / len(ready)
        if isinstance(log, Waiting):
            offsets = {partition: self._indexer.position(partition).next_offset for partition in ready}
            ready, each_seconds = log.ready(offsets, wait_seconds=wait_seconds), 0.0
        return sum(self._fold(partition, each_seconds) for partition in ready) > 0

    def _fold(self, partition: int, wait_seconds: float) -> bool:
        """Fold a partition's next batch; whether there was one. The batch before it is in the index then."""
        began_ns, began = time.time_ns(), time.monotonic()
        batch = self._indexer.step_on(partition, wait_seconds=wait_seconds)
        if self._indexer.fenced > self._fenced:
            self._say_fenced(partition)
        if batch is None:
            return False
        before, self._begun = self._begun, _Begun(batch, began_ns, time.monotonic() - began)
        self._tell(before)
        return True

    def _settle(self) -> None:
        begun, self._begun = self._begun, None
        self._indexer.settle()
        self._tell(begun)

    def _say_fenced(self, partition: int) -> None:
        """Whatever was under way is dropped with what was fenced, and is read again."""
        metrics.FENCED.labels(JOB).inc(self._indexer.fenced - self._fenced)
        self._fenced = self._indexer.fenced
        self._begun = None
        offset = self._indexer.position(partition).next_offset
        self._log.info("another indexer was faster", partition=partition, offset=offset)

    def _tell(self, begun: _Begun | None) -> None:
        """Count, trace and log a batch that is in the index."""
        if begun is None:
            return
        verdicts = begun.batch.verdicts
        metrics.count_verdicts(verdicts)
        metrics.BATCH_SECONDS.labels(JOB).observe(begun.seconds)
        metrics.BATCH_ENTRIES.labels(JOB).observe(len(verdicts))
        for verdict in verdicts:
            if verdict.verdict == "malformed":
                self._say_malformed(verdict)
        if self._tracing is not None:
            self._tracing.tell(begun.batch, begun.began_ns, time.time_ns())
        where = {"partition": begun.batch.partition, "offset": begun.batch.read.next_offset - 1}
        self._log.debug("indexed", **where, entries=len(verdicts), seconds=round(begun.seconds, 4))
        self._count += len(verdicts)

    def _say_malformed(self, verdict: Verdict) -> None:
        held_back = self._seldom.may_say(verdict.code)
        if held_back is None:
            return
        where = {"partition": verdict.partition, "offset": verdict.offset}
        more = {"more_held_back": held_back} if held_back else {}
        self._log.warning("malformed entry", **where, code=verdict.code, reason=verdict.reason[:500], **more)

    def _look_again(self) -> None:
        """That nothing comes may mean that nobody is there: a log says so only when it is asked."""
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._indexer.look_again(self._partitions)
            self._looked = time.monotonic()

    def close(self) -> None:
        """Let what is being committed end, and close log and index."""
        try:
            self._settle()
        finally:
            self._ledger.close()
            if self._tracing is not None:
                self._tracing.close()


def open_job(settings: Settings) -> IndexerJob:
    """Open log and index, where each lies. Raises as those do."""
    ledger = settings.open()
    try:
        return IndexerJob(ledger, open_tracing(settings))
    except BaseException:
        ledger.close()
        raise
