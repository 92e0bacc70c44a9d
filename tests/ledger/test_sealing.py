"""Sealing: the cipher, that it is deterministic, what is refused, and what is shown again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cloudevents import STRUCTURED_HEADERS, content_of, in_binary_mode
from ledger.errors import WrongUsage
from ledger.events import NoteAdded, NoteAddedData
from ledger.json_text import write_json
from ledger.outbox import Outbox
from ledger.personal import MARKING, Mark, write_marking
from ledger.record import Headers, Record
from ledger.sealing import PersonalKey, Sealing, decrypted, encrypted, marked
from ledger.sending import BinaryEvent
from tests.faults.courts import ScriptedCourt
from tests.faults.lines import event, line
from tests.faults.waiting import until
from tests.ledger.conftest import Opening
from tests.ledger.rings import Ring

ANNA = {"user:anna": ["/text"]}
SECRET = "Anna asked"


def note(text: object = SECRET, marking: object = ANNA, **attributes: Any) -> dict[str, Any]:
    """A note whose text is marked."""
    content = event("note.added", {"text": text}, **attributes)
    return content | {"personaldata": json.dumps(marking) if isinstance(marking, dict) else marking}


def sealed_note(sealing: Sealing, **attributes: Any) -> dict[str, Any]:
    value, _ = sealing(write_json(note(**attributes)), STRUCTURED_HEADERS)
    content: dict[str, Any] = json.loads(value)
    return content


@pytest.mark.parametrize(
    ("key", "parts", "plain", "expected"),
    [
        (
            "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            ["101112131415161718191a1b1c1d1e1f2021222324252627"],
            "112233445566778899aabbccddee",
            "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c",
        ),
        (
            "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
            [
                "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
                "102030405060708090a0",
                "09f911029d74e35bd84156c5635688c0",
            ],
            "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
            "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17"
            "dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
        ),
    ],
    ids=["A.1", "A.2"],
)
def test_the_cipher_is_that_of_the_rfc(key: str, parts: list[str], plain: str, expected: str) -> None:
    """Both test vectors of RFC 5297, there and back."""
    secret, bound = bytes.fromhex(key), [bytes.fromhex(one) for one in parts]
    assert encrypted(secret, bytes.fromhex(plain), bound).hex() == expected
    assert decrypted(secret, bytes.fromhex(expected), bound) == bytes.fromhex(plain)
    assert decrypted(secret, bytes.fromhex(expected), bound[:-1] or [b"x"]) is None


def test_what_is_not_marked_passes_as_it_came() -> None:
    """Byte for byte, also where it talks of the extension, escapes letters, or is no event at all."""
    sealing = Sealing(Ring())
    for value in (
        line("note.added", {"text": "personaldata"}),
        line("note.added", {"text": "x"}, personaldata=None),
        b'{"text":"\\u0061"}',
        b"no json \\u0061",
        b"",
        b"\xff",
    ):
        assert sealing(value, STRUCTURED_HEADERS) == (value, STRUCTURED_HEADERS)


def test_a_sealed_event_names_the_key_and_nobody() -> None:
    """Neither the text nor whose it is is left; all else is as it was."""
    ring = Ring()
    value, headers = Sealing(ring)(write_json(note()), STRUCTURED_HEADERS)
    content = json.loads(value)
    (key,) = ring.known
    assert headers is STRUCTURED_HEADERS
    assert content["data"]["text"].startswith(f"sealed:v1:{key}:")
    assert json.loads(content["sealeddata"]) == {key: ["/text"]}
    assert b"anna" not in value.lower()
    assert "personaldata" not in content
    assert {name: content[name] for name in ("id", "source", "subject", "type")} == {
        name: note()[name] for name in ("id", "source", "subject", "type")
    }
    assert ring.uses == [("user:anna", "T-1")]


def test_binary_mode_is_sealed_in_its_headers_and_its_value() -> None:
    """The header of the marking gives way to that of the keys."""
    attributes = {name: value for name, value in note().items() if name != "data"}
    headers: Headers = tuple((f"ce_{name}", str(value).encode()) for name, value in attributes.items())
    value, found = Sealing(Ring())(b'{"text": "Anna asked"}', (*headers, ("content-type", b"application/json")))
    assert in_binary_mode(found)
    content = content_of(Record(0, 0, 0, None, value, found))
    assert content["data"] == sealed_note(Sealing(Ring()))["data"]
    assert content["sealeddata"] == sealed_note(Sealing(Ring()))["sealeddata"]
    assert b"anna" not in (value + repr(found).encode()).lower()


@pytest.mark.parametrize(
    "headers",
    [
        (("ce_PersonalData", b'{"a":["/text"]}'), ("ce_id", b"1")),
        (("ce_personaldata", b'{"a":["/text"]}'), ("content-type", b"application/cloudevents+json")),
    ],
)
def test_a_header_that_would_be_overlooked_is_refused(headers: Headers) -> None:
    """Written otherwise, or beside structured mode: somebody meant it."""
    with pytest.raises(WrongUsage, match="ce_personaldata"):
        Sealing(Ring())(b'{"text": "Anna"}', headers)


def test_a_name_that_is_escaped_is_a_marking_too() -> None:
    """The extension's name may be written with escapes, and a member that is named twice leaves no first behind."""
    text = write_json(note()).replace(b'"personaldata"', b'"person\\u0061ldata"')
    text = text.replace(b'"data":{', b'"data":{"text":"Anna, the first","te\\u0078t":"the second",')
    value, _ = Sealing(Ring())(text, STRUCTURED_HEADERS)
    assert json.loads(value)["sealeddata"]
    assert b"nna" not in value
    assert b"second" not in value


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (note(marking='{"user:anna": ["/nothing"]}'), "nothing at /nothing"),
        (note(marking='{"user:anna": ["/text"'), "no JSON"),
        (note(marking=7), "must be a string"),
        (note(text=None), "nothing at /text"),
        (note(text=7), "/text must be a string"),
        (note() | {"data": "text"}, "data must be a JSON object"),
        (note() | {"data_base64": "AAAA"}, "data must be a JSON object"),
        (note() | {"id": ""}, "id must be a string"),
        (note() | {"subject": None}, "subject must be a string"),
        (note() | {"sealeddata": "{}"}, "sealeddata already"),
        (note() | {"data": {"text": "x", "n": 2**60}, "personaldata": '{"a":["/n"]}'}, "/n has a number"),
        (note() | {"type": "pauseledger.work.moved", "data": {"to": "x"}, "personaldata": '{"a":["/to"]}'}, "/to is"),
    ],
)
def test_what_can_t_be_sealed_is_not_recorded(content: dict[str, Any], says: str) -> None:
    """An error that says which member and why, quotes nothing of it, and asks for no key."""
    ring = Ring()
    with pytest.raises(WrongUsage, match=says) as error:
        Sealing(ring)(write_json(content), STRUCTURED_HEADERS)
    assert SECRET not in str(error.value)
    assert ring.uses == []


