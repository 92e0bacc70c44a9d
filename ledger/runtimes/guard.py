"""The guard: what the effect itself is done in, and the only place where anything acts."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ContextDecorator, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ledger.errors import LedgerError, WrongUsage
from ledger.events import SideEffect
from ledger.runtimes.shut import Shut
from ledger.times import parse_instant
from ledger.verdict import Verdict

if TYPE_CHECKING:
    from ledger.runtimes.gate import Gate, Grant

_LOG = logging.getLogger("pauseledger.gate")

T = TypeVar("T")


class Unfinished(WrongUsage):
    """The effect came back with something that has yet to run: nobody can tell whether it is done. No proof of it."""


def eager(effect: Callable[..., Any]) -> None:
    """Raises ``WrongUsage`` for a generator function: what it does is done after the guard has told of it, or never."""
    if inspect.isgeneratorfunction(effect) or inspect.isasyncgenfunction(effect):
        raise WrongUsage(
            f"{effect!r} is a generator function: it acts while somebody iterates over it, not when it is called.",
            "Give a function that has acted when it returns.",
        )


def finished(result: T) -> T:
    """The result of an effect, to be asked for inside the guard. Raises ``Unfinished`` where it has yet to run."""
    if not (inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result)):
        return result
    if inspect.iscoroutine(result) or inspect.isgenerator(result):
        result.close()  # it need not be run any more, by nobody
    raise Unfinished(
        f"The effect came back with a {type(result).__name__}, which is not done yet.",
        "Await it inside the guard, or give an async function.",
    )


class Permit:
    """The permission to act, once and now. Hand ``fence`` and ``idempotency_key`` to whatever can check them.

    ``evidence`` may be set to what proves the outcome, JSON: a receipt, a row's id. It goes onto the ledger.
    """

    def __init__(self, grant: Grant, entry: str) -> None:
        self.fence = grant.fence
        self.action = grant.paused.action
        self.entry = entry
        """The entry of the attempt."""
        self.evidence: Any = None

    def __repr__(self) -> str:
        name = None if self.action is None else self.action.get("name")
        return f"Permit(action={name!r}, fence={self.fence}, entry={self.entry!r})"

    @property
    def idempotency_key(self) -> str | None:
        key = None if self.action is None else self.action.get("idempotency_key")
        return None if key is None else str(key)


class Guard(ContextDecorator):
    """See :meth:`ledger.runtimes.gate.Gate.guard`. For one act: entered a second time it stays shut."""

    def __init__(self, gate: Gate, grant: Grant, *, proof: tuple[type[BaseException], ...], close: bool) -> None:
        self._gate = gate
        self._grant = grant
        self._proof = proof
        self._close = close
        self._permit: Permit | None = None

    def __enter__(self) -> Permit:
        """Publish the attempt. Raises ``Shut`` unless it is accepted, and while it still holds."""
        paused, sent = self._grant.paused, steady()
        data = {"pause": paused.pause, "fence": self._grant.fence}
        try:
            verdict = self._gate.ask("side_effect.attempted", paused, data)
        except Shut as shut:
            raise self._given_back(shut) from None
        told = verdict.counting()
        permit = Permit(self._grant, f"{told['partition']}:{told['offset']}")
        left = seconds_left(told, steady() - sent)
        if left is not None and left <= 0:
            reason = "The permission to act ran out before it came: nothing was done."
            self._gate.observe(paused, "not_happened", settles=permit.entry, evidence=reason)
            raise Shut("review", reason, answer=verdict)
        self._permit = permit
        return permit

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        permit, self._permit = self._permit, None
        assert permit is not None
        try:
            self._tell(permit, error)
        except LedgerError as trouble:
            # The effect is what it is: its own outcome goes to the caller. The ledger says reconcile meanwhile.
            _LOG.error("What became of %s could not be told: %s", self._grant.paused.pause, trouble)

    async def __aenter__(self) -> Permit:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A task that is cancelled while it waits must not leave the observation half told.
        await asyncio.shield(asyncio.to_thread(self.__exit__, kind, error, trace))

    def __call__(self, effect: Any) -> Any:
        """Decorate a function, async or not, that has acted when it returns. Raises ``WrongUsage`` for a generator's.

        What comes back with something that has yet to run is told as ``indeterminate``, and ``Unfinished`` is raised.
        """
        eager(effect)
        if not asyncio.iscoroutinefunction(effect):
            return super().__call__(_finishing(effect))

        @functools.wraps(effect)
        async def guarded(*args: Any, **named: Any) -> Any:
            async with self:
                return finished(await effect(*args, **named))

        return guarded

    def _recreate_cm(self) -> Self:
        return self

    def _given_back(self, refused: Shut) -> Shut:
        """Why it stays shut. Where the way was no longer clear the grant is given back: no act can come of it any more.

        Safe with any number of holders of the fence: ``settles`` names the grant, so that the ledger takes it only
        while no attempt of anybody's has been accepted since; and once it has, it takes no attempt with the fence.
        """
        if refused.code != "no-longer-clear" or not isinstance(refused.answer, Verdict):
            return refused
        paused, entry = self._grant.paused, f"{refused.answer.partition}:{self._grant.fence}"
        evidence = "The attempt was refused, and nothing was done."
        told = self._gate.observe(paused, "not_happened", settles=entry, evidence=evidence)
        if not told.accepted:
            return refused
        return self._gate.shut(refused.answer, paused)  # no outcome is owed now: it says what else is in the way

    def _tell(self, permit: Permit, error: BaseException | None) -> None:
        if error is None:
            self._observed("happened", permit, permit.evidence)
            self._closed()
            self._see_that_it_was_the_only_one()
            return
        evidence = {"error": type(error).__name__, "evidence": permit.evidence}
        proven = self._proof and isinstance(error, self._proof) and not isinstance(error, Unfinished)
        status: SideEffect = "not_happened" if proven else "indeterminate"
        self._observed(status, permit, evidence)

    def _observed(self, status: SideEffect, permit: Permit, evidence: Any) -> None:
        """Tell what was seen. Somebody may have told otherwise meanwhile: then what stands is not overruled."""
        paused = self._grant.paused
        told = self._gate.observe(paused, status, settles=permit.entry, evidence=evidence)
        if told.verdict == "refused":
            _LOG.warning("%s of %s, seen as %s, was refused: %s", paused.pause, paused.subject, status, told.reason)

    def _closed(self) -> None:
        """Close the pause. That it can't be closed changes nothing of what was told."""
        if not self._close:
            return
        try:
            self._gate.close(self._grant.paused, "executed")
        except LedgerError as trouble:
            _LOG.warning("%s happened and is told; its pause was not closed: %s", self._grant.paused.pause, trouble)

    def _see_that_it_was_the_only_one(self) -> None:
        """Say aloud where it was granted anew while it was under way: somebody had said that it would not happen."""
        paused, fence = self._grant.paused, self._grant.fence
        with suppress(LedgerError):
            later = self._gate.packet(paused)["fence"]
            if later != fence:
                _LOG.error(
                    "%s of %s happened under fence %s, after somebody had told that it had not happened and would not: "
                    "it was granted again, under fence %s, so it may have been done twice. See the trail.",
                    *(paused.pause, paused.subject, fence, later),
                )


