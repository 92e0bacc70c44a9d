"""AWS Lambda durable functions: their callbacks as pauses, and the step that acts.

Inside the function: :func:`create_callback` or :func:`wait_for_callback` opens the pause, before anybody is asked;
:meth:`PausedCallback.guarded_step` is the only place that acts. Beside it, whoever decides a callback with boto3 does
so with a client that :func:`decides` stands in.

Code outside steps runs again with each invocation. So what is told of a pause is told in steps of its own, and the act
runs at most once: a step that was interrupted never runs again, its outcome is ``indeterminate`` until somebody looks.
Not handled: whoever acts in a step of his own, outside ``guarded_step``, is not stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self, TypeVar

from ledger.errors import LedgerError, LogUnavailable, NotFound
from ledger.runtimes.botocore_gate import Operations, SendingGate
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.guard import Permit, eager, finished
from ledger.runtimes.pauses import Paused, execution_id
from ledger.runtimes.shut import Shut
from ledger.runtimes.task_tokens import Kept, token_hash

with needs("lambda-durable"):
    from aws_durable_execution_sdk_python.config import CallbackConfig, StepConfig, StepSemantics
    from aws_durable_execution_sdk_python.context import Callback, DurableContext
    from aws_durable_execution_sdk_python.exceptions import CallbackSubmitterError, StepError, StepInterruptedError
    from aws_durable_execution_sdk_python.retries import RetryPresets
    from aws_durable_execution_sdk_python.types import StepContext

NAME = "lambda_durable"
OPERATIONS = Operations(
    "lambda",
    "SendDurableExecutionCallbackSuccess",
    "SendDurableExecutionCallbackFailure",
    "SendDurableExecutionCallbackHeartbeat",
    "CallbackId",
)
T = TypeVar("T")


class Asked(NamedTuple):
    """What whoever decides must be sent. The callback id lets its bearer decide: it never goes onto the ledger."""

    callback_id: str
    paused: Paused

    def __repr__(self) -> str:
        return f"Asked(callback {token_hash(self.callback_id)}, {self.paused.pause})"  # what is logged is read by many

    @property
    def kept(self) -> Kept:
        """For the store of tokens, from which the job ``callbacks`` decides."""
        return Kept(self.paused._replace(action=None), self.callback_id)

    def to_json(self) -> str:
        """As text, for a message or a store."""
        return json.dumps([self.callback_id, *self.paused])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The same again."""
        callback_id, *paused = json.loads(text)
        return cls(callback_id, Paused(*paused))


def decides(client: Any, gate: Gate, *asked: Asked, who: Who | None = None) -> Any:
    """Let this boto3 Lambda client decide these callbacks, through the gate; the client.

    ``send_durable_execution_callback_success`` then reviews (where that is asked for) and requests a grant as ``who``,
    ``…_failure`` rejects, ``…_heartbeat`` is forwarded; each raises ``Shut``, and sends nothing, where the ledger
    refuses. Callbacks that are not ``asked`` are not sent at all. Give a client of its own to each who decides.
    """
    known = dict(asked)
    SendingGate(gate, OPERATIONS, known.get, who=who).register(client)
    return client


class PausedCallback:
    """A callback of a durable function, and the pause that it is on the ledger."""

    def __init__(self, gate: Gate, context: DurableContext, callback: Callback[Any], paused: Paused) -> None:
        self._gate = gate
        self._context = context
        self._callback = callback
        self.paused = paused
        self.asked = Asked(callback.callback_id, paused)

    def result(self) -> Any:
        """The callback's result; suspends until there is one. Raises the SDK's ``CallbackError`` if it failed."""
        return self._callback.result()

    def guarded_step(
        self,
        effect: Callable[[Permit], T],
        name: str,
        *,
        proof: tuple[type[BaseException], ...] = (),
        close: bool = True,
        who: Who | None = None,
    ) -> T:
        """Act, in a step that runs at most once and only inside the guard; its result is JSON, as of any step.

        ``effect`` does what ``permit.action`` says: a reviewer may have edited it. The grant is that which the callback
        was decided with; where it was decided by another way one is requested, as ``who``. ``proof`` and ``close`` are
        those of :meth:`ledger.runtimes.gate.Gate.guard`. Raises ``Shut`` where nothing was done; with branch
        ``reconcile``, too, where the step was interrupted: that is on the ledger as ``indeterminate``. An error of the
        effect comes as the SDK's ``StepError``; so does ``Unfinished``, of an effect that has yet to run.
        """
        eager(effect)

        def act(_: StepContext) -> T:
            return self._act(effect, proof, close, who)

        once = StepConfig(retry_strategy=RetryPresets.none(), step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)
        try:
            return self._context.step(act, name=name, config=once)
        except StepError as error:
            if _is(error, StepInterruptedError):
                raise self._interrupted(name) from error
            if _is(error, _ShutStep):
                raise _shut_of(json.loads(error.message or "")) from error
            raise

    def _act(
        self, effect: Callable[[Permit], T], proof: tuple[type[BaseException], ...], close: bool, who: Who | None
    ) -> T:
        with ExitStack() as acting:
            try:
                grant = self._gate.outstanding(self.paused) or self._gate.request_resume(self.paused, who=who)
                permit = acting.enter_context(self._gate.guard(grant, proof=proof, close=close))
            except Shut as stays:
                raise _ShutStep(json.dumps([stays.branch, stays.reason])) from stays
            except NotFound as nothing:
                raise _ShutStep(json.dumps(["refused", str(nothing)])) from nothing
            except LedgerError as away:
                raise _ShutStep(json.dumps(["unknown", str(away)])) from away
            return finished(effect(permit))

    def _interrupted(self, name: str) -> Shut:
        """Tell that nobody knows, once: the SDK raises the same error with each replay, also after somebody looked."""
        try:
            return _shut_of(self._context.step(lambda _: self._tell_interrupted(name), name=f"{name} interrupted"))
        except StepError as away:  # after as many tries as the SDK makes
            return Shut("unknown", f"The step was interrupted, and the ledger can't be asked: {away.message}")

    def _tell_interrupted(self, name: str) -> list[str]:
        try:
            packet = self._gate.packet(self.paused)
        except NotFound as nothing:
            return ["refused", str(nothing)]
        if packet["side_effect"] == "indeterminate":
            evidence = {"step": name, "error": "StepInterruptedError"}
            paused = self.paused._replace(action=packet["pending_action"])
            self._gate.observe(paused, "indeterminate", settles=packet["side_effect_by"], evidence=evidence)
        decision = self._gate.decision(self.paused)
        if decision["decision"] == "resume":
            return ["review", "The step was interrupted before it was permitted to act: somebody must ask again."]
        return [decision["decision"], f"The step was interrupted. {decision['reason']}"]


