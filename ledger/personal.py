"""Personal data in events: how it is marked, what may be sealed, and what stands in its place (``docs/erasure.md``).

1. A publisher marks members of ``data`` by the CloudEvents extension ``personaldata``: JSON text that names the data
   subjects, each with the JSON Pointers of what is theirs, ``{"user:anna": ["/reason"]}``.
2. In the place of each stands a string that was sealed under the data subject's key, in the place of the marking the
   extension ``sealeddata``, which names keys: who they are of is not on the log.
3. Nothing is sealed that a verdict looks into: the sealed event has the verdict that the plain one would have. Only the
   digest of an action is another, and the same for the same action: it is made of what is sealed.
4. Whatever can't be sealed as marked raises ``ValueError``, which names the member and quotes nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from ledger.actions import IDENTIFIER_LENGTH, is_identifier
from ledger.events import EVENT_TYPES

MARKING = "personaldata"
SEALED = "sealeddata"
MOST_MARKS = 256

_PREFIX = "pauseledger."
_VERSION = "pauseledger sealed v1"
_KEY_ID = re.compile(r"[0-9a-f]{32}")
_SEALED_STRING = re.compile(r"sealed:v1:([0-9a-f]{32}):([A-Za-z0-9_-]{22,})")
_ESCAPE = re.compile(r"~(?![01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_ACTION = "pending_action"

_TEXTS: Mapping[str, Sequence[str]] = {
    "execution.finished": ("outcome",),
    "pause.opened": ("trigger", "recheck", "no_resume_condition", "contract"),
    "owner.changed": ("reason",),
    "work.moved": ("reason",),
    "branch.started": ("reason",),
    "inputs.changed": ("reason",),
    "debt.waived": ("reason",),
    "note.added": ("text",),
}
"""Members that are texts for people: sealed, they are texts still."""
_ANY: Mapping[str, Sequence[str]] = {"inputs.rechecked": ("evidence",), "side_effect.observed": ("evidence",)}
"""Members that may be anything."""
_INSIDE: Mapping[str, Sequence[str]] = {"pause.opened": ("runtime", _ACTION), "review.decided": (_ACTION,)}
"""Members that must stay objects: what is inside them may be sealed."""
_OF_ACTIONS = ("kind", "name", "idempotency_key")
"""What every action is known by, and stays plain."""


class Mark(NamedTuple):
    """A member of ``data`` and whose it is: the name of a data subject, or the id of a key."""

    whose: str
    pointer: str


class Sealed(NamedTuple):
    """What a sealed string says: under which key it was sealed, and the bytes."""

    key_id: str
    ciphertext: bytes


def read_marking(text: object) -> list[Mark]:
    """The marks of a marking, in a fixed order. Raises ``ValueError``.

    Nothing in it is forgiven: a mark that was overlooked would leave somebody's data readable for good.
    """
    found = _read_names(text)
    marks = []
    for whose, pointers in found.items():
        if not is_identifier(whose):
            raise ValueError(f"a data subject has a name of 1 to {IDENTIFIER_LENGTH} characters")
        if not _can_be_written(whose):
            raise ValueError("a data subject's name must be Unicode text")
        if not isinstance(pointers, list) or not pointers or not all(isinstance(one, str) for one in pointers):
            raise ValueError("each data subject has a list of JSON Pointers, such as /reason")
        marks += [Mark(whose, pointer) for pointer in pointers]
    if not 0 < len(marks) <= MOST_MARKS:
        raise ValueError(f"it must mark 1 to {MOST_MARKS} members")
    marks.sort(key=lambda mark: mark.pointer)
    _refuse_overlaps([steps_of(mark.pointer) for mark in marks])
    return marks


def _can_be_written(text: str) -> bool:
    """Not where a surrogate stands alone."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _read_names(text: object) -> dict[str, Any]:
    if not isinstance(text, str):
        raise ValueError("it must be a string: the JSON text of an object")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("it names a data subject twice")
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError:
        raise ValueError("it is no JSON text") from None
    except RecursionError:
        raise ValueError("it nests too deep") from None
    if not isinstance(found, dict):
        raise ValueError("it must be the JSON text of an object")
    return found


def _refuse_overlaps(members: Sequence[Sequence[str]]) -> None:
    seen: set[tuple[str, ...]] = set()
    for steps in sorted(members, key=len):
        if any(tuple(steps[:length]) in seen for length in range(1, len(steps) + 1)):
            raise ValueError("it marks a member twice, or a member and what is inside it")
        seen.add(tuple(steps))


