"""One job of the fleet on its own thread: opens it, gives it its share, steps it, and waits out what may pass.

What passes by itself: a log or an index that can't be reached, a full disk, a lost race. It is said once when it
begins, again each time that the tries have doubled, and once when it's over. Anything else halts the job.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from typing import Literal, NamedTuple

import structlog

from consumers.jobs import Job, OpenJob
from consumers.operations import metrics
from consumers.settings import Settings
from consumers.share import Share, open_share
from ledger.errors import DiskFailed, Fenced, LedgerError, LogUnavailable

PASSING = (LogUnavailable, DiskFailed, OSError)
_FIRST_RETRY_SECONDS = 0.25
_LONGEST_RETRY_SECONDS = 30.0
_TRIES_IN_PLACE = 3
"""After so many failures in a row a job is opened anew, and its partitions are another's meanwhile."""
_SHARE_SECONDS = 0.5

Phase = Literal["opening", "joining", "working", "waiting", "stopped", "halted"]


class Standing(NamedTuple):
    """How a job is doing: for probes."""

    phase: Phase
    partitions: tuple[int, ...] = ()
    problem: str = ""

    @property
    def is_ready(self) -> bool:
        return self.phase == "working" and not self.problem


class Worker:
    """Runs one job until it is told to stop, or must halt."""

    def __init__(self, name: str, open_job: OpenJob, settings: Settings, stopping: threading.Event) -> None:
        self.name = name
        self.standing = Standing("opening")
        self.halted: BaseException | None = None
        self.beat = time.monotonic()
        self.is_opening = False
        """While a job opens, its worker doesn't come round: tables of an older version are made anew then."""
        self._open_job = open_job
        self._settings = settings
        self._stopping = stopping
        self._job: Job | None = None
        self._share: Share | None = None
        self._taken: frozenset[int] = frozenset()
        self._failures = 0
        self._failing_since = 0.0
        self._log = structlog.get_logger().bind(job=name)
        for metric in (metrics.FENCED, metrics.WAITING, metrics.PARTITIONS):
            metric.labels(name)  # zero is seen from the start
        self.thread = threading.Thread(target=self._run, name=f"job-{name}", daemon=True)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
            self.standing = Standing("stopped")
        except BaseException as error:
            self.halted = error
            self.standing = Standing("halted", (), str(error))
            metrics.ERRORS.labels(self.name, type(error).__name__).inc()
        finally:
            self._close()
            self.beat = time.monotonic()
            if self.halted is not None:
                self._stopping.set()

    def _turn(self) -> None:
        self.beat = time.monotonic()
        try:
            if not self._goes_on():
                return
        except Fenced as error:
            metrics.FENCED.labels(self.name).inc()
            self._log.info("another process was faster", problem=error.problem)
        except PASSING as error:
            self._wait_out(error)
            return
        self._said_over()

    def _goes_on(self) -> bool:
        """Open what isn't open, take the share, and do a step of it; whether the job itself got to work."""
        if self._job is None:
            self._job = self._opened()
        if self._share is None:
            self._share = open_share(self._settings, self.name)
        partitions = self._share.partitions()
        if partitions is None and not self._taken:
            self.standing = Standing("joining", (), self._share.problem)
            self._share.wait(_SHARE_SECONDS)
            return False
        if partitions is not None and partitions != self._taken:
            self._job.take(partitions)
            self._taken = partitions
            metrics.PARTITIONS.labels(self.name).set(len(partitions))
        self._job.step()
        self.standing = Standing("working", tuple(sorted(self._taken)), self._share.problem)
        if not self._taken:  # more members than partitions: a spare one, which ends what it began
            self._share.wait(_SHARE_SECONDS)
        return True

    def _opened(self) -> Job:
        if not self._failures:
            self.standing = Standing("opening")
        self.is_opening = True
        try:
            return self._open_job(self._settings)
        finally:
            self.beat = time.monotonic()
            self.is_opening = False

    def _wait_out(self, error: Exception) -> None:
        """Wait before the next try: longer each time, by chance more or less, so that a fleet doesn't come at once."""
        self._failures += 1
        if self._failures == 1:
            self._failing_since = time.monotonic()
        longest = min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, 10))
        seconds = longest * random.uniform(0.5, 1.0)
        metrics.ERRORS.labels(self.name, type(error).__name__).inc()
        metrics.WAITING.labels(self.name).set(1)
        self.standing = Standing("waiting", tuple(sorted(self._taken)), str(error))
        if self._failures & (self._failures - 1) == 0:
            self._log.warning("waiting", problem=str(error), tries=self._failures, next_try_seconds=round(seconds, 2))
        if self._failures >= _TRIES_IN_PLACE:
            self._close()
        self._stopping.wait(seconds)

    def _said_over(self) -> None:
        if self._failures:
            seconds = round(time.monotonic() - self._failing_since, 1)
            self._log.info("going on", tries=self._failures, after_seconds=seconds)
            metrics.WAITING.labels(self.name).set(0)
            self._failures = 0

    def _close(self) -> None:
        """Close the job, which finishes what it began, then give its partitions back."""
        job, share = self._job, self._share
        self._job = self._share = None
        self._taken = frozenset()
        metrics.PARTITIONS.labels(self.name).set(0)
        try:
            if job is not None:
                job.close()
        except (LedgerError, OSError) as error:
            self._log.warning("what was begun was not finished, and is read again", problem=str(error))
        except Exception as error:
            self._log.error("closing failed", exc_info=error)
        finally:
            if share is not None:
                with suppress(Exception):
                    share.close()
