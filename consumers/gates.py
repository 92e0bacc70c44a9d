"""A gate on a ledger named by its addresses: publisher, outbox and a reader of what the ledger says now."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from consumers.publishing import open_publisher
from consumers.settings import Ledger, Settings
from ledger.errors import Fenced, LogUnavailable, NotFound, WrongUsage
from ledger.packet import WorkItem
from ledger.partitions import partition_of
from ledger.runtimes.gate import Gate, Who
from projections.answers import decision_answer, packet_answer, work_item_answer

T = TypeVar("T")
_TRIES = 3
_WAITING = 256
_CLOSING_SECONDS = 5.0


class LedgerReader:
    """Reads work items as they are now: the index is brought up to the log's end first. Thread-safe.

    A thread of its own reads, one question at a time, so that nobody waits for longer than ``seconds``, whatever a log
    or a database does meanwhile: then it is ``LogUnavailable``, and so it is at once where too many wait already. The
    ledger is opened at the first question, and again after an error. In a process that was made by ``os.fork`` the
    thread is not there, and every question raises ``WrongUsage``.
    """

    def __init__(self, settings: Settings, *, seconds: float = 10.0) -> None:
        self._settings = settings
        self._seconds = seconds
        self._questions: queue.Queue[tuple[Future[Any], Callable[[], Any]] | None] = queue.Queue(_WAITING)
        self._ledger: Ledger | None = None
        self._closed = False
        self._door = threading.Lock()
        """Nothing is asked after the end: it would never be answered."""
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="pauseledger-gate", daemon=True)
        self._thread.start()

    def packet(self, subject: str, pause: str) -> dict[str, Any]:
        return self._answered(subject, lambda item: packet_answer(item, subject, pause))

    def decision(self, subject: str, pause: str) -> dict[str, Any]:
        return self._answered(subject, lambda item: decision_answer(item, subject, pause, now=datetime.now(UTC)))

    def work_item(self, subject: str) -> dict[str, Any]:
        return self._answered(subject, lambda item: work_item_answer(item, subject))

    def item(self, subject: str) -> WorkItem | None:
        """The work item itself; null where nothing is known of it."""
        return self._answered(subject, lambda item: item)

    def close(self) -> None:
        """Close log and index; what is being read is waited for a little. In a forked process it does nothing."""
        if os.getpid() != self._process:
            return
        with self._door, suppress(queue.Full):  # then the thread has something to wake for, and sees that it is over
            self._closed = True
            self._questions.put_nowait(None)
        self._thread.join(timeout=_CLOSING_SECONDS)

    def _answered(self, subject: str, answer: Callable[[WorkItem | None], T]) -> T:
        if os.getpid() != self._process:
            problem = "This reader of the ledger was opened in another process, before a fork."
            raise WrongUsage(problem, "Open a gate of its own in each process, after the fork.")
        future: Future[T] = Future()
        try:
            with self._door:
                self._see_that_it_is_open()
                self._questions.put_nowait((future, lambda: self._read(subject, answer)))
        except queue.Full:
            problem = f"The ledger could not be read: {_WAITING} questions wait already."
            raise LogUnavailable(problem, "See that log and index can be reached, and ask again later.") from None
        try:
            return future.result(self._seconds)
        except TimeoutError:
            future.cancel()  # one that has not begun need not begin
            problem = f"The ledger could not be read within {self._seconds:g} s."
            raise LogUnavailable(problem, "See that log and index can be reached.") from None

    # -- the reader's thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            self._reply(*question)
            if self._closed and self._questions.empty():  # it was full, so that the end itself had no room
                break
        with suppress(Exception):
            self._close()

    def _reply(self, future: Future[Any], read: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            self._see_that_it_is_open()  # those who waited when it was closed need not wait for it
            future.set_result(read())
        except BaseException as error:
            future.set_exception(error)

    def _see_that_it_is_open(self) -> None:
        if self._closed:
            raise LogUnavailable("This reader of the ledger is closed.", "Open another gate.")

    def _read(self, subject: str, answer: Callable[[WorkItem | None], T]) -> T:
        for _ in range(_TRIES):
            try:
                return answer(self._caught_up(subject))
            except Fenced:  # the index was emptied this moment
                self._close()
            except NotFound:
                raise
            except Exception:
                self._close()
                raise
        raise LogUnavailable("The index is being rebuilt.", "Try again.")

    def _caught_up(self, subject: str) -> WorkItem | None:
        if self._ledger is None:
            self._ledger = self._settings.open(create=True)
        indexer = self._ledger.indexer
        indexer.catch_up_partition(partition_of(subject, indexer.identity.partitions))
        return self._ledger.index.work_item(subject)

    def _close(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()


@contextmanager
def open_gate(
    log_url: str | None = None,
    *,
    index_url: str | None = None,
    outbox: str | Path | None = None,
    source: str,
    actor: str | None = None,
    roles: tuple[str, ...] = (),
    deadline_seconds: float = 10.0,
    reader: LedgerReader | None = None,
) -> Iterator[Gate]:
    """A gate on ``PAUSELEDGER_LOG`` (or ``log_url``); see :func:`consumers.publishing.open_publisher` for the others.

    ``source`` names this runtime on the ledger; ``actor`` and ``roles`` are whose doing everything is unless another is
    named; ``reader`` is one that is open already, and stays so. Raises ``WrongUsage`` for an address that can't be
    meant; a log that can't be reached keeps the gate shut.
    """
    with ExitStack() as stack:
        publisher = stack.enter_context(
            open_publisher(log_url, index_url=index_url, outbox=outbox, deadline_seconds=deadline_seconds)
        )
        if reader is None:
            reader = LedgerReader(Settings.read(log_url, index_url), seconds=deadline_seconds)
            stack.callback(reader.close)
        yield Gate(publisher, reader, source=source, who=Who(actor, roles), deadline_seconds=deadline_seconds)
