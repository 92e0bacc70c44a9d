"""From a record's raw bytes to an event, or to what is wrong with it (protocol, section 7, line 1).

CloudEvents 1.0 over the Kafka protocol binding: structured mode (also assumed where no header says anything) and
binary mode (``ce_`` headers). The bytes are judged as they came: no identifier, time or owner is ever made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from ledger.events import EVENT_TYPES, EVENTS, LedgerEvent
from ledger.json_text import DEEPEST, read_json
from ledger.partitions import partition_of
from ledger.record import Headers, Record

STRUCTURED = "application/cloudevents+json"
STRUCTURED_HEADERS: Headers = (("content-type", STRUCTURED.encode()),)
_PREFIX = "ce_"
_REQUIRED = ("id", "source", "type", "subject")
_READ = EVENTS.validator.validate_json
_N, _I = b"NI"  # bytes are looked for by their numbers several times as fast
_SHALLOW_BYTES = 2 * DEEPEST + 80
"""A sound event that nests too deep is longer: two brackets a level, beside the attributes that are required."""
_VALIDATE = {name: model.__pydantic_validator__.validate_python for name, model in EVENT_TYPES.items()}


ReadLine = tuple[bytes, LedgerEvent]
"""A line in structured mode, and the event that :func:`read_line` made of it."""


class Fault(NamedTuple):
    """Why a record is no event of this ledger: the code of its verdict, what is wrong, and what could be read of it."""

    code: str
    detail: str
    content: Mapping[str, Any]

    def attribute(self, name: str) -> str | None:
        """A required attribute where it can be read: a string that is not empty."""
        value = self.content.get(name)
        return value if isinstance(value, str) and value else None


def _content_type(headers: Headers) -> str | None:
    """The media type that the last ``content-type`` header names, in lower case; null without one."""
    found = None
    for name, value in headers:
        if name.lower() == "content-type":
            found = (value or b"").decode("latin-1").partition(";")[0].strip().lower()
    return found


def _is_binary(headers: Headers, content_type: str | None) -> bool:
    if content_type is not None and content_type.startswith("application/cloudevents"):
        return False
    return any(name.startswith(_PREFIX) for name, _ in headers)


def in_binary_mode(headers: Headers) -> bool:
    """Whether a record's headers are the attributes of its event."""
    return _is_binary(headers, _content_type(headers))


def structured_content(value: bytes | None) -> Mapping[str, Any]:
    """The CloudEvent of a value in structured mode. Raises ``ValueError`` where it is no JSON object."""
    try:
        content = read_json(value or b"")
    except ValueError:
        raise ValueError("its value is no JSON") from None  # in our words: a library's change from version to version
    if not isinstance(content, dict):
        raise ValueError("its value is JSON, but no object")
    return content


def _attributes(headers: Headers) -> dict[str, Any]:
    """The attributes of binary mode; their names are ASCII. A value that is no UTF-8 stays bytes, which no rule takes
    for a string.
    """
    content: dict[str, Any] = {}
    for name, value in headers:
        if name.startswith(_PREFIX) and name.isascii() and value is not None:
            try:
                content[name[len(_PREFIX) :]] = value.decode()
            except UnicodeDecodeError:
                content[name[len(_PREFIX) :]] = value
        elif name.lower() == "content-type" and value is not None:
            content["datacontenttype"] = value.decode("latin-1")
    return content


def _binary(record: Record) -> Mapping[str, Any]:
    content = _attributes(record.headers)
    content.pop("data", None)
    if record.value is not None:
        try:
            content["data"] = read_json(record.value)
        except ValueError:
            content["data"] = record.value
    return content


def content_of(record: Record) -> Mapping[str, Any]:
    """The CloudEvent of a record as one JSON object, whichever the mode. Raises ``ValueError``."""
    if not record.headers or record.headers == STRUCTURED_HEADERS:
        return structured_content(record.value)
    content_type = _content_type(record.headers)
    if _is_binary(record.headers, content_type):
        return _binary(record)
    if content_type not in (None, STRUCTURED):
        raise ValueError(f"its content type is {content_type}, not {STRUCTURED}")
    return structured_content(record.value)


