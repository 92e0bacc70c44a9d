"""From bytes to an event: both modes, every way to be malformed, and resends across modes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cloudevents import Fault, read_event, subject_of
from ledger.partitions import partition_of
from ledger.record import Headers, Record
from tests.ledger.story import CLEAR, Story

OPENED = CLEAR | {"pause": "p-1"}
ATTRIBUTES = {
    "specversion": "1.0",
    "id": "1",
    "source": "/s",
    "type": "pauseledger.pause.opened",
    "subject": "T-1",
    "actor": "user:ann",
    "actorroles": "role:a, role:b",
    "time": "2026-03-28T09:00:00Z",
    "traceparent": "00-1",
}
JSON_TYPE = (("content-type", b"application/json"),)


def line(data: Any = OPENED, **attributes: Any) -> bytes:
    return json.dumps(ATTRIBUTES | attributes | {"data": data}).encode()


def binary(data: Any = OPENED, **attributes: Any) -> Record:
    """The same event in binary mode; an attribute that is null is not there."""
    told = {name: value for name, value in (ATTRIBUTES | attributes).items() if value is not None}
    headers = tuple(
        (f"ce_{name}", value if isinstance(value, bytes) else value.encode()) for name, value in told.items()
    )
    return Record(0, 0, 0, b"T-1", json.dumps(data).encode(), JSON_TYPE + headers)


def structured(value: bytes | None, headers: Headers = (), key: bytes | None = b"T-1") -> Record:
    return Record(0, 0, 0, key, value, headers)


def fault(record: Record) -> str | None:
    found = read_event(record, 1)
    return found.code if isinstance(found, Fault) else None


def test_both_modes_say_the_same() -> None:
    """An event in binary mode is the event in structured mode."""
    one = read_event(binary(), 1)
    other = read_event(structured(line(datacontenttype="application/json")), 1)
    assert not isinstance(one, Fault)
    assert one == other
    assert one.actorroles == "role:a, role:b"


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("content-type", b"application/cloudevents+json"),),
        (("Content-Type", b"Application/CloudEvents+JSON; charset=UTF-8"),),
        (("content-type", b"text/plain"), ("content-type", b"application/cloudevents+json")),
        (("content-type", b"application/cloudevents+json"), ("ce_id", b"other"), ("ce_type", b"nonsense")),
        (("traceparent", b"00-2"), ("x", None)),
    ],
)
def test_structured_mode_is_known_by_its_header_or_by_none(headers: Headers) -> None:
    """Structured mode is what the content type says, and also what is assumed where the header is missing."""
    assert fault(structured(line(), headers)) is None


@pytest.mark.parametrize(
    "kind", [b"application/json", b"text/plain", b"", b"application/cloudevents-batch+json", b"\xff"]
)
def test_another_content_type_without_attributes_is_no_event(kind: bytes) -> None:
    """A header that says otherwise is believed: such a record is no CloudEvent."""
    assert fault(structured(line(), (("content-type", kind),))) == "not-cloudevent"


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"1",
        b"null",
        b'"x"',
        b"\xef\xbb\xbf" + line(),
        b"\xff",
        b"NaN",
        line()[:-1],
        line() + b"x",
        b"[" * 100000,
        line().replace(b'"user:ann"', b"NaN"),
        line().replace(b'"user:ann"', b'"\\ud800"'),
    ],
)
def test_what_is_no_json_object_is_no_event(value: bytes | None) -> None:
    """No value, no JSON, no object, a BOM, wrong UTF-8, NaN, a lone surrogate, endless nesting."""
    assert fault(structured(value)) == "not-cloudevent"


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject"])
@pytest.mark.parametrize("value", [None, "", 1, ["1.0"], {}, True])
def test_a_required_attribute_is_a_string_that_is_not_empty(name: str, value: Any) -> None:
    """Each of the required attributes, missing, empty or no string: no CloudEvent, in the structured mode."""
    assert fault(structured(line(**{name: value}))) == "not-cloudevent"
    without = {key: member for key, member in json.loads(line()).items() if key != name}
    assert fault(structured(json.dumps(without).encode())) == "not-cloudevent"


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject"])
@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe"])
def test_a_required_header_is_a_text_that_is_not_empty(name: str, value: bytes | None) -> None:
    """The same in binary mode, where a header may also be no UTF-8."""
    assert fault(binary(**{name: value})) == "not-cloudevent"


@pytest.mark.parametrize("version", ["0.3", "1", "1.0.0", "1.0 "])
def test_another_version_is_another_protocol(version: str) -> None:
    """Only CloudEvents 1.0 is read."""
    assert fault(structured(line(specversion=version))) == "not-cloudevent"


@pytest.mark.parametrize("key", [None, b"", b"T-2", b"T-1 ", b"t-1", b"\xff"])
def test_the_key_is_the_subject(key: bytes | None) -> None:
    """A record that is keyed otherwise lies where its work item's readers don't look."""
    assert fault(structured(line(), key=key)) == "key-mismatch"


def test_a_key_is_utf_8() -> None:
    """A subject beyond ASCII is keyed by its UTF-8."""
    assert fault(structured(line(subject="Tîcket-✓"), key="Tîcket-✓".encode())) is None
    assert fault(structured(line(subject="Tîcket-✓"), key="Tîcket-✓".encode("utf-16"))) == "key-mismatch"


def test_a_record_lies_in_its_partition() -> None:
    """Of all the partitions of a topic one is right."""
    record = structured(line())
    for partition in range(6):
        found = read_event(record._replace(partition=partition), 6)
        assert isinstance(found, Fault) is (partition != partition_of("T-1", 6))
        assert not isinstance(found, Fault) or found.code == "wrong-partition"


@pytest.mark.parametrize("kind", ["pauseledger.nonsense", "pause.opened", "PAUSELEDGER.pause.opened", "os:system", " "])
def test_an_unknown_type_is_named(kind: str) -> None:
    """A type that the protocol does not have is never looked up anywhere else."""
    assert fault(structured(line(type=kind))) == "unknown-type"


@pytest.mark.parametrize(
    "attributes",
    [
        {"time": "yesterday"},
        {"time": 1},
        {"actor": ""},
        {"actor": "x" * 257},
        {"actor": 1},
        {"actorroles": ["role:a"]},
        {"traceparent": 1},
        {"datacontenttype": "text/plain"},
        {"datacontenttype": "application/jsonx"},
        {"data_base64": "e30="},
        {"id": "x" * 257},
        {"source": "x" * 257},
        {"data": None},
        {"data": []},
        {"data": "{}"},
        {"data": 1},
    ],
    ids=str,
)
def test_an_attribute_of_the_wrong_form_is_bad_data(attributes: dict[str, Any]) -> None:
    """Optional attributes are as the protocol says, or the event is bad data; and data is an object."""
    value = json.dumps(ATTRIBUTES | {"data": OPENED} | attributes).encode()
    assert fault(structured(value)) == "bad-data"


def test_a_subject_that_is_too_long_is_bad_data() -> None:
    """A subject of 257 characters is keyed and placed rightly, and still no identifier."""
    subject = "x" * 257
    assert fault(structured(line(subject=subject), key=subject.encode())) == "bad-data"


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"\xff", b"NaN", None])
def test_data_in_binary_mode_is_an_object(value: bytes | None) -> None:
    """The value of a record in binary mode is the data: no object, no event of ours."""
    assert fault(binary()._replace(value=value)) == "bad-data"


@pytest.mark.parametrize("kind", [b"application/json; charset=utf-8", b"APPLICATION/JSON"])
def test_the_data_type_may_have_parameters(kind: bytes) -> None:
    """Parameters and case of the media type do not count."""
    record = binary()
    headers = (("content-type", kind), *record.headers[1:])
    assert fault(record._replace(headers=headers)) is None
    assert fault(structured(line(datacontenttype=kind.decode()))) is None


@pytest.mark.parametrize("name", ["time", "actor", "actorroles", "traceparent", "datacontenttype", "data_base64"])
def test_a_null_attribute_counts_as_absent(name: str) -> None:
    """An attribute that is null is not there."""
    told = {key: value for key, value in json.loads(line()).items() if key != name}
    with_null = read_event(structured(json.dumps(told | {name: None}).encode()), 1)
    assert not isinstance(with_null, Fault)
    assert with_null == read_event(structured(json.dumps(told).encode()), 1)


def test_the_last_of_a_repeated_member_counts() -> None:
    """A text that names a member twice says the last: for attributes, and for data."""
    value = line().replace(b'"id": "1"', b'"id": "first", "id": "1"').replace(b'"p-1"', b'"p-0", "pause": "p-1"')
    assert value.count(b'"id"') == value.count(b'"pause"') == 2
    found = read_event(structured(value), 1)
    assert not isinstance(found, Fault)
    assert found == read_event(structured(line()), 1)


def test_an_action_beyond_jcs_is_bad_data() -> None:
    """An integer that RFC 8785 can't express is refused where it is hashed, and kept where it is not."""
    big = {"n": 2**53}
    action = {"kind": "tool", "name": "pay", "arguments": big}
    assert fault(structured(line(OPENED | {"pending_action": action}))) == "bad-data"
    assert fault(structured(line(OPENED | {"runtime": big}))) is None


