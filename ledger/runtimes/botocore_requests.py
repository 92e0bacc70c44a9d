"""The requests that botocore makes of one call: how many may have left, and whether each proved to do nothing.

botocore sends a request a second time by itself, and what the first one did then shows in no answer. A request counts
from when it is signed and ready to be sent. What becomes of it may never be told: an answer that can't be parsed is an
error of the whole call, and of no request. So a call did nothing only where as many requests prove it as were made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ledger.runtimes.extras import needs

with needs("step-functions"):
    from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError)
"""No connection was made. Whatever comes later (TLS, a proxy, sending, reading) may have let the request through."""
_REQUESTS = "pauseledger.requests"

Refusal = Callable[[Mapping[str, Any]], bool]
"""Says of an answer of the service that the request which it answers did nothing."""


class Requests:
    """Those of one call."""

    def __init__(self, refuses: Refusal) -> None:
        self.made = 0
        self._idle = 0
        self._refuses = refuses

    def kept_in(self, context: dict[str, Any]) -> Requests:
        """Count what is made of the call with this context from now on."""
        context[_REQUESTS] = self
        return self

    @property
    def did_nothing(self) -> bool:
        """Whether it is proven of each of them; so it is where there was none."""
        return self._idle == self.made

    def answered(self, parsed: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """One of them has its answer, or an error in its place."""
        if isinstance(error, _NOT_SENT) if parsed is None else self._refuses(parsed):
            self._idle += 1


def count_requests(client: Any, operation: str) -> None:
    """Let the client's calls of this operation be counted, where :meth:`Requests.kept_in` asked for it."""
    events, service = client.meta.events, client.meta.service_model.service_id.hyphenize()
    events.register_last("request-created", _made)  # the signature is made there, too: an error of it sends nothing
    events.register_first(f"response-received.{service}.{operation}", _answered)


def status_of(parsed: Mapping[str, Any]) -> int:
    """The HTTP status of an answer; one that has none is taken for the service's own failure."""
    return int(parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))


def _made(request: Any, **_: Any) -> None:
    requests: Requests | None = request.context.get(_REQUESTS)
    if requests is not None:
        requests.made += 1


def _answered(
    context: dict[str, Any], parsed_response: Mapping[str, Any] | None = None, exception: Any = None, **_: Any
) -> None:
    requests: Requests | None = context.get(_REQUESTS)
    if requests is not None:
        requests.answered(parsed_response, exception)