def create_callback(
    context: DurableContext,
    gate: Gate,
    *,
    name: str,
    subject: str,
    action: Mapping[str, Any],
    config: CallbackConfig | None = None,
    again: PausedCallback | None = None,
    who: Who | None = None,
    **terms: Any,
) -> PausedCallback:
    """Create a callback, and tell of its pause in a step of its own, ``NAME told``, before this returns.

    ``config`` gives the packet its deadlines: ``timeout`` is ``fresh_for``, counted from when the callback was made,
    ``heartbeat_timeout`` is itself; ``terms`` are the other members of ``pause.opened``, and go before these. A pause
    that can't be told of is told again as the SDK retries steps, and nobody is asked meanwhile. ``again`` asks anew for
    a pause that there is, after an interruption: a new callback, no new pause.
    """
    callback = context.create_callback(name=name, config=config)
    if again is not None:
        return PausedCallback(gate, context, callback, again.paused)
    arn = context.execution_context.durable_execution_arn
    secret = token_hash(callback.callback_id)
    paused = Paused.of(
        runtime=NAME,
        subject=subject,
        execution=execution_id(arn),
        checkpoint=f"{name}/{callback.operation_id}",
        interrupt=secret,
        action=action,
    )
    runtime = {"name": NAME, "execution": arn, "operation": name, "callback": secret}
    told = {**_deadlines(config), "runtime": runtime, **terms}
    made = _made_at(callback)

    def tell(_: StepContext) -> str:
        answer = gate.tell_pause(paused, who=who, time=made, **told)
        if answer.verdict == "unknown":
            raise LogUnavailable(f"The pause could not be told of: {answer.reason}", "The step tries again.")
        return answer.verdict

    context.step(tell, name=f"{name} told")
    return PausedCallback(gate, context, callback, paused)


def wait_for_callback(
    context: DurableContext, gate: Gate, submitter: Callable[[Asked, StepContext], None], *, name: str, **more: Any
) -> PausedCallback:
    """As the SDK's ``wait_for_callback``: create it, send it to somebody in a step, ``NAME submitter``, and wait.

    Returns when the callback has succeeded; ``more`` is as for :func:`create_callback`. Raises the SDK's
    ``CallbackError``: ``CallbackTimeoutError``, ``CallbackExternalError`` for a failure, ``CallbackSubmitterError``.
    """
    made = create_callback(context, gate, name=name, **more)
    try:
        context.step(lambda step: submitter(made.asked, step), name=f"{name} submitter")
    except StepError as error:
        raise CallbackSubmitterError(error.message, data=error.data, stack_trace=error.stack_trace) from error
    made.result()
    return made


class _ShutStep(Exception):
    """How a step says that the gate stayed shut: errors cross a checkpoint as their name and message only."""


def _is(error: StepError, kind: type[BaseException]) -> bool:
    """Whether a step failed with an error of this class: what is left of it is its name."""
    return error.error_type in (kind.__name__, f"{kind.__module__}.{kind.__qualname__}")


def _shut_of(told: list[str]) -> Shut:
    branch, reason = told
    return Shut(branch, reason)


def _deadlines(config: CallbackConfig | None) -> dict[str, timedelta]:
    """A callback's own deadlines; zero means none."""
    if config is None:
        return {}
    given = {"fresh_for": config.timeout_seconds, "heartbeat_timeout": config.heartbeat_timeout_seconds}
    return {member: timedelta(seconds=seconds) for member, seconds in given.items() if seconds}


def _made_at(callback: Callback[Any]) -> datetime | None:
    """When the service made the callback: its timeout counts from then, not from when somebody tells of it."""
    operation = callback.state.get_checkpoint_result(callback.operation_id).operation
    return None if operation is None else operation.start_timestamp
