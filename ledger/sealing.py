"""Sealing: what is marked as personal is encrypted per data subject before anything else sees the event.

AES-SIV (RFC 5297) is deterministic: who sends an event again under the same id sends the same bytes, and the ledger
takes it for the duplicate that it is. What is encrypted is the RFC 8785 form of a member, so two ways to write one
value are one. Keys are asked for with each event, and kept nowhere here: what was forgotten is so at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

import orjson

from ledger.actions import canonical
from ledger.cloudevents import STRUCTURED_HEADERS, content_of, in_binary_mode
from ledger.errors import WrongUsage
from ledger.events import Event
from ledger.json_text import read_json, same_data, write_json
from ledger.personal import (
    MARKING,
    SEALED,
    Mark,
    Sealed,
    bound_to,
    is_key_id,
    member_at,
    read_marking,
    read_sealed,
    refuse_judged,
    with_members,
    write_marking,
    write_sealed,
)
from ledger.record import Headers, Record

KEY_BYTES = 64
"""A key of AES-256 for the authentication, and one for the encryption."""
_IN_BYTES = MARKING.encode()
_FIND = re.compile(_IN_BYTES).search  # twice as fast as ``in``
(_BACKSLASH,) = b"\\"
_ESCAPED = (b"\\u006", b"\\u007")
"""How a letter of an attribute's name would be escaped."""
_ESCAPE = re.compile(rb"\\u00([0-7][0-9a-fA-F])")
_NUL = 0
_HEADER = f"ce_{MARKING}"
_SEE = "See docs/erasure.md for what may be marked."

State = Literal["revealed", "forgotten", "unknown-key", "damaged"]


class PersonalKey:
    """The key of a data subject, and the id by which sealed strings name it. Never printed."""

    __slots__ = ("id", "secret")

    def __init__(self, id: str, secret: bytes) -> None:
        self.id = id
        self.secret = secret

    def __repr__(self) -> str:
        return f"PersonalKey({self.id!r})"


class KeyRing(Protocol):
    """The keys of data subjects, one each. Thread-safe."""

    def key_for(self, data_subject: str, work_item: str) -> PersonalKey:
        """The key of a data subject, made where there is none, to be used on a work item.

        Raises ``WrongUsage`` where it was forgotten; ``LogUnavailable`` and the like where the keys can't be had.
        """
        ...

    def key_named(self, key_id: str) -> PersonalKey | Literal["forgotten", "unknown-key"]:
        """A key by its id, or why there is none."""
        ...

    def close(self) -> None: ...


class Revealed(NamedTuple):
    """A sealed member of an event, and what became of opening it; ``value`` only where it is revealed."""

    pointer: str
    key_id: str
    state: State
    sealed: Any
    value: Any = None

    def as_dict(self) -> dict[str, Any]:
        return {"pointer": self.pointer, "key": self.key_id, "state": self.state}


