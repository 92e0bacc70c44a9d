"""The publisher: the Python door to the ledger. It owns the deadline; the log's client never gives up by itself.

1. Each event is answered within its deadline: with its verdict, or with ``Unknown``.
2. A fact that is answered ``Unknown`` lies in the outbox before it is, unless its answer says that it could not be kept
   (``kept`` is false, and this process logs why); it is sent again, under the same id, until the log has it, by a later
   process too. A request is sent only while its caller waits: an old request is no new wish.
   (One that was handed to the log's client before its deadline may still be recorded later; the fold judges it.)
3. What an event marks as personal is sealed before the log or the outbox sees it, or the event is refused.
4. Memory is bounded: when the queue is full, ``submit`` waits, at most until the event's deadline.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

from ledger.errors import DiskFailed, LedgerError, LogUnavailable, WrongUsage
from ledger.log import Draft, Receipt
from ledger.outbox import Outbox
from ledger.parcels import Answers, Deadlines, Lane, Parcel, answer_all
from ledger.resending import LOST_SECONDS, Resender
from ledger.sealing import Sealing
from ledger.sending import Answer, Outcome, Publishable, Sending, sending_of
from ledger.verdict import Verdict

_LOG = logging.getLogger("pauseledger.publisher")

T = TypeVar("T")

BATCH_EVENTS = 2_000
QUEUED_EVENTS = 5_000
_LOOK_AGAIN_SECONDS = 0.1
_LONGEST_BACKOFF_SECONDS = 2.0
_RESEND_SECONDS = 1.0

Sent = tuple[Sending, "Future[Receipt]"]
"""What was handed to the log, and what the log will say."""


class Court(Protocol):
    """A log, and the way from a receipt to a verdict. Used by one thread."""

    partitions: int

    def record(self, drafts: Sequence[Draft]) -> Sequence[Future[Receipt]]:
        """Put drafts on the log; see ``Log.append``."""
        ...

    def judge(self, recorded: Sequence[tuple[Receipt, Sending]]) -> Sequence[Verdict]:
        """The verdicts of recorded entries, in order. Raises ``LogUnavailable`` when they can't be had now."""
        ...

    def rest(self, *, idle: bool) -> None:
        """Do what can wait until events have been answered; ``idle`` where none is waiting now."""
        ...

    def close(self) -> None: ...