def test_unknown_extensions_are_ignored() -> None:
    """Other extensions say nothing to the ledger, whatever their form."""
    assert fault(structured(line(partitionkey=1, other=[None]))) is None


@given(
    st.binary(max_size=80), st.lists(st.tuples(st.text(max_size=12), st.none() | st.binary(max_size=12)), max_size=3)
)
def test_nothing_on_the_log_breaks_a_reader(value: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    """Any value with any headers is an event or has a fault."""
    fault(structured(value, tuple(headers)))


@pytest.mark.parametrize(
    ("value", "subject"),
    [(line(), "T-1"), (b"{", None), (b"[]", None), (b'{"subject":1}', None), (b'{"subject":""}', None), (b"", None)],
)
def test_the_subject_of_a_line(value: bytes, subject: str | None) -> None:
    """The command line finds a line's key, also where the line is no CloudEvent otherwise."""
    assert subject_of(value) == subject


def told(story: Story, data: Any, event_id: str = "same", mode: Callable[..., Record] | None = None) -> Any:
    """Publish pause.opened under an id, in structured mode, or in binary."""
    event = story.event("pause.opened", data, id=event_id)
    if mode is None:
        return story.put(event)
    absent = dict.fromkeys(("actor", "actorroles", "time", "traceparent"))
    record = mode(data, **(absent | {name: value for name, value in event.items() if name != "data"}))
    return story.put(record.value, headers=record.headers)


@pytest.mark.parametrize("again", [None, binary], ids=["structured", "binary"])
def test_a_resend_is_a_duplicate_in_any_mode(again: Callable[..., Record] | None) -> None:
    """The same source, id, type and data: a duplicate, which carries the verdict of the first and changes nothing."""
    story = Story()
    first = told(story, OPENED)
    before = story.item
    second = told(story, OPENED, mode=again)
    assert (second.verdict, second.code) == ("duplicate", "duplicate")
    assert second.as_dict()["first"] == first.as_dict()
    assert second.accepted
    assert story.item.pauses == before.pauses


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (OPENED | {"trigger": None}, "duplicate"),
        (dict(reversed(OPENED.items())), "duplicate"),
        (OPENED | {"unknown": 1}, "id-reused"),
        (OPENED | {"trigger": "x"}, "id-reused"),
        (OPENED | {"runtime": {"x": None}}, "id-reused"),
    ],
)
def test_an_id_names_one_saying(data: dict[str, Any], code: str) -> None:
    """Equal as JSON without null members is a duplicate; anything else under that id is refused."""
    story = Story()
    told(story, OPENED)
    assert told(story, data).code == code