class Sealing:
    """Seals marked events with the keys of a ring; without one it refuses them. All else passes as it came."""

    def __init__(self, keys: KeyRing | None = None) -> None:
        self._keys = keys

    def __call__(self, value: bytes, headers: Headers) -> tuple[bytes, Headers]:
        """An event's value and headers as they are to be recorded.

        Raises ``WrongUsage`` where what is marked can't be sealed: then nothing of it may be recorded.
        """
        if not _may_be_marked(value, headers):
            return value, headers
        is_binary = in_binary_mode(headers)
        if any(name.lower() == _HEADER and not (is_binary and name == _HEADER) for name, _ in headers):
            raise _refused(f"its header must be {_HEADER}, in binary mode")
        try:
            content = content_of(Record(0, 0, 0, None, value, headers))
        except ValueError:
            if not _names_marking(value):
                return value, headers
            raise _refused("it can't be read as a CloudEvent") from None
        if content.get(MARKING) is None:
            return value, headers
        try:
            sealed = self.sealed(content)
            return _binary(sealed, headers) if is_binary else (_written(sealed), headers)
        except ValueError as error:
            raise _refused(str(error)) from None

    def sealed(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """A marked event with its members sealed. Raises ``ValueError``, ``WrongUsage``, or as the keys do."""
        marks = _marks_of(content)
        data = content["data"]
        plain: dict[str, bytes] = {}
        for mark in marks:
            member = member_at(data, mark.pointer)
            refuse_judged(content.get("type"), mark.pointer, member)
            plain[mark.pointer] = _canonical(member, mark.pointer)
        if self._keys is None:
            problem = "This event has personal data, and there is no key store to seal it with: it was not recorded."
            raise WrongUsage(problem, "Set PAUSELEDGER_PERSONAL_KEYS.")
        keys = {whose: self._keys.key_for(whose, content["subject"]) for whose in {mark.whose for mark in marks}}
        members = {
            mark.pointer: _sealed(keys[mark.whose], plain[mark.pointer], bound_to(content, mark.pointer))
            for mark in marks
        }
        names = [Mark(keys[mark.whose].id, mark.pointer) for mark in marks]
        rest = {name: value for name, value in content.items() if name != MARKING}
        return {**rest, "data": with_members(data, members), SEALED: write_marking(names)}

    def reveal(self, content: Mapping[str, Any]) -> tuple[dict[str, Any], list[Revealed]]:
        """An event with what can be opened in the place of what was sealed, and what became of each member."""
        data = content.get("data")
        found = [self._revealed(content, mark) for mark in _sealed_marks(content)]
        opened = {one.pointer: one.value for one in found if one.state == "revealed"}
        return {**content, "data": with_members(data, opened)} if opened else dict(content), found

    def _revealed(self, content: Mapping[str, Any], mark: Mark) -> Revealed:
        member: Any = None
        try:
            member = member_at(content.get("data"), mark.pointer)
            said, parts = read_sealed(member), bound_to(content, mark.pointer)
        except ValueError:
            said = None
        if said is None or said.key_id != mark.whose or self._keys is None:
            return Revealed(mark.pointer, mark.whose, "damaged", member)
        key = self._keys.key_named(said.key_id)
        if not isinstance(key, PersonalKey):
            return Revealed(mark.pointer, mark.whose, key, member)
        plain = decrypted(key.secret, said.ciphertext, parts)
        if plain is None:
            return Revealed(mark.pointer, mark.whose, "damaged", member)
        return Revealed(mark.pointer, mark.whose, "revealed", member, read_json(plain))

    def close(self) -> None:
        if self._keys is not None:
            self._keys.close()


def marked(event: Event | Mapping[str, Any], personal: Mapping[str, list[str]]) -> dict[str, Any]:
    """An event with members of its data marked: the data subjects' names, each with JSON Pointers. Raises
    ``WrongUsage``.
    """
    content = orjson.loads(event.to_json()) if isinstance(event, Event) else dict(event)
    text = write_json(dict(personal)).decode()
    try:
        read_marking(text)
    except ValueError as error:
        raise _refused(str(error)) from None
    return {**content, MARKING: text}


def _may_be_marked(value: bytes, headers: Headers) -> bool:
    """Whether an event may be marked. Nearly all aren't, and are seen to be so without being read."""
    if _FIND(value) is not None or (value.find(_BACKSLASH) >= 0 and any(one in value for one in _ESCAPED)):
        return True
    if value.find(_NUL) >= 0:  # in no JSON, but in text of two or four bytes a character
        return True
    return headers is not STRUCTURED_HEADERS and any(name.lower() == _HEADER for name, _ in headers)


def _names_marking(value: bytes) -> bool:
    """Whether the marking is named in what is no CloudEvent, in whichever way its letters are written."""
    plain = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), value.replace(b"\0", b""))
    return _IN_BYTES in plain


def _refused(why: str) -> WrongUsage:
    return WrongUsage(f"What this event marks as {MARKING} can't be sealed: {why}. It was not recorded.", _SEE)


def _marks_of(content: Mapping[str, Any]) -> list[Mark]:
    marks = read_marking(content[MARKING])
    if content.get(SEALED) is not None:
        raise ValueError(f"it has {SEALED} already")
    if content.get("data_base64") is not None or not isinstance(content.get("data"), dict):
        raise ValueError("data must be a JSON object")
    bound_to(content, "/data")
    return marks


def _sealed_marks(content: Mapping[str, Any]) -> list[Mark]:
    """What an event says was sealed; nothing where it can't be read: anybody may write there."""
    try:
        marks = read_marking(content.get(SEALED))
    except ValueError:
        return []
    return [mark for mark in marks if is_key_id(mark.whose)]


def _canonical(member: Any, pointer: str) -> bytes:
    try:
        return canonical(member)
    except (ValueError, RecursionError):
        raise ValueError(f"{pointer} has a number that is not exact everywhere: write it as a string") from None


def _sealed(key: PersonalKey, plain: bytes, parts: list[bytes]) -> str:
    return write_sealed(Sealed(key.id, encrypted(key.secret, plain, parts)))


def encrypted(key: bytes, plain: bytes, parts: list[bytes]) -> bytes:
    """AES-SIV of RFC 5297, 2.6, bound to some parts."""
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # most processes seal nothing

    return AESSIV(key).encrypt(plain, parts)


def decrypted(key: bytes, ciphertext: bytes, parts: list[bytes]) -> bytes | None:
    """The inverse; null where it was not made so."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    try:
        return AESSIV(key).decrypt(ciphertext, parts)
    except InvalidTag:
        return None


def _written(content: Mapping[str, Any]) -> bytes:
    """One line of JSON. It is written anew, so that of a member that was named twice no first is left."""
    line = write_json(content)
    if not same_data(read_json(line), content):
        raise ValueError("it has a number that JSON can't hold exactly")
    return line


def _binary(content: Mapping[str, Any], headers: Headers) -> tuple[bytes, Headers]:
    kept = tuple((name, value) for name, value in headers if name != _HEADER)
    return _written(content["data"]), (*kept, (f"ce_{SEALED}", content[SEALED].encode()))
