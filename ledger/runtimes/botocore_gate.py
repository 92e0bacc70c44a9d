"""A gate in a botocore client: whoever decides a callback with boto3 is asked for his grant on the way out.

For services that hand out a token and wait for somebody to bring it back with a success, a failure or a heartbeat. A
success is sent only with a grant, a failure once the ledger knows of the rejection, a heartbeat once the ledger has
accepted it. Raising ``Shut`` in ``before-call`` keeps the request from being sent.

The grant of a success is taken back only where each request of the call has proved that it was not taken: see
:mod:`ledger.runtimes.botocore_requests`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ledger.errors import LedgerError, NotFound
from ledger.runtimes.botocore_requests import Requests, count_requests, status_of
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


class _Sent(NamedTuple):
    """What a success was sent with."""

    grant: Grant
    requests: Requests


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

        def noted(model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
            # before-call sees only the request, with the token somewhere in its address: read here, asked for there.
            if model.name in gated:
                context[_TOKEN] = params.get(its.token)

        def asked(model: Any, context: dict[str, Any], **_: Any) -> None:
            if model.name in gated:
                gated[model.name](context)

        # What is registered for one operation alone comes earlier: nobody changes the token, or refuses, after these.
        events.register_last("before-parameter-build", noted)
        events.register_last("before-call", asked)
        count_requests(client, its.success)
        events.register_first(f"after-call.{its.service}.{its.success}", self._answered)
        events.register_first(f"after-call-error.{its.service}.{its.success}", self._unanswered)

    def _success(self, context: dict[str, Any]) -> None:
        paused = self._paused(context)
        packet = self._packet(paused)
        if packet["requires_review"] and packet["reviewed"] != paused.action_digest:
            self._gate.review(paused, "approve", who=self._who)
        context[_GRANT] = _Sent(self._gate.request_resume(paused, who=self._who), Requests(_refuses).kept_in(context))

    def _failure(self, context: dict[str, Any]) -> None:
        try:
            self._gate.review(self._paused(context), "reject", who=self._who)
        except Shut as stays:
            if stays.branch not in ("closed", "terminate"):  # then there is nothing left that a failure could spoil
                raise

    def _heartbeat(self, context: dict[str, Any]) -> None:
        answer = self._gate.heartbeat(self._paused(context), who=self._who)
        if not answer.accepted:
            raise shut(answer, None)

    def _answered(self, parsed: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        if (status := status_of(parsed)) >= 300:
            self._void(context, {"http_status": status})

    def _unanswered(self, exception: BaseException, context: dict[str, Any], **_: Any) -> None:
        self._void(context, {"error": type(exception).__name__})

    def _void(self, context: dict[str, Any], ended: dict[str, Any]) -> None:
        """The service didn't take the token: nobody will act with this grant, and once that is told nobody can."""
        sent: _Sent | None = context.get(_GRANT)
        if sent is None or not sent.requests.did_nothing:
            return
        paused = sent.grant.paused
        try:
            packet = self._gate.packet(paused)
            if packet["grant"] == "granted" and packet["fence"] == sent.grant.fence:
                evidence = {"sent": self._operations.success, "requests": sent.requests.made, **ended}
                self._gate.observe(paused, "not_happened", settles=packet["side_effect_by"], evidence=evidence)
        except LedgerError as trouble:  # the service's own answer goes to the caller; the ledger says reconcile
            _LOG.warning("The grant of %s could not be taken back: %s", paused.pause, trouble)

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


def _refuses(parsed: Mapping[str, Any]) -> bool:
    """Whether the service took nothing of the request that it answers so."""
    return 400 <= status_of(parsed) < 500