def test_an_id_is_kept_by_the_first_that_used_it() -> None:
    """A third entry is compared with the first, not with what was refused in between; a refused first counts too."""
    story = Story()
    refused = story.put(story.event("resume.requested", {"execution": "e", "pause": "p"}, id="same"))
    assert refused.code == "no-such-pause"
    assert told(story, OPENED).code == "id-reused"
    again = story.put(story.event("resume.requested", {"execution": "e", "pause": "p"}, id="same"))
    assert (again.code, again.accepted) == ("duplicate", False)
    assert again.as_dict()["first"]["code"] == "no-such-pause"


def test_other_sources_subjects_and_malformed_entries_keep_no_id() -> None:
    """An id belongs to its source and its work item; what is malformed has used none."""
    story = Story()
    assert told(story, []).verdict == "malformed"
    assert told(story, OPENED).accepted
    other = story.event("note.added", {"text": "x"}, id="same", source="/other")
    assert story.put(other).code == "ok"
    elsewhere = story.event("note.added", {"text": "x"}, id="same", subject="T-9")
    assert story.put(elsewhere, key=b"T-9").code == "ok"


def test_a_type_counts_for_an_id() -> None:
    """The same data under another type is another saying."""
    story = Story()
    data = {"execution": "run-1", "pause": "p-1", "outcome": "abandoned"}
    story.put(story.event("pause.closed", data, id="same"))
    assert story.put(story.event("execution.finished", data, id="same")).code == "id-reused"


def test_other_attributes_do_not_count_for_an_id() -> None:
    """A resend by another actor, at another time, is a resend."""
    story = Story()
    story.put(story.event("note.added", {"text": "x"}, id="same"))
    again = story.event("note.added", {"text": "x"}, id="same", actor="user:eve", time="2026-03-28T09:00:00Z", ext="1")
    assert story.put(again).code == "duplicate"