def shown_event(record: Record) -> dict[str, Any] | None:
    """The CloudEvent of a record as people and scripts read it; null where it is no JSON object.

    Bytes that binary mode carried and that are no JSON can't be shown as such: they are null.
    """
    try:
        content = content_of(record)
    except ValueError:
        return None
    return {name: None if isinstance(value, bytes) else value for name, value in content.items()}


def subject_of(value: bytes) -> str | None:
    """The work item that a line in structured mode names, to find its key and partition; null where it names none."""
    try:
        subject = structured_content(value).get("subject")
    except ValueError:
        return None
    return subject if isinstance(subject, str) and subject else None


_ADVICE = {
    "missing": "is missing",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most 256 characters",
    "string_pattern_mismatch": 'must be an entry, "partition:offset"',
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "none_required": "must be absent: data is JSON here",
}


def _explain(error: ValidationError) -> str:
    """The first thing that is wrong, in words that don't change with a library's version."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":
        problem = str(first["ctx"]["error"])
    elif first["type"] == "literal_error":
        problem = f"must be {first['ctx']['expected']}"
    else:
        problem = _ADVICE.get(first["type"], "is not as the protocol says")
    return f"{place} {problem}"


def _missing_attribute(content: Mapping[str, Any]) -> str | None:
    if content.get("specversion") != "1.0":
        return 'specversion must be "1.0"'
    for name in _REQUIRED:
        if not isinstance(content.get(name), str) or not content[name]:
            return f"{name} must be a string that is not empty"
    return None


def _brackets(text: bytes) -> int:
    """How many brackets are opened, in strings too. To take them out is three times as fast as to count them."""
    return len(text) - len(text.replace(b"{", b"").replace(b"[", b""))


def read_line(value: bytes) -> LedgerEvent | None:
    """The event of a line in structured mode in which nothing is wrong: nearly always. Null says nothing.

    The parser inside the model takes NaN and infinities for JSON, nests deeper than we do, and takes a missing
    ``specversion`` for ours: those go the long way. In all else it is at least as strict as our own reading.
    """
    if (_N in value and value.find(b"NaN") >= 0) or (_I in value and value.find(b"Infinity") >= 0):
        return None
    if len(value) > _SHALLOW_BYTES and _brackets(value) > DEEPEST:
        return None
    try:
        event = _READ(value)
    except ValidationError:
        return None
    return event if "specversion" in event.__pydantic_fields_set__ else None


def read_event(record: Record, partitions: int, read_before: ReadLine | None = None) -> LedgerEvent | Fault:
    """The event of a record on a topic of so many partitions, or the first fault of it.

    ``read_before`` is a line and its event, of whoever may have read this record's value already.
    """
    value, headers = record.value, record.headers
    if value is not None and (headers is STRUCTURED_HEADERS or not headers or headers == STRUCTURED_HEADERS):
        event = read_before[1] if read_before is not None and read_before[0] == value else read_line(value)
        if event is not None:
            subject = event.subject
            if record.key == subject.encode() and record.partition == partition_of(subject, partitions):
                return event
    return _read_with_care(record, partitions)


def _read_with_care(record: Record, partitions: int) -> LedgerEvent | Fault:
    """Line 1 of the verdicts, fault by fault, in the protocol's order."""
    try:
        content = content_of(record)
    except ValueError as error:
        return Fault("not-cloudevent", str(error), {})
    if missing := _missing_attribute(content):
        return Fault("not-cloudevent", missing, content)
    subject: str = content["subject"]
    if record.key is None or record.key != subject.encode():
        return Fault("key-mismatch", "the record's key must be the subject in UTF-8", content)
    home = partition_of(subject, partitions)
    if home != record.partition:
        detail = f"this subject's partition is {home}: producers must hash keys with murmur2"
        return Fault("wrong-partition", detail, content)
    validate = _VALIDATE.get(content["type"])
    if validate is None:
        return Fault("unknown-type", f"{content['type']} is no type of this ledger", content)
    try:
        return validate(content)  # type: ignore[no-any-return]
    except ValidationError as error:
        return Fault("bad-data", _explain(error), content)


def known_event(record: Record) -> LedgerEvent:
    """The event of a record that was found well-formed before: key and partition are not looked at again."""
    value, headers = record.value, record.headers
    is_plain = not headers or headers == STRUCTURED_HEADERS
    event = read_line(value) if is_plain and value is not None else None
    if event is None:
        content = content_of(record)
        event = _VALIDATE[content["type"]](content)
    return event
