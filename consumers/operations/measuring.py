"""Measures how far the index is behind the log, what its pauses' branches are, and what is owed.

On a thread and with connections of its own, so that a job that hangs is seen by its lag. All partitions are measured by
every process: where a fleet is dead but for one, that one tells of all. What can't be measured is tried again; how old
the figures are is a metric of its own.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import structlog

from consumers.operations import metrics
from consumers.settings import Settings
from ledger.branch_table import TABLE
from ledger.errors import LedgerError
from ledger.index import Index
from ledger.log import Log
from ledger.times import format_instant
from projections.undecided import expired_undecided

_RARER = 100
"""A question that took a second is asked again after so many: it costs at most a hundredth of a processor."""
_READ_SECONDS = 2.0
_DECISIONS = "SELECT decision, COUNT(*) FROM decisions GROUP BY decision"
_DEBTS = "SELECT COUNT(*), COUNT(CASE WHEN debt_due <= '{now}' THEN 1 END) FROM deadlines WHERE debt_since IS NOT NULL"


class Measuring:
    """The thread that measures."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._opened: tuple[Log, Index] | None = None
        self._ask_again = 0.0
        self._thread = threading.Thread(target=self._run, name="measuring", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; an answer that it waits for is not waited for here."""
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.measure()
            except (LedgerError, OSError) as error:
                structlog.get_logger().debug("not measured", problem=str(error))
                self._close()
            except Exception as error:
                structlog.get_logger().error("measuring failed", exc_info=error)
                self._close()
            self._stop.wait(self._settings.measure_seconds)
        self._close()

    def measure(self) -> None:
        """Measure once. Raises what keeps it from that."""
        if self._opened is None:
            log = self._settings.open_log()
            try:
                self._opened = log, self._settings.open_index()
            except BaseException:
                log.close()
                raise
        log, index = self._opened
        self._measure_lag(log, index)
        now = time.monotonic()
        if now >= self._ask_again:
            self._measure_index(index)
            self._ask_again = now + (time.monotonic() - now) * _RARER
        metrics.MEASURED.set(time.time())

    def _measure_lag(self, log: Log, index: Index) -> None:
        positions = index.recorder.positions()
        for partition, (_, end) in enumerate(log.all_bounds()):
            next_offset = positions[partition].next_offset if partition in positions else 0
            behind = max(0, end - next_offset)
            metrics.LAG_ENTRIES.labels(partition).set(behind)
            metrics.LAG_SECONDS.labels(partition).set(_waited(log, partition, next_offset) if behind else 0.0)

    def _measure_index(self, index: Index) -> None:
        counted = dict(index.recorder.select(_DECISIONS))
        for decision in {*(row.decision for row in TABLE), "closed", *counted}:
            metrics.DECISIONS.labels(decision).set(counted.get(decision, 0))
        now = datetime.now(UTC)
        [(owed, overdue)] = index.recorder.select(_DEBTS.format(now=format_instant(now)))
        metrics.DEBTS.labels("open").set(owed)
        metrics.DEBTS.labels("overdue").set(overdue)
        metrics.EXPIRED_UNDECIDED.set(expired_undecided(index, now))

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        for one in opened or ():
            _close_quietly(one)


def _waited(log: Log, partition: int, offset: int) -> float:
    """How many seconds ago the first record from an offset on was recorded; 0 where there is none after all."""
    found = log.read(partition, offset, most=1, wait_seconds=_READ_SECONDS)
    return max(0.0, time.time() - found.records[0].recorded_at / 1000) if found.records else 0.0


def _close_quietly(one: Any) -> None:
    try:
        one.close()
    except Exception as error:
        structlog.get_logger().debug("closing failed", exc_info=error)
