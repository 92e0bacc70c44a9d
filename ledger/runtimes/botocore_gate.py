"""A gate in a botocore client: whoever decides a callback with boto3 is asked for his grant on the way out.

For services that hand out a token and wait for somebody to bring it back with a success, a failure or a heartbeat. A
success is sent only with a grant, a failure once the ledger knows of the rejection, a heartbeat unless the ledger says
that it is not for this sender to give. Raising ``Shut`` in ``before-call`` keeps the request from being sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from ledger.errors import LedgerError, NotFound
from ledger.runtimes.gate import Gate, Grant, Who
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut, shut

_LOG = logging.getLogger("pauseledger.gate")
_TOKEN = "pauseledger.token"
_GRANT = "pauseledger.grant"


class Operations(NamedTuple):
    """The three calls of a service, as its API names them, and the parameter that carries the token."""

    service: str
    success: str
    failure: str
    heartbeat: str
    token: str


class SendingGate:
    """Stands in the clients of those who decide. Thread-safe as its gate is.

    ``find`` gives the pause of a token, *with the action that the sender saw*, or null where it knows none: then
    nothing is sent. ``who`` decides, unless it is whoever the gate itself speaks for.
    """

    def __init__(
        self, gate: Gate, operations: Operations, find: Callable[[str], Paused | None], *, who: Who | None = None
    ) -> None:
        self._gate = gate
        self._operations = operations
        self._find = find
        self._who = who

    def register(self, client: Any) -> None:
        """Stand in this boto3 client. Its calls raise ``Shut`` from now on where the ledger says so. Once a client."""
        events, its = client.meta.events, self._operations
        gated = {its.success: self._success, its.failure: self._failure, its.heartbeat: self._heartbeat}
        for operation, asks in gated.items():
            events.register(f"before-parameter-build.{its.service}.{operation}", self._noted)
            events.register_last(f"before-call.{its.service}.{operation}", asks)  # nobody may refuse after the grant
        events.register_first(f"after-call.{its.service}.{its.success}", self._answered)

    def _noted(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        # before-call sees only the request, with the token somewhere in its address: it is read here, asked for there.
        context[_TOKEN] = params.get(self._operations.token)

    def _success(self, context: dict[str, Any], **_: Any) -> None:
        paused = self._paused(context)
        packet = self._packet(paused)
        if packet["requires_review"] and packet["reviewed"] != paused.action_digest:
            self._gate.review(paused, "approve", who=self._who)
        context[_GRANT] = self._gate.request_resume(paused, who=self._who)

    def _failure(self, context: dict[str, Any], **_: Any) -> None:
        try:
            self._gate.review(self._paused(context), "reject", who=self._who)
        except Shut as stays:
            if stays.branch not in ("closed", "terminate"):  # then there is nothing left that a failure could spoil
                raise

    def _heartbeat(self, context: dict[str, Any], **_: Any) -> None:
        answer = self._gate.heartbeat(self._paused(context), who=self._who)
        if answer.verdict == "refused":
            raise shut(answer, None)

    def _answered(self, http_response: Any, context: dict[str, Any], **_: Any) -> None:
        grant: Grant | None = context.get(_GRANT)
        if grant is None or not 400 <= http_response.status_code < 500:
            return
        try:
            self._void(grant, http_response.status_code)
        except LedgerError as trouble:  # the service's own answer goes to the caller; the ledger says reconcile
            _LOG.warning("The grant of %s could not be taken back: %s", grant.paused.pause, trouble)

    def _void(self, grant: Grant, status: int) -> None:
        """The service didn't take the token: nobody will act with this grant, and once that is told nobody can.

        botocore may have sent it twice, and the first was taken: whoever comes with this grant then finds it void.
        """
        packet = self._gate.packet(grant.paused)
        if packet["grant"] == "granted" and packet["fence"] == grant.fence:
            evidence = {"sent": self._operations.success, "http_status": status}
            self._gate.observe(grant.paused, "not_happened", settles=packet["side_effect_by"], evidence=evidence)

    def _paused(self, context: dict[str, Any]) -> Paused:
        token = context.get(_TOKEN)
        paused = self._find(token) if token else None
        if paused is None:
            raise Shut("refused", "No pause is known for this token.")
        return paused

    def _packet(self, paused: Paused) -> dict[str, Any]:
        try:
            return self._gate.packet(paused)
        except NotFound:
            raise Shut("refused", "The ledger knows no such pause.") from None
        except LedgerError as away:
            raise Shut("unknown", f"The ledger could not be read: {away}") from away