class Publisher:
    """Publishes events and answers with their verdicts. Thread-safe; a context manager.

    ``open_court`` opens the log when the first thread needs it, again and again while it is unavailable. Any other
    ``LedgerError`` of it ends the publisher: every call raises it. ``sealing`` may have to wait for its keys,
    before an event's deadline begins; without one, events with personal data are refused. The publisher is of the
    process that made it: after an ``os.fork`` its threads are not there, and every call raises ``WrongUsage``.
    """

    def __init__(
        self,
        open_court: Callable[[], Court],
        *,
        outbox: Outbox | None = None,
        sealing: Sealing | None = None,
        deadline_seconds: float = 30.0,
        queued_events: int = QUEUED_EVENTS,
    ) -> None:
        self.deadline_seconds = deadline_seconds
        self._process = os.getpid()
        self._open_court = open_court
        self._outbox = outbox
        self._sealing = Sealing() if sealing is None else sealing
        self._resender = None if outbox is None else Resender(outbox)
        self._resending = False
        self._resend_at = 0.0
        self._lane = Lane(queued_events)
        self._fatal: LedgerError | None = None
        self._answering = threading.Lock()
        self._deadlines = Deadlines(self._expired, most=4 * queued_events)
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._worker = threading.Thread(target=self._work, name="pauseledger-publisher", daemon=True)
        self._worker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, event: Publishable, *, deadline_seconds: float | None = None) -> Answer:
        """Publish one event and wait for its answer, at most until its deadline.

        Raises ``WrongUsage`` for what is no event at all, and whatever made the log unusable.
        """
        return self.submit(event, deadline_seconds=deadline_seconds).result()

    def submit(self, event: Publishable, *, deadline_seconds: float | None = None) -> Future[Answer]:
        """Publish one event; the future of its answer, there by the deadline. Waits while the queue is full."""
        return self._submitted([event], deadline_seconds, many=False)

    def submit_all(self, events: Iterable[Publishable], *, deadline_seconds: float | None = None) -> Answers:
        """Publish many events in order, with one deadline; the future of what became of each, there by the deadline.

        An event that can never be recorded has its error in the place of an answer. Raises ``WrongUsage``
        where one is no event at all: then none of them is sent.
        """
        return cast(Answers, self._submitted(events, deadline_seconds, many=True))

    def _submitted(self, events: Iterable[Publishable], deadline_seconds: float | None, *, many: bool) -> Future[Any]:
        self._see_that_it_is_ours()
        if self._fatal is not None:
            raise self._fatal
        if self._closing.is_set():
            raise _closed()
        seconds = self.deadline_seconds if deadline_seconds is None else deadline_seconds
        if not seconds >= 0:  # not even NaN
            raise WrongUsage(f"A deadline in {seconds} s can't be kept.", "Give 0 seconds or more.")
        sendings = [sending_of(event, self._sealing) for event in events]
        parcel = Parcel(sendings, time.monotonic() + seconds, many=many)
        future = parcel.future
        if not sendings:
            parcel.tell()
            return future
        if not self._deadlines.add(parcel):
            raise _closed()
        while not self._lane.put(parcel, wait_seconds=min(seconds, _LOOK_AGAIN_SECONDS)):
            if future.done():
                break
        return future

    @property
    def trouble(self) -> LedgerError | None:
        """The error that ended the publisher, and that every call raises; null while it works."""
        return self._fatal

    @property
    def waiting(self) -> int:
        """How many facts lie in the outbox for this log."""
        self._see_that_it_is_ours()  # no database outlives a fork either
        return 0 if self._outbox is None else len(self._outbox)

    def close(self) -> None:
        """Answer all that was submitted, at the latest by its deadline, and stop. Nothing in the outbox is lost.

        In a process that was forked it does nothing: it is its parent's to close.
        """
        if self._closing.is_set() or os.getpid() != self._process:
            return
        self._closing.set()
        self._lane.wake()
        self._deadlines.wait_until_answered()
        self._abandoned.set()
        self._worker.join(timeout=5.0)
        self._deadlines.close()
        self._expired([one for parcel in self._deadlines.unanswered() for one in parcel.sendings])
        if self._outbox is not None and not self._worker.is_alive():
            self._outbox.close()
        self._sealing.close()

    def _see_that_it_is_ours(self) -> None:
        if os.getpid() != self._process:
            problem = f"This publisher is another process's, {self._process}: its threads did not come along."
            raise WrongUsage(problem, "Open one of its own in each process, after the fork.")

    # -- answers ------------------------------------------------------------------------------------

    def _answer(self, answers: Sequence[tuple[Sending, Outcome]]) -> list[Sending]:
        """Answer events, unless they were answered before: those are returned."""
        return answer_all(answers, self._answering)

    def _expired(self, sendings: Sequence[Sending]) -> None:
        """The deadline of events has passed: facts go to the outbox first, then all are answered.

        Where the outbox can't take them, nobody knows their fate all the same: an error would say that they are not on
        the log. Their answer says that they are not kept.
        """
        late = [one for one in sendings if one.outcome is None]
        facts = [one for one in late if not one.is_request and one.entry is None]
        if self._outbox is not None and facts:
            try:
                numbers = self._outbox.put([(one.subject, one.value, one.headers) for one in facts])
            except LedgerError as error:
                _LOG.error("%d facts of unknown fate can't be kept: %s", len(facts), error)
            else:
                for one, number in zip(facts, numbers, strict=True):
                    one.kept_as = number
        self._settle(self._answer([(one, one.unknown()) for one in late]))

    def _settle(self, sendings: Sequence[Sending]) -> None:
        """The log has these events: the outbox need not keep them any longer. What it keeps is only sent twice."""
        numbers = [one.kept_as for one in sendings if one.kept_as is not None and one.entry is not None]
        if self._outbox is not None and numbers:
            with suppress(LedgerError):
                self._outbox.remove(numbers)

    # -- the worker's thread ------------------------------------------------------------------------

    def _work(self) -> None:
        court: Court | None = None
        try:
            court = self._patiently(self._open_court)
            while court is not None and not self._abandoned.is_set():
                if not self._step(court):
                    break
        except LedgerError as error:
            self._end(error)
        except Exception as error:  # a bug of ours must not leave callers waiting
            self._end(LedgerError(f"The publisher failed: {error!r}."))
        finally:
            if court is not None:
                with suppress(Exception):  # everybody has been answered: nobody is left to be told
                    court.close()

    def _end(self, error: LedgerError) -> None:
        self._fatal = error
        for parcel in self._deadlines.unanswered():
            self._answer([(one, error) for one in parcel.sendings])

    def _step(self, court: Court) -> bool:
        """Send the next batch, and now and then what the outbox holds; whether to go on.

        Whoever was answered can't run before this thread waits again: what is not urgent is left until then.
        """
        batch = self._lane.take(BATCH_EVENTS, wait_seconds=_LOOK_AGAIN_SECONDS if self._resending else _RESEND_SECONDS)
        if batch:
            self._send(court, batch)
        self._rest(court, idle=not batch)
        if self._lane.is_empty and (not batch or time.monotonic() >= self._resend_at):
            self._resending = self._resend(court)
            self._resend_at = time.monotonic() + (_LOOK_AGAIN_SECONDS if self._resending else _RESEND_SECONDS)
        return not (self._closing.is_set() and self._lane.is_empty)

    def _send(self, court: Court, batch: Sequence[Sending]) -> None:
        """Record a batch, and judge it as far as the log has it.

        What is answered on the way, at its deadline, is not sent once more.
        """

        def record() -> list[Sent]:
            wanted = [one for one in batch if not one.is_answered]
            return list(zip(wanted, _put(court, [one.draft(court.partitions) for one in wanted]), strict=True))

        for sent in self._recorded(self._patiently(record, while_wanted=batch) or ()):
            recorded = self._noted(sent)
            self._settle([one for _, one in recorded])
            self._judge(court, recorded)

    def _judge(self, court: Court, recorded: Sequence[tuple[Receipt, Sending]]) -> None:
        """Answer what the log has with its verdicts, while somebody waits for them."""
        if not recorded:
            return
        wanted = [one for _, one in recorded]
        verdicts = self._patiently(lambda: court.judge(recorded), while_wanted=wanted)
        self._answer(list(zip(wanted, verdicts or (), strict=False)))

    def _noted(self, sent: Sequence[Sent]) -> list[tuple[Receipt, Sending]]:
        """What the log has recorded, which is kept with each; what it never will is answered with why."""
        recorded = []
        for sending, future in sent:
            error = future.exception()
            if error is None:
                receipt = future.result()
                sending.entry = (receipt.partition, receipt.offset)
                recorded.append((receipt, sending))
            else:
                self._answer([(sending, error if isinstance(error, LedgerError) else LogUnavailable(str(error)))])
        return recorded

    def _recorded(self, sent: Sequence[Sent]) -> Iterator[Sequence[Sent]]:
        """What was sent, as the log answers, until it has answered all; an end too when the publisher was closed.

        A log never fails a future whose record may yet arrive (``ledger/log.py``, rule 1), so one that its client has
        lost stays open for ever. It must not hold up those behind it for ever too: when nobody has waited for any of
        them for a while, they are left to the log and to the outbox.
        """
        if all(future.done() for _, future in sent):  # as an embedded log answers
            yield sent
            return
        left, given_up = list(sent), None
        while left and not self._abandoned.is_set():
            done, _ = wait([future for _, future in left], timeout=_LOOK_AGAIN_SECONDS)
            if done:
                given_up = None
                yield [pair for pair in left if pair[1] in done]
                left = [pair for pair in left if pair[1] not in done]
            elif all(one.is_answered for one, _ in left):
                given_up = given_up or time.monotonic() + LOST_SECONDS
                if time.monotonic() > given_up:
                    return

    def _rest(self, court: Court, *, idle: bool) -> None:
        with suppress(LogUnavailable):  # it can wait
            court.rest(idle=idle)

    def _resend(self, court: Court) -> bool:
        """Send on what the outbox holds; whether something of it is on its way."""
        if self._resender is None or self._abandoned.is_set():
            return False
        with suppress(LogUnavailable, DiskFailed):  # what is published next is told of it
            return self._resender.step(lambda drafts: _put(court, drafts), court.partitions)
        return False

    def _patiently(self, action: Callable[[], T], while_wanted: Sequence[Sending] | None = None) -> T | None:
        """Try until the log is there; null when nobody waits any more."""
        pause = 0.05
        while not self._abandoned.is_set():
            try:
                return action()
            except LogUnavailable:
                if while_wanted is not None and all(one.is_answered for one in while_wanted):
                    return None
            self._abandoned.wait(pause)
            pause = min(2 * pause, _LONGEST_BACKOFF_SECONDS)
        return None


def _closed() -> WrongUsage:
    return WrongUsage("The publisher is closed.", "Open another.")


def _put(court: Court, drafts: Sequence[Draft]) -> Sequence[Future[Receipt]]:
    """Record drafts. A batch that the log refuses is put one by one, so that one event spoils only itself."""
    try:
        return court.record(drafts)
    except WrongUsage as error:
        if len(drafts) > 1:
            return [future for draft in drafts for future in _put(court, [draft])]
        refused: Future[Receipt] = Future()
        refused.set_exception(error)
        return [refused]
