"""``pauseledger run``: several jobs in one process, a thread each; they end together.

SIGTERM and SIGINT drain: no new batch is begun, the one under way is committed, the groups are left. A second signal
ends the process at once, which loses nothing either: what wasn't committed is read again by whoever goes on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import FrameType

import structlog

from consumers.jobs import OpenJob
from consumers.settings import Settings
from consumers.worker import Worker
from ledger.errors import LedgerError

_LOOK_SECONDS = 0.1


class Fleet:
    """The jobs of one process."""

    def __init__(self, settings: Settings, jobs: Mapping[str, OpenJob]) -> None:
        self.settings = settings
        self.stopping = threading.Event()
        self.workers = [Worker(name, open_job, settings, self.stopping) for name, open_job in jobs.items()]
        self._log = structlog.get_logger()
        self._signals = 0

    def run(self) -> int:
        """Run until a signal, or until a job must halt; the process's exit code. On the main thread only."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for worker in self.workers:
                worker.thread.start()
            while not self.stopping.is_set():
                self.stopping.wait(_LOOK_SECONDS)
            return self._drained()
        finally:
            for number, action in before.items():
                signal.signal(number, action)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            os._exit(128 + number)
        self.stopping.set()

    def _drained(self) -> int:
        """Wait for the jobs to finish what they began, and say how each ended."""
        began = time.monotonic()
        self._log.info("draining", seconds=self.settings.drain_seconds)
        for worker in self.workers:
            left = began + self.settings.drain_seconds - time.monotonic()
            worker.thread.join(max(left, 0.0))
        late = [worker.name for worker in self.workers if worker.thread.is_alive()]
        halted = [worker for worker in self.workers if worker.halted is not None]
        for worker in halted:
            self._say_halted(worker)
        if late:
            self._log.error("not drained in time: what was under way is read again", jobs=late)
            _flush()
            os._exit(1)  # a thread that hangs would keep the interpreter from ending
        if not halted:
            self._log.info("stopped", after_seconds=round(time.monotonic() - began, 2))
        return 1 if halted else 0

    def _say_halted(self, worker: Worker) -> None:
        error = worker.halted
        if isinstance(error, LedgerError):
            kind = type(error).__name__
            self._log.error("halted", job=worker.name, error=kind, problem=error.problem, advice=error.advice)
        else:
            self._log.error("halted by a fault of this program", job=worker.name, exc_info=error)


def _flush() -> None:
    sys.stderr.flush()
    sys.stdout.flush()


def run_fleet(
    settings: Settings, jobs: Mapping[str, OpenJob], beside: Sequence[Callable[[Fleet], Callable[[], None]]] = ()
) -> int:
    """Run jobs, and beside them what is started with the fleet and stopped by what it returns; the exit code."""
    fleet = Fleet(settings, jobs)
    with ExitStack() as stack:
        for start in beside:
            stack.callback(start(fleet))
        return fleet.run()
