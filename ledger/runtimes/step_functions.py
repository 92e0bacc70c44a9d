"""AWS Step Functions: a state that waits for a task token (``.waitForTaskToken``) is a pause.

1. The token stays in a :class:`~ledger.runtimes.task_tokens.TokenStore`; its hash is on the ledger.
2. :func:`gate_client` stands before a boto3 client's calls: success only after an accepted attempt, failure only for
   what was rejected or ended, a heartbeat only once the ledger has accepted it.
3. A call proves that nothing happened only where each request of it does: see
   :mod:`ledger.runtimes.botocore_requests`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from ledger.errors import WrongUsage
from ledger.runtimes.botocore_requests import Requests, count_requests, status_of
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate, Grant
from ledger.runtimes.guard import Guard, Permit
from ledger.runtimes.pauses import Paused, execution_id
from ledger.runtimes.shut import Shut, shut
from ledger.runtimes.task_tokens import Kept, TokenStore, token_hash
from ledger.times import parse_instant

with needs("step-functions"):
    from botocore.exceptions import ClientError

NAME = "step_functions"
GONE = frozenset({"InvalidToken", "TaskDoesNotExist", "TaskTimedOut"})
"""The errors that say: this task doesn't wait any more, or never did. They prove nothing of its outcome: somebody who
has the token, and no gate, may have answered it.
"""
_NOT_DONE = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidOutput",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationException",
}
ENDED = ("rejected", "terminated", "finished", "abandoned")
"""How a pause closes whose task is told that it failed."""
Effect = Literal["callback", "worker"]
_OURS = "pauseledger"
_INSIDE = "pauseledger.inside"


@dataclass(frozen=True)
class Task:
    """What a worker behind ``.waitForTaskToken`` was handed, from the context object (``$$``).

    ``entered`` is RFC 3339; the two limits are seconds, null where the state has none; ``scheduled`` is when this try
    was scheduled, where the history was asked (:func:`with_limits`).
    """

    token: str = field(repr=False)
    execution: str
    state: str
    entered: str
    retry: int = 0
    heartbeat_seconds: float | None = None
    timeout_seconds: float | None = None
    scheduled: datetime | None = None

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """From a message with the members ``token``, ``execution``, ``state``, ``entered``, ``retry`` and, where the
        state machine passes them on, ``heartbeat_seconds`` and ``timeout_seconds``. Raises ``WrongUsage``.
        """
        names = ("token", "execution", "state", "entered", "retry", "heartbeat_seconds", "timeout_seconds")
        lacks = [name for name in names[:4] if not isinstance(message.get(name), str) or not message[name]]
        if lacks:
            advice = "Pass $$.Task.Token, $$.Execution.Id, $$.State.Name and $$.State.EnteredTime on."
            raise WrongUsage(f"The task's message lacks {', '.join(lacks)}.", advice)
        if wrong := [name for name in names[4:] if not _is_number(message.get(name))] + _no_instant(message["entered"]):
            raise WrongUsage(
                f"The task's message has {', '.join(wrong)} as they can't be.", "Pass them on as they are."
            )
        return cls(**{name: message[name] for name in names if message.get(name) is not None})

    @property
    def hash(self) -> str:
        return token_hash(self.token)

    def paused(self, subject: str, action: Mapping[str, Any] | None) -> Paused:
        """The pause of this task. A retry of the state is another, also where it has the same token."""
        return Paused.of(
            runtime=NAME,
            subject=subject,
            execution=execution_id(self.execution),
            checkpoint=f"{self.state}@{self.entered}#{self.retry}",
            interrupt=self.hash,
            action=action,
        )


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0)


def _no_instant(entered: str) -> list[str]:
    try:
        parse_instant(entered)
    except ValueError:
        return ["entered"]
    return []


def with_limits(client: Any, task: Task) -> Task:
    """The task with the limits that the history's ``TaskScheduled`` has for it; itself where it isn't found."""
    for page in client.get_paginator("get_execution_history").paginate(executionArn=task.execution):
        for event in page["events"]:
            told = event.get("taskScheduledEventDetails")
            if told is not None and json.dumps(task.token)[1:-1] in told.get("parameters", ""):
                task = Task(
                    *(task.token, task.execution, task.state, task.entered, task.retry),
                    heartbeat_seconds=told.get("heartbeatInSeconds"),
                    timeout_seconds=told.get("timeoutInSeconds"),
                    scheduled=event["timestamp"],
                )
    return task


def open_pause(
    gate: Gate,
    tokens: TokenStore,
    task: Task,
    *,
    subject: str,
    action: Mapping[str, Any],
    effect: Effect = "callback",
    fresh_for: timedelta | None = None,
    **terms: Any,
) -> Paused:
    """Keep the token, then tell of the pause: a worker that dies in between is handed the task again, and it is one.

    The plan is fresh until the state times out, or for ``fresh_for`` where that is shorter; the owner must beat as
    often as the state asks. ``terms`` as for :meth:`Gate.pause`. ``effect`` says what acts: the ``callback`` itself,
    which then may be sent by the job, or the ``worker``, who sends it inside :meth:`TaskGate.acting`.
    """
    paused = task.paused(subject, action)
    tokens.keep(Kept(paused, task.token))
    limits = [one for one in (_seconds(task.timeout_seconds), fresh_for) if one is not None]
    terms = {"heartbeat_timeout": _seconds(task.heartbeat_seconds), **terms}
    runtime: dict[str, Any] = {"name": NAME, "task": task.hash, "effect": effect}
    runtime |= {"state": task.state, "entered": task.entered, "retry": task.retry}
    if task.heartbeat_seconds is not None:
        runtime["heartbeat_seconds"] = task.heartbeat_seconds
    gate.tell_pause(paused, time=_began(task), fresh_for=min(limits, default=None), runtime=runtime, **terms)
    return paused


def _seconds(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _began(task: Task) -> datetime | None:
    """Since when the state's limits run; null where only the first try's time is known."""
    if task.scheduled is not None or task.retry:
        return task.scheduled
    return parse_instant(task.entered)


class _Held:
    """The grant that the code which calls now acts with. ``open``: its guard is open already, around the call.

    Whatever was begun in the block has it too, in a task or a thread, and may outlive it: it is emptied at the end.
    """

    def __init__(self, gate: TaskGate, grant: Grant, *, open: bool) -> None:
        self.gate = gate
        self.grant: Grant | None = grant
        self.open = open
        self.told = False
        """Whether the task has been told of its success."""
        self.outer = _HELD.get()


_HELD: ContextVar[_Held | None] = ContextVar("pauseledger_step_functions", default=None)


class _Nothing(Exception):
    """Every request of the call has proved that it did nothing."""


class _Call:
    """One call of SendTaskSuccess, and the guard that it is made in."""

    def __init__(self, guard: Guard, requests: Requests) -> None:
        self.guard = guard
        self.permit = guard.__enter__()
        self.requests = requests

    def ended(self, error: BaseException | None, code: str | None) -> None:
        """Tell what became of the call: of an error, what it proves."""
        self.permit.evidence = {"call": "SendTaskSuccess", "requests": self.requests.made, "error": code}
        if error is None:
            self.guard.__exit__(None, None, None)
            return
        proof = _Nothing() if self.requests.did_nothing else error
        self.guard.__exit__(type(proof), proof, None)


class TaskGate:
    """The gate before one client's callbacks: :func:`gate_client` makes it. As thread-safe as the client is."""

    def __init__(self, client: Any, gate: Gate, tokens: TokenStore) -> None:
        self._client = client
        self._gate = gate
        self._tokens = tokens

    @contextmanager
    def acting(self, grant: Grant, *, proof: tuple[type[BaseException], ...] = ()) -> Iterator[Permit]:
        """The guard around an effect of this program's own *and* the callback that tells Step Functions of it.

        The grant's own task may be told of its success in here, once. One attempt for both, and one observation at the
        end: whatever was begun in the block and still runs then finds no permission any more.
        """
        with self._gate.guard(grant, proof=proof) as permit, self._holding(grant, open=True):
            yield permit

    def send_success(self, grant: Grant, kept: Kept, output: str) -> None:
        """Send exactly this grant's output: attempt, call, observation, close. Raises ``Shut``, or what boto3 does."""
        with self._holding(grant, open=False):
            self._client.send_task_success(taskToken=kept.token, output=output)

    @contextmanager
    def _holding(self, grant: Grant, *, open: bool) -> Iterator[None]:
        held = _Held(self, grant, open=open)
        mark = _HELD.set(held)
        try:
            yield
        finally:
            held.grant = None
            with suppress(ValueError):  # the block was left in another context: what it held is empty there, too
                _HELD.reset(mark)

    def _held_for(self, kept: Kept) -> _Held | None:
        """The block of this gate's that the call is made in, if any. Raises ``Shut`` where it is another task's."""
        held, mine = _HELD.get(), False
        while held is not None:
            if held.gate is self and held.grant is not None:
                if held.grant.paused[:3] == kept.paused[:3]:
                    return held
                mine = True
            held = held.outer
        if mine:
            raise Shut("refused", "The grant is of another task.")
        return None

    # -- what botocore calls ------------------------------------------------------------------------

    def before_call(self, model: Any, params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        match model.name:
            case "SendTaskSuccess":
                self._before_success(self._kept(params), context)
            case "SendTaskFailure":
                self._before_failure(self._kept(params))
            case "SendTaskHeartbeat":
                self._before_heartbeat(self._kept(params))

    def _before_success(self, kept: Kept, context: dict[str, Any]) -> None:
        held = self._held_for(kept)
        if held is not None and held.open:
            if held.told:
                raise Shut("refused", "The task has been told of its success.")
            context[_INSIDE] = held
            return
        grant = held.grant if held is not None else None
        guard = self._gate.guard(grant or self._granted(kept), proof=(_Nothing,))
        context[_OURS] = _Call(guard, Requests(_refuses).kept_in(context))

    def _before_failure(self, kept: Kept) -> None:
        decision = self._gate.decision(kept.paused)
        packet = self._gate.packet(kept.paused)  # read later: so nothing that was granted in between is overlooked
        if not may_fail(packet["outcome"], decision["decision"], packet["side_effect"]):
            raise _nothing_granted(decision, "The task may not be failed: it was neither rejected nor ended.")

    def _before_heartbeat(self, kept: Kept) -> None:
        answer = self._gate.heartbeat(kept.paused)
        if not answer.accepted:
            raise shut(answer, None)

    def after_call(self, context: dict[str, Any], parsed: Mapping[str, Any], **_: Any) -> None:
        code, held = _code(parsed), context.pop(_INSIDE, None)
        if held is not None and code is None:
            held.told = True
        if (call := context.pop(_OURS, None)) is not None:
            call.ended(None if code is None else ClientError(dict(parsed), "SendTaskSuccess"), code)

    def after_call_error(self, context: dict[str, Any], exception: BaseException, **_: Any) -> None:
        if (call := context.pop(_OURS, None)) is not None:
            call.ended(exception, type(exception).__name__)

    def _kept(self, params: Mapping[str, Any]) -> Kept:
        try:
            token = json.loads(params["body"])["taskToken"]
        except (ValueError, LookupError, TypeError):
            raise Shut("refused", "The request names no task token.") from None
        kept = self._tokens.find(token_hash(str(token)))
        if kept is None:
            raise Shut("refused", "No pause is known behind this task token.")
        return kept

    def _granted(self, kept: Kept) -> Grant:
        grant = self._gate.outstanding(kept.paused)
        if grant is None:
            decision = self._gate.decision(kept.paused)
            raise _nothing_granted(decision, f"No grant is outstanding. {decision['reason']}")
        return grant


def gate_client(client: Any, gate: Gate, tokens: TokenStore) -> TaskGate:
    """Let this boto3 client's SendTaskSuccess, SendTaskFailure and SendTaskHeartbeat through only as the ledger says.

    What is not let through raises ``Shut`` (or another ``LedgerError``) out of the call, before anything is sent. The
    gate is asked last, of what others have made of the request. Gate a client once; other clients of the same session
    are not gated.
    """
    gated, events = TaskGate(client, gate, tokens), client.meta.events
    service = client.meta.service_model.service_id.hyphenize()
    events.register_last("before-call", gated.before_call)  # what is registered for one operation alone comes earlier
    count_requests(client, "SendTaskSuccess")
    events.register_first(f"after-call.{service}.SendTaskSuccess", gated.after_call)
    events.register_first(f"after-call-error.{service}.SendTaskSuccess", gated.after_call_error)
    return gated


def may_fail(outcome: str | None, decision: str, side_effect: str) -> bool:
    """Whether a task may be told that it failed: its pause was rejected or has ended, and nobody may be acting."""
    return side_effect != "indeterminate" and (outcome in ENDED or decision == "terminate")


def is_gone(error: BaseException) -> bool:
    """Whether an error says that this task doesn't wait any more."""
    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in GONE


def _code(parsed: Mapping[str, Any]) -> str | None:
    """The error's code in an answer; null where it is a success. One without a code is an error, too."""
    if status_of(parsed) < 300:
        return None
    return str(parsed.get("Error", {}).get("Code") or "unknown")


def _refuses(parsed: Mapping[str, Any]) -> bool:
    return 400 <= status_of(parsed) < 500 and _code(parsed) in _NOT_DONE


def _nothing_granted(decision: dict[str, Any], reason: str) -> Shut:
    branch = "refused" if decision["decision"] == "resume" else decision["decision"]
    return Shut(branch, reason, decision=decision)
