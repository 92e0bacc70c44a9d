"""Temporal: a workflow that waits for an update, and acts in an activity.

1. The workflow opens its pause by an activity. A person answers by an update, which runs in three stages: the update's
   **validator** refuses what the workflow itself knows to be wrong (no such pause, another action, no authority, too
   late) and leaves nothing in the history; its handler has an **activity** ask the ledger; and only a grant wakes the
   workflow. A validator does no I/O and can't ask the ledger: it saves trouble, and is no permission.
2. The effect is an activity, in the guard. Temporal retries activities: the second try finds the fence used, says what
   the ledger says (``reconcile``, as a rule), and stops there. So do signals, resets and whatever else gets that far.
3. The client's interceptor tells the ledger of answers that the validator refused: Temporal itself forgets them.

Workflow code stays deterministic: it names the pause, and touches the ledger in activities alone. Import this module
in ``with workflow.unsafe.imports_passed_through()``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ledger.errors import LedgerError, NotFound, WrongUsage
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.guard import Permit, eager, finished
from ledger.runtimes.pauses import Paused, execution_id
from ledger.runtimes.shut import Shut
from ledger.runtimes.temporal_answers import ask, seen_in, written
from ledger.runtimes.workflows import ENDS, Ended, granted, kept, paused_from
from ledger.times import format_duration, format_instant, parse_duration, parse_instant

with needs("temporal"):
    from temporalio import activity, client, workflow
    from temporalio.common import RetryPolicy
    from temporalio.exceptions import ApplicationError
    from temporalio.service import RPCError, RPCStatusCode

NAME = "temporal"
_LOG = logging.getLogger("pauseledger.gate")

ANSWER = "pauseledger.answer"
WAITING = "pauseledger.waiting"
_PAUSE = "pauseledger.pause"
_ASK = "pauseledger.ask"
_REFUSED = "pauseledger.refused"


class Timeouts(NamedTuple):
    """Of the activities. A dead worker is noticed after ``heartbeat``, and the activity is tried again."""

    ledger: timedelta = timedelta(seconds=30)
    effect: timedelta = timedelta(minutes=5)
    heartbeat: timedelta = timedelta(seconds=10)
    between_tries: timedelta = timedelta(seconds=1)


class Approvals:
    """The pauses of one workflow, one after the other: make it in the workflow's ``__init__``."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._paused: Paused | None = None
        self._authority: Sequence[str] | None = None
        """Who may answer, as far as the workflow knows; null where the ledger alone does."""
        self._fresh_until: datetime | None = None
        self._opened = 0
        self._granted: int | None = None
        self._asking = 0
        """How many answers the ledger is being asked about."""
        self._end: Ended | None = None
        self._shut: dict[str, Any] | None = None
        workflow.set_update_handler(ANSWER, self._answer, validator=self._may_answer)
        workflow.set_query_handler(WAITING, self._waiting)

    async def pause(self, name: str, action: Mapping[str, Any], *, subject: str, **terms: Any) -> Paused:
        """Tell of a pause before ``action``, and take answers. ``terms`` are as of :meth:`Gate.pause`.

        The execution is the workflow's id and run id; a child workflow's is its root's. What continues as new, or was
        reset before its pause, is another execution.
        """
        info, now = workflow.info(), workflow.now()
        root = info.root or workflow.RootInfo(workflow_id=info.workflow_id, run_id=info.run_id)
        self._opened += 1
        paused = Paused.of(
            runtime=NAME,
            subject=subject,
            execution=execution_id(f"{root.workflow_id}/{root.run_id}"),
            checkpoint=f"{info.workflow_id}/{info.run_id}/{self._opened}",
            interrupt=name,
            action=action,
        )
        owner = terms.get("owner")
        self._authority = terms.get("resume_authority") or ([owner] if owner else None)
        self._fresh_until = _fresh_until(now, terms)
        asked = {"paused": kept(paused), "terms": _plain(terms), "time": now.isoformat()}
        paused = paused_from(await self._activity(_PAUSE, asked, self._timeouts.ledger))  # kept when a run is reset
        self._paused, self._granted, self._end, self._shut = paused, None, None, None
        return paused

    async def perform(self, effect: str, *, timeout: timedelta) -> Ended:
        """Wait for answers until one opens the gate, and have the activity named ``effect`` act: at most once.

        Each answer is waited for ``timeout``; one that came in time is heard, however long the ledger takes. While the
        ledger says review or reconcile it goes on waiting: for the one who reviews, or looks what became of the effect.
        """
        while self._end is None:
            try:
                await workflow.wait_condition(self._told, timeout=timeout)
            except TimeoutError:
                await workflow.wait_condition(lambda: self._told() or not self._asking)
                if not self._told():
                    self._end = Ended("timeout", reason="Nobody answered in time.")
            if self._granted is not None:
                await self._act(effect)
        self._paused = None
        await workflow.wait_condition(lambda: not self._asking)  # handlers of others may wait for what comes after this
        return self._end

    def _told(self) -> bool:
        return self._granted is not None or self._end is not None

    async def _act(self, effect: str) -> None:
        assert self._paused is not None
        fence, self._granted = self._granted, None  # another may be granted while this one's activity is tried again
        found = await self._activity(effect, {"paused": kept(self._paused), "fence": fence}, self._timeouts.effect)
        if "result" in found:
            self._end = Ended("executed", found["result"])
        else:
            self._found(found)

    async def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._asking += 1
        try:
            found = await self._activity(_ASK, asked, self._timeouts.ledger)
            return self._heard(asked, found)
        finally:
            self._asking -= 1

    def _heard(self, asked: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        if self._paused is None or asked["seen"]["pause"] != self._paused.pause:
            return found  # the pause ended meanwhile
        self._paused = self._paused._replace(action=found["action"])
        if "fence" in found:
            self._granted = found["fence"]
        else:
            self._found(found)
        return found

    def _found(self, found: dict[str, Any]) -> None:
        self._shut = {"branch": found["branch"], "reason": found["reason"]}
        if found["branch"] in ENDS:
            self._end = self._end or Ended(found["branch"], reason=found["reason"])

    def _may_answer(self, asked: dict[str, Any]) -> None:
        """The update's validator: what this workflow knows by itself."""
        try:
            paused, seen = self._paused, seen_in(asked)
        except ValueError as error:
            raise _refusal("refused", str(error)) from None
        if paused is None or seen[:3] != paused[:3]:
            raise _refusal("closed", "The workflow doesn't wait at that pause.")
        if seen.action_digest != paused.action_digest:
            raise _refusal("refused", "The action has changed: look at it again.")
        if self._authority is not None and not {asked["actor"], *asked["roles"]} & set(self._authority):
            raise _refusal("refused", "Neither the actor nor one of its roles has the authority to do that.")
        late = self._fresh_until is not None and workflow.now() >= self._fresh_until
        if late and asked["outcome"] != "reject" and asked["fresh_for"] is None:
            raise _refusal("review", "The plan is stale: recheck it, and answer with fresh_for.")

    def _waiting(self) -> dict[str, Any] | None:
        return None if self._paused is None else {"paused": kept(self._paused), "shut": self._shut}

    async def _activity(self, name: str, asked: dict[str, Any], timeout: timedelta) -> dict[str, Any]:
        found: dict[str, Any] = await workflow.execute_activity(
            name,
            asked,
            start_to_close_timeout=timeout,
            heartbeat_timeout=self._timeouts.heartbeat,
            retry_policy=RetryPolicy(initial_interval=self._timeouts.between_tries),
        )
        return found


class LedgerActivities:
    """The worker's side: give ``activities`` to the worker, and each effect."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    @property
    def activities(self) -> list[Callable[..., Any]]:
        return [self._pause, self._ask]

    def effect(
        self, name: str, do: Callable[[Permit], Any], *, proof: tuple[type[BaseException], ...] = ()
    ) -> Callable[..., Any]:
        """The activity that acts: ``do(permit)``, async or not (then in a thread), in the guard.

        ``permit.action`` is what was approved: do that. ``proof`` as of :meth:`Gate.guard`. Raises ``WrongUsage`` for a
        generator function.
        """
        eager(do)

        @activity.defn(name=name)
        async def act(asked: dict[str, Any]) -> dict[str, Any]:
            async with beating(), AsyncExitStack() as stack:
                try:
                    grant = await asyncio.to_thread(granted, self.gate, paused_from(asked["paused"]), asked["fence"])
                    permit = await stack.enter_async_context(self.gate.guard(grant, proof=proof))
                except Shut as shut:
                    return {"branch": shut.branch, "reason": shut.reason}
                except LedgerError as error:  # the ledger can't be asked
                    return {"branch": "unknown", "reason": str(error)}
                return {"result": await _done(do, permit)}

        return act

    @activity.defn(name=_PAUSE)
    async def _pause(self, asked: dict[str, Any]) -> dict[str, Any]:
        time = datetime.fromisoformat(asked["time"])
        async with beating():
            try:
                await asyncio.to_thread(self.gate.tell_pause, paused_from(asked["paused"]), time=time, **asked["terms"])
            except WrongUsage as error:  # tried again it would be as wrong
                raise ApplicationError(str(error), type="WrongUsage", non_retryable=True) from error
        return dict(asked["paused"])

    @activity.defn(name=_ASK)
    async def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        async with beating():
            return await asyncio.to_thread(ask, self.gate, asked)


class Observing(client.Interceptor):
    """For ``Client.connect(interceptors=[…])``: tells of answers that a workflow's validator has refused."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        return _Outbound(next, self._gate)


class _Outbound(client.OutboundInterceptor):
    def __init__(self, next: client.OutboundInterceptor, gate: Gate) -> None:
        super().__init__(next)
        self._gate = gate

    async def start_workflow_update(self, input: client.StartWorkflowUpdateInput) -> Any:
        input.update_id = input.update_id or uuid.uuid4().hex
        handle = await super().start_workflow_update(input)
        if input.update == ANSWER and handle._known_outcome is not None:  # a refusal is known at once: nobody waits
            try:
                await handle.result()
            except client.WorkflowUpdateFailedError as error:
                await asyncio.to_thread(self._tell, input.args, input.update_id, str(error.cause))
        return handle

    def _tell(self, args: Sequence[Any], update_id: str, reason: str) -> None:
        """Tell of it, where it names a pause at all. To observe must not change what the caller sees."""
        try:
            (asked,) = args
            paused, who = paused_from(asked["seen"]), Who(asked["actor"], asked["roles"])
            data = {"pause": paused.pause, "text": f"An answer ({asked['outcome']}) was refused: {reason}"}
            self._gate.tell("note.added", paused, data, id=f"{paused.pause}/answer/{update_id}", who=who)
        except Exception as trouble:
            _LOG.warning("An answer that was refused could not be told of: %s", type(trouble).__name__)


async def waiting(handle: client.WorkflowHandle[Any, Any]) -> Paused:
    """The pause that a workflow is at. Raises ``NotFound`` where it is at none."""
    shown = await handle.query(WAITING)
    if shown is None:
        raise NotFound(f"The workflow {handle.id} waits for nobody.", "See whether it is over.")
    return paused_from(shown["paused"])


async def answer(
    handle: client.WorkflowHandle[Any, Any],
    seen: Paused,
    outcome: str = "approve",
    *,
    edited: Mapping[str, Any] | None = None,
    fresh_for: timedelta | None = None,
    who: Who | None = None,
) -> int | None:
    """A person's ``approve``, ``edit`` or ``reject`` of the pause as he has seen it; the fence, null for a reject.

    Raises ``Shut`` unless the workflow and the ledger take it. The effect then runs by itself.
    """
    asked = written(seen, outcome, edited=edited, fresh_for=fresh_for, who=who or Who())
    found = await _updated(handle, asked)
    if "fence" in found:
        return int(found["fence"])
    if outcome == "reject" and found["branch"] == "closed":
        return None
    raise Shut(found["branch"], found["reason"])


async def _updated(handle: client.WorkflowHandle[Any, Any], asked: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(await handle.execute_update(ANSWER, asked))
    except client.WorkflowUpdateFailedError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == _REFUSED:
            raise Shut(cause.details[0], cause.message) from error
        raise
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise Shut("closed", f"The workflow takes no answer any more: {error.message}") from error
        raise


async def _done(do: Callable[[Permit], Any], permit: Permit) -> Any:
    if inspect.iscoroutinefunction(do):
        return finished(await do(permit))
    return finished(await asyncio.to_thread(do, permit))


@asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Heartbeats of the activity: so a worker that died is soon told from one that takes its time."""

    async def beat(seconds: float) -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(seconds)

    every = activity.info().heartbeat_timeout
    task = None if every is None else asyncio.create_task(beat(every.total_seconds() / 4))
    try:
        yield
    finally:
        if task is not None:
            task.cancel()


def _refusal(branch: str, reason: str) -> ApplicationError:
    return ApplicationError(reason, branch, type=_REFUSED, non_retryable=True)


def _fresh_until(now: datetime, terms: Mapping[str, Any]) -> datetime | None:
    """Raises ``ApplicationError``, which fails the workflow: any other error would have its task tried for ever."""
    try:
        if terms.get("fresh_until") is not None:
            return parse_instant(_text(terms["fresh_until"]))
        if terms.get("fresh_for") is None:
            return None
        return now + timedelta(seconds=parse_duration(_text(terms["fresh_for"])).total_seconds())
    except (ValueError, TypeError, OverflowError) as error:
        raise ApplicationError(f"The pause's deadline can't be meant: {error}", type="WrongUsage") from error


def _plain(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Terms as JSON, which is what an activity is given."""
    return {name: _text(value) for name, value in terms.items()}


def _text(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    return format_instant(value) if isinstance(value, datetime) else value
