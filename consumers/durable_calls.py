"""What the job ``callbacks`` has to call of Lambda durable functions. See ``docs/runtimes/lambda_durable.md``.

The effect is in the function, inside its guard: the callback only wakes it. So a success that is sent twice does
nothing twice, and the attempt is the function's own.

1. A grant that nobody has attempted with, and that the function may act with: ``SendDurableExecutionCallbackSuccess``.
2. Rejected or ended, with an outcome that is known: ``…Failure``. Until somebody has looked the callback waits.
3. A heartbeat that the ledger accepted, of an owner who still holds the pause: ``…Heartbeat``.
"""

from __future__ import annotations

from typing import Any

from consumers.callbacks import Due, Output, beat_due, is_clear, output_of
from ledger.decision import Decision
from ledger.packet import Pause
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate
from ledger.runtimes.task_tokens import Kept, TokenStore

with needs("callbacks"):
    from botocore.exceptions import ClientError

from ledger.runtimes.botocore_requests import status_of
from ledger.runtimes.step_functions import ENDED, may_fail

_OVER = frozenset({404, 408})
"""The callback doesn't wait any more: it was answered before, has timed out, or its execution has ended. By the HTTP
status, for AWS' local runner gives its errors no names; AWS itself says 400 of one that has timed out, as of whatever
else it finds wrong."""
_TIMED_OUT = "CallbackTimeoutException"


class DurableCalls:
    """Answers callbacks of durable functions, with a boto3 client of Lambda."""

    def __init__(self, gate: Gate, tokens: TokenStore, client: Any, output: Output) -> None:
        self._gate = gate
        self._tokens = tokens
        self._client = client
        self._output: Output = output

    def due(self, kept: Kept, pause: Pause, decision: Decision, beaten: int | None) -> Due | None:
        """See :class:`consumers.callbacks.Calls`."""
        if pause.is_open and pause.grant == "granted" and is_clear(decision):
            return Due("success", lambda: self._succeed(kept))
        if may_fail(pause.outcome, decision.judgement.decision, pause.side_effect):
            return Due("failure", lambda: self._fail(kept, pause.outcome or "terminated"))
        if not pause.is_open:  # the function has gone on, or is left alone; what nobody knows yet, somebody may look at
            return None if pause.outcome in ENDED else Due("forget", lambda: self._tokens.forget(kept.hash))
        if beat_due(pause, decision, beaten) and pause.terms.heartbeat_timeout is not None:
            return Due("heartbeat", lambda: self._beat(kept))
        return None

    def is_over(self, error: Exception) -> bool:
        if not isinstance(error, ClientError):
            return False
        return status_of(error.response) in _OVER or error.response.get("Error", {}).get("Code") == _TIMED_OUT

    def told_over(self, kept: Kept, pause: Pause, name: str) -> None:  # noqa: ARG002  # as the port has it
        """Nothing is left to answer. A grant stays what it is: the function may act on it, or somebody must look."""
        self._tokens.forget(kept.hash)

    def _succeed(self, kept: Kept) -> None:
        grant = self._gate.outstanding(kept.paused)
        if grant is not None:
            result = output_of(grant, self._output).encode()
            self._client.send_durable_execution_callback_success(CallbackId=kept.token, Result=result)
            self._tokens.forget(kept.hash)

    def _fail(self, kept: Kept, outcome: str) -> None:
        message = f"Pause {kept.paused.pause} of {kept.paused.subject}: {outcome}."
        error = {"ErrorType": f"pauseledger.{outcome}", "ErrorMessage": message}
        self._client.send_durable_execution_callback_failure(CallbackId=kept.token, Error=error)
        self._tokens.forget(kept.hash)

    def _beat(self, kept: Kept) -> None:
        self._client.send_durable_execution_callback_heartbeat(CallbackId=kept.token)
