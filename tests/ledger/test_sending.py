"""What a publisher takes for an event, and which events are facts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.v1.event import CloudEvent

from ledger import events
from ledger.errors import WrongUsage
from ledger.events import EVENT_TYPES, REQUESTS
from ledger.record import MOST_RECORD_BYTES
from ledger.sealing import Sealing
from ledger.sending import BinaryEvent, Sending, Unknown, line_of, request_id, sending_of
from tests.faults.lines import event, line

NOTE = event("note.added", {"text": "grüße"})


def read(value: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(line_of(value))
    return content


def test_lines_are_taken_byte_for_byte() -> None:
    """Whatever they say: the log judges, not the publisher."""
    for value in (b'{"a" : 1}\r', b"", b"\xff\x00", b"no json"):
        assert line_of(value) == value
    assert line_of("grüße") == "grüße".encode()


def test_mappings_and_typed_events_become_one_line() -> None:
    """Nothing is added that was not given, but for the content type that data has."""
    typed = events.NoteAdded.model_validate(NOTE)
    assert read(NOTE) == NOTE
    assert read(typed) == NOTE | {"datacontenttype": "application/json"}
    assert b"\n" not in line_of(NOTE) + line_of(typed)


def test_a_typed_attempt_with_the_fence_of_no_grant_is_not_sent() -> None:
    """A refused request has no fence: published as one it would be a bare fact, which is always accepted."""
    given = event("side_effect.attempted", {"execution": "run-1", "pause": "p-1", "fence": None})
    with pytest.raises(WrongUsage, match="not accepted"):
        line_of(events.SideEffectAttempted.model_validate(given))
    del given["data"]["fence"]
    assert read(events.SideEffectAttempted.model_validate(given))["data"] == {"execution": "run-1", "pause": "p-1"}


def test_events_of_the_cloudevents_library_are_taken() -> None:
    """Attributes as they are, a time as RFC 3339, data as JSON."""
    attributes = {name: value for name, value in NOTE.items() if name != "data"}
    at = datetime(2026, 3, 28, 9, 0, tzinfo=UTC)
    given = CloudEvent({**attributes, "time": at, "actor": "user:dana"}, {"text": "grüße"})
    content = read(given)
    assert content.pop("time") == "2026-03-28T09:00:00+00:00"
    assert content.pop("actor") == "user:dana"
    assert content == NOTE


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        ["a"],
        object(),
        {"id": object()},
        {"data": {"x": {1, 2}}},
        {"data": b"bytes"},
        "\ud800",
        {"id": "\ud800"},
        {"time": NotImplemented},
    ],
    ids=["null", "number", "list", "object", "object in it", "set in it", "bytes", "surrogate", "surrogate in it", "x"],
)
def test_what_is_no_event_is_wrong_usage(value: Any) -> None:
    """Said to the caller at once, in the ledger's words; nothing is sent."""
    with pytest.raises(WrongUsage):
        line_of(value)


def test_an_event_of_the_library_whose_data_is_no_json_is_wrong_usage() -> None:
    """Bytes can't be carried in structured mode's data."""
    attributes = {name: value for name, value in NOTE.items() if name != "data"}
    with pytest.raises(WrongUsage):
        line_of(CloudEvent(attributes, b"\xff\x00"))


def test_what_is_larger_than_a_log_takes_is_wrong_usage() -> None:
    """The largest that fits is taken, a byte more is not."""
    small = len(line("note.added", {"text": ""}))
    overhead = len("T-1") + len("content-type") + len("application/cloudevents+json")
    room = MOST_RECORD_BYTES - small - overhead
    Sending(line("note.added", {"text": "x" * room}))
    with pytest.raises(WrongUsage, match="larger"):
        Sending(line("note.added", {"text": "x" * (room + 1)}))


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_requests_and_facts_are_as_the_protocol_says(kind: str) -> None:
    """Only what asks for something is a request; an attempt is one where it carries a fence."""
    name = kind.removeprefix("pauseledger.")
    assert Sending(line(name, {})).is_request == (kind in REQUESTS)
    fenced = Sending(line(name, {"fence": 0}))
    assert fenced.is_request == (kind in REQUESTS or kind == "pauseledger.side_effect.attempted")
    assert not Sending(line("side_effect.attempted", {"fence": None})).is_request


def test_what_can_not_be_read_is_a_fact_without_names() -> None:
    """It is recorded all the same, so it must arrive."""
    for value in (b"noise", b"[]", b"{}", b'{"id":7,"subject":null,"type":["x"]}', b""):
        sending = Sending(value)
        assert (sending.names, sending.is_request) == ((None,) * 4, False)


def test_an_unknown_answer_reads_like_a_verdict() -> None:
    """The same members as a verdict has, null where nobody knows."""
    said = Unknown("T-1", "e-1", "/s", "t").as_dict()
    assert (said["verdict"], said["code"], said["partition"], said["offset"]) == (
        "unknown",
        "unacknowledged",
        None,
        None,
    )
    assert Unknown("T-1", "e", "/s", "t", "unjudged", (2, 7)).as_dict()["offset"] == 7
    reasons = {
        Unknown(None, None, None, None).reason,
        Unknown(None, None, None, None, kept=True).reason,
        Unknown(None, None, None, None, "unjudged", (0, 0)).reason,
    }
    assert len(reasons) == 3


def test_ids_of_requests_are_never_the_same_twice() -> None:
    """A name for people, and a random part."""
    made = {request_id("resume") for _ in range(100)}
    assert len(made) == 100
    assert all(name.startswith("resume-") for name in made)


def test_binary_mode_is_recorded_as_it_is() -> None:
    """Subject and kind are read off the headers; value and headers go into the record unchanged."""
    headers = (("ce_type", b"pauseledger.resume.requested"), ("ce_subject", b"T-1"), ("ce_id", b"e"))
    sending = sending_of(BinaryEvent(b'{"a" : 1}', headers), Sealing())
    draft = sending.draft(1)
    assert (draft.key, draft.value, draft.headers) == (b"T-1", b'{"a" : 1}', headers)
    assert sending.is_request
    assert sending.names == ("T-1", "e", None, "pauseledger.resume.requested")
    with pytest.raises(WrongUsage):
        sending_of(BinaryEvent(b"", (("ce_id", b"x" * (MOST_RECORD_BYTES + 1)),)), Sealing())