def test_a_marked_line_that_is_no_event_is_not_recorded() -> None:
    """Nobody could seal it, and on the log it would stay for good; a number that would be lost is refused as well."""
    with pytest.raises(WrongUsage, match="can't be read"):
        Sealing(Ring())(write_json(note())[:-1], STRUCTURED_HEADERS)
    huge = write_json(note()).replace(b'"data":{', b'"data":{"n":1e999,')
    with pytest.raises(WrongUsage, match="can't hold"):
        Sealing(Ring())(huge, STRUCTURED_HEADERS)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_a_marking_in_another_encoding_is_seen(encoding: str) -> None:
    """JSON is UTF-8; what is not would be recorded as it came, malformed, and be readable for good."""
    with pytest.raises(WrongUsage, match="can't be read"):
        Sealing(Ring())(write_json(note()).decode().encode(encoding), STRUCTURED_HEADERS)


def test_an_escaped_marking_is_seen_where_the_line_is_no_json() -> None:
    """Each letter may be escaped, and the line be broken elsewhere; escapes and zeros alone are no marking."""
    sealing = Sealing(Ring())
    for name in (r"\u0070ersonaldata", r"personal\u0064at\u0061", "".join(f"\\u{ord(one):04X}" for one in MARKING)):
        broken = write_json(note()).replace(MARKING.encode(), name.encode()) + b","
        with pytest.raises(WrongUsage, match="can't be read"):
            sealing(broken, STRUCTURED_HEADERS)
    for strange in (b'{"a":"\\u0061', b"\x00\x01 no text", "nothing personal".encode("utf-16")):
        assert sealing(strange, STRUCTURED_HEADERS) == (strange, STRUCTURED_HEADERS)


def test_without_a_key_store_marked_events_are_refused(opening: Opening, court: ScriptedCourt) -> None:
    """Every publisher does so unless it was given one; what isn't marked is recorded as ever."""
    publisher = opening()
    with pytest.raises(WrongUsage, match="PAUSELEDGER_PERSONAL_KEYS"):
        publisher.submit_all([line("note.added", {"text": "x"}), note()])
    publisher.submit(line("note.added", {"text": "x"})).result()
    assert len(court.values) == 1


@pytest.mark.parametrize("binary", [False, True])
def test_log_and_outbox_see_ciphertext_only(
    opening: Opening, court: ScriptedCourt, outbox_path: Path, binary: bool
) -> None:
    """A fact of unknown fate lies in the outbox as it was sealed, and is sent so."""
    court.acknowledges = False
    publisher = opening(sealing=Sealing(Ring()), deadline_seconds=0.05)
    headers: Headers = tuple((f"ce_{name}", str(value).encode()) for name, value in note().items() if name != "data")
    sent: Any = BinaryEvent(b'{"text":"Anna asked"}', headers) if binary else note()
    assert publisher.submit(sent).result().verdict == "unknown"
    (kept,) = Outbox(outbox_path, "log").waiting(5)
    assert b"sealed:v1:" in kept.value
    files = [path for path in outbox_path.parent.iterdir() if path.name.startswith(outbox_path.name)]
    assert not any(word in path.read_bytes() for path in files for word in (b"Anna", b"anna"))
    court.acknowledge()
    until(lambda: publisher.waiting == 0, what="the outbox to be empty")
    assert {value for value in court.values if value is not None} == {kept.value}


