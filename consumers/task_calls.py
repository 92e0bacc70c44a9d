"""What the job ``callbacks`` has to call of Step Functions. See ``docs/runtimes/step_functions.md``.

1. A grant that nobody has attempted with, where the callback is the effect: the attempt, ``SendTaskSuccess``, the
   observation, the close; in this order. An attempt without an observation is never repeated: it reads ``reconcile``,
   until somebody has looked. Nor is one made that the ledger would refuse: each would be an entry, round after round.
2. Happened, by an observation: ``SendTaskSuccess`` where the one who acted died before it, and the close.
3. Rejected or terminated, with an outcome that is known: ``SendTaskFailure``. Sent twice it does nothing twice.
4. A heartbeat that the ledger accepted, of an owner who still holds the pause: ``SendTaskHeartbeat``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consumers.callbacks import Due, Output, beat_due, is_clear, output_of
from ledger.decision import Decision
from ledger.packet import Pause
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate, Grant
from ledger.runtimes.task_tokens import Kept, TokenStore

with needs("callbacks"):
    from botocore.exceptions import ClientError

from ledger.runtimes.step_functions import gate_client, is_gone, may_fail

_OVER = "The task doesn't wait for this any more: Step Functions says that it has ended or timed out."


class TaskCalls:
    """Answers tasks. ``new_client`` makes a boto3 client of Step Functions: one for each way through the gate."""

    def __init__(self, gate: Gate, tokens: TokenStore, new_client: Callable[[], Any], output: Output) -> None:
        self._gate = gate
        self._tokens = tokens
        self._client = new_client()  # whose calls have been looked at here
        self._gated = gate_client(new_client(), gate, tokens)
        self._output: Output = output

    def due(self, kept: Kept, pause: Pause, decision: Decision, beaten: int | None) -> Due | None:
        """See :class:`consumers.callbacks.Calls`."""
        runtime = pause.terms.runtime or {}
        if pause.grant == "granted" and runtime.get("effect") != "worker" and is_clear(decision):
            return Due("success", lambda: self._succeed(kept))
        if may_fail(pause.outcome, decision.judgement.decision, pause.side_effect):
            return Due("failure", lambda: self._fail(kept, pause.outcome or "terminated"))
        if pause.side_effect == "happened" and pause.fence is not None:
            return Due("settle", lambda: self._settle(kept, pause))
        if not pause.is_open:  # written off, or ended with an outcome that nobody knows: nothing is said of it
            known = pause.outcome in ("executed", "settled", "waived")
            return Due("forget", lambda: self._tokens.forget(kept.hash)) if known else None
        if beat_due(pause, decision, beaten) and "heartbeat_seconds" in runtime:
            return Due("heartbeat", lambda: self._client.send_task_heartbeat(taskToken=kept.token))
        return None

    def is_over(self, error: Exception) -> bool:
        return is_gone(error)

    def told_over(self, kept: Kept, pause: Pause, name: str) -> None:
        """The task is over: nothing more can be granted."""
        if pause.is_open and pause.grant != "attempted" and name != "failure":
            self._gate.inputs_changed(kept.paused, id=f"task-over/{kept.hash}", reason=_OVER)
        if name == "failure" or pause.grant == "none":
            self._tokens.forget(kept.hash)

    def _succeed(self, kept: Kept) -> None:
        grant = self._gate.outstanding(kept.paused)
        if grant is not None:
            self._gated.send_success(grant, kept, output_of(grant, self._output))
            self._tokens.forget(kept.hash)

    def _settle(self, kept: Kept, pause: Pause) -> None:
        """It has happened, and is known to have: tell the task so, where nobody has, and close what is open.

        Whoever did it died before the rest of it, or a person looked. A token works once, so this acts on nothing.
        """
        packet = self._gate.packet(kept.paused)
        grant = Grant(kept.paused._replace(action=packet["pending_action"]), packet["fence"])
        try:
            self._client.send_task_success(taskToken=kept.token, output=output_of(grant, self._output))
        except ClientError as error:
            if not is_gone(error):
                raise
        if pause.is_open:
            self._gate.close(kept.paused, "executed")
        self._tokens.forget(kept.hash)

    def _fail(self, kept: Kept, outcome: str) -> None:
        cause = f"Pause {kept.paused.pause} of {kept.paused.subject}: {outcome}."
        self._client.send_task_failure(taskToken=kept.token, error=f"pauseledger.{outcome}", cause=cause)
        self._tokens.forget(kept.hash)
