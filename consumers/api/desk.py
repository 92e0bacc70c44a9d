"""Desks: threads that answer questions, each with a log and an index of its own, opened by itself.

1. A question is answered from an index that holds all that the log held when it was asked: whoever has published sees
   what he published. One look at the log's end serves all questions that waited when it began.
2. What fails a question only (no such pause) fails that one; whatever else goes wrong closes the ledger, to be opened
   again for the next question. So a log that comes back, or an index that was rebuilt, is taken up without a restart.
3. A desk without questions follows the log, so that there is little left to do when one comes; and now and then it
   looks whether the log is still the one that was read.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from consumers.api.problems import Problem
from consumers.indexer import Indexer
from consumers.settings import Ledger, Settings
from ledger.errors import Fenced, LedgerError, LogUnavailable, NotFound, UnusableLog, WrongUsage

T = TypeVar("T")

FOLLOW_SECONDS = 1.0
RECOGNISE_SECONDS = 10.0
_TRIES = 3
_MOST_AT_ONCE = 64
_OPEN_AGAIN_SECONDS = 1.0


class _Question(NamedTuple):
    ask: Callable[[Ledger], Any]
    future: asyncio.Future[Any]


class Standing(NamedTuple):
    """How a desk is: when it was last up to the log (monotonic seconds), how far behind it was then, what is wrong."""

    seen_at: float
    behind: int
    trouble: LedgerError | None


class Desk:
    """One thread that reads. :meth:`ask` from any event loop; everything else inside is that thread's own."""

    def __init__(self, settings: Settings, name: str, *, tells_each: bool = False) -> None:
        """``tells_each``: a question may be slow, so its answer must not hold up those that were made before it."""
        self.standing = Standing(float("-inf"), 0, None)
        self._settings = settings
        self._tells_each = tells_each
        self._questions: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._closed = False
        self._ledger: Ledger | None = None
        self._has_opened = False
        self._recognised_at = 0.0
        self._failed_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name=f"pauseledger-{name}", daemon=True)
        self._thread.start()

    async def ask(self, ask: Callable[[Ledger], T], *, seconds: float) -> T:
        """What ``ask`` makes of the ledger, caught up. Raises what it raises, a ``Problem`` when it takes too long."""
        if self._closed:
            raise Problem("shutting-down", "The server is shutting down.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._questions.put(_Question(ask, future))
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise Problem("not-caught-up", f"The index has not caught up with the log within {seconds:g} s.") from None

    def close(self) -> None:
        """Refuse what comes, and end; what waits is refused, too."""
        self._closed = True
        self._questions.put(None)
        self._thread.join(timeout=10.0)

    # -- the desk's thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            questions = self._next()
            if self._closed:
                _tell([(one, Problem("shutting-down", "The server is shutting down.")) for one in questions])
                break
            self._serve(questions)
        self._let_go()

    def _next(self) -> list[_Question]:
        """The questions that wait; none when nobody has asked for a while."""
        with suppress(queue.Empty):
            found = [self._questions.get(timeout=FOLLOW_SECONDS)]
            with suppress(queue.Empty):
                while len(found) < _MOST_AT_ONCE:
                    found.append(self._questions.get_nowait())
            return [one for one in found if one is not None]
        return []

    def _serve(self, questions: list[_Question]) -> None:
        """Catch up once, then answer all; who does not wait any more is not answered."""
        trouble = self.standing.trouble
        if self._ledger is None and trouble and time.monotonic() - self._failed_at < _OPEN_AGAIN_SECONDS:
            _tell([(one, trouble) for one in questions])  # nobody waits long for a log that was away a moment ago
            return
        try:
            ledger = self._caught_up()
        except Exception as error:
            if isinstance(error, WrongUsage | NotFound):  # the server's settings are wrong, and not who asks
                error = UnusableLog(error.problem, error.advice)
            self._failed(error)
            _tell([(one, error) for one in questions])
            return
        answers: list[tuple[_Question, Any]] = []
        for one in questions:
            if not one.future.cancelled():
                answers.append((one, self._answer(ledger, one)))
                if self._tells_each:
                    _tell(answers)
                    answers = []
        _tell(answers)

    def _answer(self, ledger: Ledger, question: _Question) -> Any:
        for turn in range(_TRIES):
            try:
                return question.ask(ledger)
            except Fenced as error:  # the index was emptied while it was read
                if turn == _TRIES - 1:
                    return error
                with suppress(LedgerError):
                    ledger.indexer.catch_up()
            except (Problem, NotFound, WrongUsage) as error:
                return error
            except Exception as error:
                self._failed(error)
                return error
        return None

    def _caught_up(self) -> Ledger:
        now = time.monotonic()
        if self._ledger is None:
            # Once only: a log that is gone later was moved away, and an empty one in its place would be a lie.
            self._ledger = self._settings.open(create=not self._has_opened)
            self._has_opened = True
            self._recognised_at = now
        elif now - self._recognised_at > RECOGNISE_SECONDS:
            Indexer(self._ledger.log, self._ledger.index)  # raises where the log is another one
            self._recognised_at = now
        self._ledger.indexer.catch_up(self._progress)
        self.standing = Standing(now, 0, None)
        return self._ledger

    def _progress(self, _: int) -> None:
        if self._closed:
            raise LogUnavailable("The server is shutting down.", "Try again.")
        if self._ledger is not None and time.monotonic() - self.standing.seen_at > FOLLOW_SECONDS:
            self.standing = self.standing._replace(behind=self._ledger.indexer.entries_ahead())

    def _failed(self, error: Exception) -> None:
        known = error if isinstance(error, LedgerError) else LedgerError(f"The desk failed: {error!r}.")
        self.standing = self.standing._replace(trouble=known)
        self._failed_at = time.monotonic()
        self._let_go()

    def _let_go(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            with suppress(Exception):  # it failed before: nothing here is worth more than opening it anew
                ledger.close()


def _tell(answers: list[tuple[_Question, Any]]) -> None:
    """Hand answers to the event loop, all at once: to wake it costs more than a short answer."""
    if answers:
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            answers[0][0].future.get_loop().call_soon_threadsafe(_resolve, answers)


def _resolve(answers: list[tuple[_Question, Any]]) -> None:
    for question, answer in answers:
        if question.future.done():
            continue
        if isinstance(answer, Exception):
            question.future.set_exception(answer)
        else:
            question.future.set_result(answer)