def test_typed_events_and_mappings_are_marked_by_name() -> None:
    """What is wrong with a marking is said at once."""
    typed = NoteAdded(id="e-1", source="/runtime", subject="T-1", data=NoteAddedData(text=SECRET))
    assert json.loads(marked(typed, ANNA)["personaldata"]) == ANNA
    assert sealed_note(Sealing(Ring()))["data"] == Sealing(Ring()).sealed(marked(typed, ANNA))["data"]
    with pytest.raises(WrongUsage, match="no JSON Pointer"):
        marked(typed, {"user:anna": ["text"]})


NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-(2.0**53), 2.0**53)
VALUES = st.recursive(
    st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def rewritten(value: Any) -> Any:
    """The same JSON value, written another way: members turned round, whole numbers as floats and back."""
    if isinstance(value, dict):
        return {name: rewritten(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return [rewritten(one) for one in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return float(value) if type(value) is int else value


@given(VALUES)
def test_the_same_value_seals_to_the_same_bytes(value: Any) -> None:
    """However it is written, whoever holds the key; and it opens to what it was."""
    content = event("side_effect.observed", {"evidence": {"x": value}}) | {"personaldata": '{"a":["/evidence/x"]}'}
    other = {**content, "data": rewritten(content["data"])}
    first, second = Sealing(Ring()).sealed(content), Sealing(Ring()).sealed(other)
    assert first == second
    sealing = Sealing(Ring())
    opened, found = sealing.reveal(sealing.sealed(content))
    assert [one.state for one in found] == ["revealed"]
    assert opened["data"] == content["data"]


@given(st.text(min_size=1, max_size=5), st.text(min_size=1, max_size=5))
def test_other_texts_places_and_people_seal_otherwise(a: str, b: str) -> None:
    """Another text, id, source, work item or data subject: other bytes, so nothing is recognised by comparing."""
    variants = [
        note(text=a),
        note(text=b + "!" if a == b else b),
        note(text=a, id="e-2"),
        note(text=a, source="/b"),
        note(text=a, subject="T-2"),
        note(text=a, marking={"user:bob": ["/text"]}),
    ]
    found = [Sealing(Ring()).sealed(one)["data"]["text"].rpartition(":")[2] for one in variants]
    assert len(set(found)) == len(variants)


def test_why_a_member_is_not_revealed() -> None:
    """Its key was destroyed, was never here, or the member was moved here from elsewhere; what isn't sealed stays."""
    ring = Ring()
    sealing = Sealing(ring)
    content = sealed_note(sealing)
    (key,) = ring.known

    def state(content: dict[str, Any], ring: Ring = ring) -> str:
        shown, (found,) = Sealing(ring).reveal(content)
        assert (shown == content) is (found.state != "revealed")
        return found.state

    assert state(content) == "revealed"
    assert state(content, Ring()) == "unknown-key"
    assert state({**content, "id": "e-9"}) == "damaged"
    assert state({**content, "data": {"text": "plain"}}) == "damaged"
    assert state({**content, "data": None}) == "damaged"
    ring.forget(key)
    assert state(content) == "forgotten"
    for marking in (None, "{", write_marking([Mark("user:anna", "/text")])):
        assert Sealing(ring).reveal({**content, "sealeddata": marking})[1] == []


POINTERS = st.lists(st.sampled_from(["/text", "/a/0", "/a", "", "x", "/a~1", "/text/b"]), max_size=3)
MARKINGS = st.dictionaries(st.sampled_from(["0" * 32, "user:anna", ""]), POINTERS, max_size=2).map(json.dumps)
SEALED_TEXT = "sealed:v1:" + "0" * 32 + ":" + "A" * 30


@given(
    st.dictionaries(st.sampled_from(["text", "a"]), VALUES | st.just(SEALED_TEXT), max_size=2) | VALUES | st.binary(),
    MARKINGS | st.text(max_size=9) | VALUES,
    st.sampled_from(["T-1", "", None, 7]),
)
def test_whatever_strangers_write_is_shown_as_it_is(data: Any, marking: Any, subject: Any) -> None:
    """Anybody may put anything where sealed members are named: it is never an error, and nothing is changed."""
    ring = Ring()
    ring.known["0" * 32] = PersonalKey("0" * 32, bytes(64))
    content = {"subject": subject, "source": "/desk", "id": "n-1", "data": data, "sealeddata": marking}
    shown, found = Sealing(ring).reveal(content)
    assert shown == content
    assert all(one.state == "damaged" for one in found)


def test_a_key_is_never_printed() -> None:
    """Its id is all that it says of itself."""
    assert "secret" not in repr(PersonalKey("k", b"secret")) + str(PersonalKey("k", b"secret"))