def _finishing(effect: Callable[..., T]) -> Callable[..., T]:
    @functools.wraps(effect)
    def finishing(*args: Any, **named: Any) -> T:
        return finished(effect(*args, **named))

    return finishing


def seconds_left(told: Mapping[str, Any], passed: float, *, now: datetime | None = None) -> float | None:
    """How long an accepted attempt may still be acted on, so many seconds after it was sent; null: for ever.

    By whichever of two clocks says less. What the log's clock left when it had the attempt, less what has passed since
    it was sent: so this machine's clock may be behind. And what is left by this machine's own clock (``now``): it
    counts where the log's went back, so that the entry's instant is later than its ``recorded_at``, or where the steady
    one stood still. A clock that is ahead of the log's can only make it shorter: by more than a plan is fresh, and
    nothing is done on this machine.

    Not covered: a log whose clock went back while this machine's is behind as well; and what passes after this was
    asked, while the effect is on its way or the process is stopped: only a target that checks ``fence`` sees that.
    """
    until = told.get("valid_until")
    if until is None:
        return None
    ends = parse_instant(until)
    by_the_log = (ends - parse_instant(told["recorded_at"])).total_seconds() - passed
    return min(by_the_log, (ends - (now or wall())).total_seconds())


def steady() -> float:
    """Seconds of a clock that nobody sets, that goes on while the machine sleeps where the system has such a one."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def wall() -> datetime:
    """The time by this machine's own clock."""
    return datetime.now(UTC)