def write_marking(marks: Iterable[Mark]) -> str:
    """Marks as JSON text, one way to write each set of them."""
    found: dict[str, list[str]] = {}
    for mark in sorted(marks):
        found.setdefault(mark.whose, []).append(mark.pointer)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def steps_of(pointer: str) -> list[str]:
    """The names on the way to a member (RFC 6901). Raises ``ValueError``."""
    if not pointer.startswith("/") or _ESCAPE.search(pointer):
        raise ValueError(f"{pointer!r} is no JSON Pointer to a member of data, such as /reason")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]


def _place(holder: Any, step: str, pointer: str) -> Any:
    """The name or number by which ``holder`` has its member. Raises ``ValueError``."""
    if isinstance(holder, dict) and step in holder:
        return step
    if isinstance(holder, list) and _INDEX.fullmatch(step) and int(step) < len(holder):
        return int(step)
    raise ValueError(f"data has nothing at {pointer}")


def member_at(data: Any, pointer: str) -> Any:
    """The member at a pointer. Raises ``ValueError`` where there is none, or null."""
    for step in steps_of(pointer):
        data = data[_place(data, step, pointer)]
    if data is None:
        raise ValueError(f"data has nothing at {pointer}")
    return data


def with_members(data: Any, members: Mapping[str, Any]) -> Any:
    """A copy of ``data`` with other members at these pointers, which are there."""
    copy = {"": data}
    for pointer, value in members.items():
        holder: Any = copy
        name: Any = ""
        for step in steps_of(pointer):
            inner = holder[name] = holder[name].copy()
            holder, name = inner, _place(inner, step, pointer)
        holder[name] = value
    return copy[""]


@cache
def _known(kind: str) -> frozenset[str]:
    """The members of ``data`` that the protocol names for a type."""
    model = EVENT_TYPES.get(_PREFIX + kind)
    if model is None:
        return frozenset()
    fields = model.model_fields["data"].annotation.model_fields  # type: ignore[union-attr]
    return frozenset(field.alias or name for name, field in fields.items())


def refuse_judged(type_: object, pointer: str, member: Any) -> None:
    """Raises ``ValueError`` where the rules look into a member, or the sealed one would be judged otherwise."""
    kind = type_.removeprefix(_PREFIX) if isinstance(type_, str) else ""
    first, *inner = steps_of(pointer)
    if first not in _known(kind) or first in _ANY.get(kind, ()):
        return
    if first in _TEXTS.get(kind, ()) and not inner:
        if not isinstance(member, str):
            raise ValueError(f"{pointer} must be a string")
        return
    if first in _INSIDE.get(kind, ()) and inner:
        if first == _ACTION and inner[0] in _OF_ACTIONS:
            raise ValueError(f"{pointer} is what an action is known by, and must stay readable")
        return
    if first in _INSIDE.get(kind, ()):
        raise ValueError(f"{pointer} must stay an object: mark the members inside it")
    raise ValueError(f"{pointer} is judged by the rules, and must stay readable")


def write_sealed(sealed: Sealed) -> str:
    text = base64.urlsafe_b64encode(sealed.ciphertext).rstrip(b"=").decode()
    return f"sealed:v1:{sealed.key_id}:{text}"


def read_sealed(member: object) -> Sealed | None:
    """What a sealed string says; null for anything else."""
    match = _SEALED_STRING.fullmatch(member) if isinstance(member, str) else None
    if match is None:
        return None
    try:
        ciphertext = base64.urlsafe_b64decode(match[2] + "=" * (-len(match[2]) % 4))
    except binascii.Error:
        return None
    return Sealed(match[1], ciphertext)


def is_key_id(text: str) -> bool:
    return _KEY_ID.fullmatch(text) is not None


def bound_to(content: Mapping[str, Any], pointer: str) -> list[bytes]:
    """What a sealed member is bound to: it can be opened nowhere else, and seals to the same bytes there.

    A member of an action is bound to the work item alone: the same action has the same digest in every event. None
    of these is empty: an empty one is left out by some versions of the cipher's library.
    """
    names = ["subject"] if steps_of(pointer)[0] == _ACTION else ["subject", "source", "id"]
    texts = []
    for name in names:
        value = content.get(name)
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} must be a string that is not empty")
        texts.append(value)
    return [one.encode() for one in (_VERSION, pointer, *texts)]
