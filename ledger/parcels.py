"""Parcels: events that were submitted together, the lane in which they wait to be sent, and their deadlines."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import Any

from ledger.errors import LedgerError
from ledger.sending import Outcome, Sending

_LONGEST_WAIT_SECONDS = 3_600.0


class Answers(Future[list[Outcome]]):
    """The future of what becomes of many events, in order."""

    sendings: Sequence[Sending] = ()

    def so_far(self) -> list[Outcome]:
        """What became of the first of them, up to one of which nothing is known yet."""
        sendings = self.sendings  # first: they are let go when all is known
        if self.done():
            return self.result()
        outcomes: list[Outcome] = []
        for sending in sendings:
            if sending.outcome is None:
                break
            outcomes.append(sending.outcome)
        return outcomes


class Parcel:
    """Events with one deadline and one future, which is told when the last of them is answered.

    ``future`` gets the outcome of the one event or, of ``many``, the list of all, in order.
    """

    __slots__ = ("count", "deadline", "future", "sendings", "unanswered")

    def __init__(self, sendings: Sequence[Sending], deadline: float, *, many: bool) -> None:
        self.sendings = sendings
        self.count = self.unanswered = len(sendings)
        self.deadline = deadline
        self.future: Future[Any] = Answers() if many else Future()
        if isinstance(self.future, Answers):
            self.future.sendings = sendings
        for sending in sendings:
            sending.parcel = self

    def tell(self) -> None:
        """Every event has its outcome. The events are let go, which hold on to their parcel, and so is the future:
        a parcel may be kept until its deadline.
        """
        outcomes = [one.outcome for one in self.sendings if one.outcome is not None]
        future, self.future, self.sendings = self.future, _TOLD, ()
        with suppress(InvalidStateError):  # cancelled meanwhile
            if isinstance(future, Answers):
                future.set_result(outcomes)
                future.sendings = ()
            elif isinstance(outcomes[0], LedgerError):
                future.set_exception(outcomes[0])
            else:
                future.set_result(outcomes[0])


_TOLD: Future[Any] = Future()
_TOLD.set_result(None)


def answer_all(answers: Sequence[tuple[Sending, Outcome]], answering: threading.Lock) -> list[Sending]:
    """Answer events, and tell their parcels; the events that had been answered before."""
    before, complete = [], []
    with answering:
        for sending, outcome in answers:
            if sending.outcome is not None:
                before.append(sending)
                continue
            sending.outcome = outcome
            parcel = sending.parcel
            parcel.unanswered -= 1
            if not parcel.unanswered:
                complete.append(parcel)
    for parcel in complete:
        parcel.tell()
    return before


class Lane:
    """Parcels that wait to be sent. When it holds so many events, no parcel comes in."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parcels: deque[Parcel] = deque()
        self._events = 0
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._woken = False

    def put(self, parcel: Parcel, *, wait_seconds: float) -> bool:
        """Take a parcel in, whatever its size, after waiting until there is room; false where there was none."""
        with self._room:
            if self._events >= self._most:
                self._room.wait(wait_seconds)
                if self._events >= self._most:
                    return False
            self._parcels.append(parcel)
            self._events += parcel.count
            self._filled.notify()
        return True

    def take(self, most: int, *, wait_seconds: float) -> list[Sending]:
        """The events to be sent next, whole parcels, some ``most``; none when nothing came in time or it was woken."""
        batch: list[Sending] = []
        with self._filled:
            if not self._parcels and not self._woken:
                self._filled.wait(wait_seconds)
            while self._parcels and len(batch) < most:
                parcel = self._parcels.popleft()
                self._events -= parcel.count
                if not parcel.future.done():
                    batch += parcel.sendings
            self._room.notify_all()
        return batch

    def wake(self) -> None:
        """Wait for nothing any more."""
        with self._filled:
            self._woken = True
            self._filled.notify_all()

    @property
    def is_empty(self) -> bool:
        return not self._parcels


class Deadlines:
    """Calls back when deadlines have passed, on a thread of its own. It keeps at most so many answered parcels."""

    def __init__(self, expired: Callable[[Sequence[Sending]], None], *, most: int) -> None:
        self._expired = expired
        self._most = most
        self._heap: list[tuple[float, int, Parcel]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="pauseledger-deadlines", daemon=True)
        self._thread.start()

    def add(self, parcel: Parcel) -> bool:
        """Watch a parcel; false where this is closed."""
        with self._changed:
            if self._closed:
                return False
            earlier = not self._heap or parcel.deadline < self._heap[0][0]
            heapq.heappush(self._heap, (parcel.deadline, next(self._count), parcel))
            if len(self._heap) > self._most:
                self._forget_answered()
            if earlier:
                self._changed.notify()
        return True

    def _forget_answered(self) -> None:
        self._heap = [one for one in self._heap if not one[2].future.done()]
        heapq.heapify(self._heap)
        self._most = max(self._most, 2 * len(self._heap))

    def unanswered(self) -> list[Parcel]:
        with self._changed:
            return [one[2] for one in self._heap if not one[2].future.done()]

    def wait_until_answered(self) -> None:
        """Return when every event has its answer."""
        for parcel in self.unanswered():
            with suppress(CancelledError):
                parcel.future.exception()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                now = time.monotonic()
                due = []
                while self._heap and self._heap[0][0] <= now:
                    due.append(heapq.heappop(self._heap)[2])
                if not due:
                    self._changed.wait(min(self._heap[0][0] - now, _LONGEST_WAIT_SECONDS) if self._heap else None)
                    continue
            if late := [sending for one in due if not one.future.done() for sending in one.sendings]:
                self._expired(late)
