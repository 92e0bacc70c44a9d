"""What a publisher sends: an event as bytes for the log, what is known of it before, and the answer that it gets."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from ledger.cloudevents import STRUCTURED_HEADERS, content_of, read_line
from ledger.errors import LedgerError, WrongUsage
from ledger.events import REQUESTS, Event, SideEffectAttempted, is_request
from ledger.json_text import write_json
from ledger.log import Draft
from ledger.logs.limits import draft_size
from ledger.partitions import partition_of
from ledger.record import MOST_RECORD_BYTES, Headers, Record
from ledger.verdict import Verdict

_ATTEMPTED = "pauseledger.side_effect.attempted"
_ATTRIBUTES = ("subject", "id", "source", "type")
_FITS = MOST_RECORD_BYTES // 2 - 1_024
"""A line of no more bytes fits with its key, which is a part of it, and its headers."""


class Unknown(NamedTuple):
    """No verdict within the deadline: the event may or may not be on the log.

    ``code`` is ``unacknowledged``, or ``unjudged`` where the log has it and only the verdict is missing; then ``entry``
    says where. ``kept`` says that the outbox will send it until the log has it.
    """

    subject: str | None
    id: str | None
    source: str | None
    type: str | None
    code: str = "unacknowledged"
    entry: tuple[int, int] | None = None
    kept: bool = False

    @property
    def verdict(self) -> Literal["unknown"]:
        return "unknown"

    @property
    def accepted(self) -> bool:
        """Nobody knows: so nobody may act on it."""
        return False

    @property
    def reason(self) -> str:
        if self.entry is not None:
            return "The log has it, and its verdict was not known in time: ask for the trail."
        if self.kept:
            return "The log did not acknowledge it in time; the outbox keeps it and sends it again under the same id."
        return "The log did not acknowledge it in time: it may or may not be there. Sent again, it counts once."

    def as_dict(self) -> dict[str, Any]:
        partition, offset = self.entry or (None, None)
        return {
            "partition": partition,
            "offset": offset,
            "recorded_at": None,
            "subject": self.subject,
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "verdict": self.verdict,
            "code": self.code,
            "reason": self.reason,
        }


Answer = Verdict | Unknown

Outcome = Answer | LedgerError
"""What becomes of an event: an answer, or why it can never be recorded."""


@runtime_checkable
class ForeignCloudEvent(Protocol):
    """An event of the ``cloudevents`` library, version 2: anything that has its attributes and data to give."""

    def get_attributes(self) -> dict[str, Any]: ...

    def get_data(self) -> Any: ...


class BinaryEvent(NamedTuple):
    """An event in binary mode: its data as bytes, and the record's headers, ``ce_`` ones and ``content-type``."""

    value: bytes
    headers: Headers


Publishable = Event | Mapping[str, Any] | bytes | str | ForeignCloudEvent | BinaryEvent
"""A typed event, a CloudEvent as a mapping, one line of JSON as it is, an event of the ``cloudevents`` library, or an
event in binary mode, which is recorded as it is."""

Seal = Callable[[bytes, Headers], tuple[bytes, Headers]]
"""What makes of an event's value and headers those that are recorded; see :class:`ledger.sealing.Sealing`."""


def sending_of(event: Publishable, seal: Seal) -> Sending:
    """An event on its way, sealed. Raises ``WrongUsage`` as :func:`line_of`, where what is marked as personal can't
    be sealed, and for what is larger than a log takes.
    """
    if isinstance(event, BinaryEvent):
        return Sending(*seal(event.value, event.headers))
    return Sending(*seal(line_of(event), STRUCTURED_HEADERS))


def line_of(event: Publishable) -> bytes:
    """The event in structured mode, one line of JSON. Lines are taken byte for byte, whatever they say.

    Raises ``WrongUsage`` for what is no event, or can't be written as JSON.
    """
    if isinstance(event, bytes):
        return event
    try:
        if isinstance(event, str):
            return event.encode()
        if isinstance(event, Event):
            return written(event)
        if isinstance(event, Mapping):
            return write_json(dict(event))
        if isinstance(event, ForeignCloudEvent):
            return write_json(_members(event))
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongUsage(
            f"This {type(event).__name__} can't be written as JSON ({error}).", "Give it data that JSON can hold."
        ) from error
    raise WrongUsage(
        f"A {type(event).__name__} is no event.", "Publish an event of ledger.events, a CloudEvent, or a line of JSON."
    )


