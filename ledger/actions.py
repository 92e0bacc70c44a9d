"""The pending action and its digest: what exactly was about to be done.

``action_digest`` is ``sha256:`` + the hex SHA-256 of the RFC 8785 form of the action without its null members at the
top level, so that what a reviewer reads is what was hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
import rfc8785

IDENTIFIER_LENGTH = 256
_EXACT = 2**53


class Action(NamedTuple):
    """An action as given, without null members, and its digest."""

    body: Mapping[str, Any]
    digest: str


def is_identifier(value: object) -> bool:
    """A string of 1 to 256 characters."""
    return isinstance(value, str) and 0 < len(value) <= IDENTIFIER_LENGTH


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value. Raises ``ValueError`` where there is none.

    Nearly every action is made of what orjson writes in the same way, many times as fast: whatever has no floating
    point and no name beyond ASCII, whose order the two define differently. All else is rfc8785's.
    """
    if _is_plain(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # a surrogate that stands alone
            pass
    return rfc8785.dumps(value)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return all(type(name) is str and name.isascii() and _is_plain(member) for name, member in value.items())
    if kind is list:
        return all(map(_is_plain, value))
    return kind is str or value is None or kind is bool or (kind is int and -_EXACT < value < _EXACT)


def action_digest(body: Mapping[str, Any]) -> str:
    """The digest of an action, whose null members count as absent. Raises ``ValueError`` where JCS can't express it."""
    present = {name: value for name, value in body.items() if value is not None}
    try:
        text = canonical(present)
    except (ValueError, RecursionError):
        raise ValueError("must have an RFC 8785 form: no integer beyond ±(2^53 − 1), no infinity") from None
    return "sha256:" + hashlib.sha256(text).hexdigest()


def read_action(value: object) -> Action:
    """A pending action from parsed JSON. Raises ``ValueError``."""
    if isinstance(value, Action):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("must be an object")
    body = {name: member for name, member in value.items() if member is not None}
    for name in ("kind", "name"):
        if not is_identifier(body.get(name)):
            raise ValueError(f"needs {name!r}, a string of 1 to 256 characters")
    if "idempotency_key" in body and not is_identifier(body["idempotency_key"]):
        raise ValueError("idempotency_key must be a string of 1 to 256 characters")
    return Action(body, action_digest(body))