def written(event: Event) -> bytes:
    """A typed event in structured mode. Raises ``WrongUsage`` for an attempt whose fence was given, and is none.

    On the ledger that is an attempt without a fence: a fact, which is always accepted. Whoever meant to ask with the
    fence of a grant, and was refused the grant, would take that for the permission.
    """
    if isinstance(event, SideEffectAttempted) and "fence" in event.data.model_fields_set and event.data.fence is None:
        raise WrongUsage(
            "This attempt was given no fence (fence=None), so its resume was not accepted: nobody may act.",
            "See that the resume is accepted first; to tell of an act without a grant, leave fence out.",
        )
    return event.to_json()


def _members(event: ForeignCloudEvent) -> dict[str, Any]:
    attributes = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in event.get_attributes().items()
    }
    return attributes | {"data": event.get_data()}


class Sending:
    """One event on its way: its bytes, what could be read of them, and what became of it."""

    __slots__ = (
        "_content",
        "entry",
        "event",
        "headers",
        "is_request",
        "kept_as",
        "outcome",
        "parcel",
        "subject",
        "value",
    )

    parcel: Any
    """What it was submitted in."""

    def __init__(self, value: bytes, headers: Headers = STRUCTURED_HEADERS) -> None:
        is_plain = headers is STRUCTURED_HEADERS
        event = read_line(value) if is_plain else None
        self._content: Mapping[str, Any] = {}
        self.value = value
        self.headers = headers
        self.event = event
        self.subject: str | None
        if event is not None:
            self.subject = event.subject
            self.is_request = is_request(event)
        else:
            with suppress(ValueError):
                self._content = content_of(Record(0, 0, 0, None, value, headers))
            self.subject = _text(self._content.get("subject"))
            self.is_request = _asks(self._content)
        self.outcome: Outcome | None = None
        self.entry: tuple[int, int] | None = None
        self.kept_as: int | None = None
        if (len(value) > _FITS or not is_plain) and (size := draft_size(self.draft(1))) > MOST_RECORD_BYTES:
            raise WrongUsage(
                f"An event of {size} bytes is larger than a log takes ({MOST_RECORD_BYTES}).",
                "Record where the large part is kept, and its digest.",
            )

    @property
    def names(self) -> tuple[str | None, str | None, str | None, str | None]:
        """Subject, id, source and type, as far as they can be read."""
        if self.event is not None:
            return self.event.subject, self.event.id, self.event.source, self.event.type
        subject, name, source, kind = (_text(self._content.get(name)) for name in _ATTRIBUTES)
        return subject, name, source, kind

    @property
    def is_answered(self) -> bool:
        """Whether nobody waits any more: it has its outcome, or whoever submitted it has given up."""
        return self.outcome is not None or self.parcel.future.done()

    def draft(self, partitions: int) -> Draft:
        """The record for a log of so many partitions; on an empty key's partition where it names no subject."""
        return draft_for(self.subject, self.value, partitions, self.headers)

    def unknown(self) -> Unknown:
        """The answer where there is no better one yet."""
        code = "unacknowledged" if self.entry is None else "unjudged"
        subject, name, source, kind = self.names
        return Unknown(subject, name, source, kind, code, self.entry, self.kept_as is not None)


def draft_for(subject: str | None, value: bytes, partitions: int, headers: Headers = STRUCTURED_HEADERS) -> Draft:
    """The record of an event: of a line in structured mode, unless its headers say otherwise."""
    key = None if subject is None else subject.encode()
    return Draft(partition_of(subject or "", partitions), key, value, headers)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _asks(content: Mapping[str, Any]) -> bool:
    """Whether the event asks for something: then a late resend would be a new wish."""
    if content.get("type") == _ATTEMPTED:
        data = content.get("data")
        return isinstance(data, dict) and data.get("fence") is not None
    return _text(content.get("type")) in REQUESTS


def request_id(name: str) -> str:
    """An id for a request: a name for people and a random part, so that another try is never taken for a resend."""
    return f"{name}-{uuid.uuid4().hex}"
