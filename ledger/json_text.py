"""JSON as the protocol reads it: I-JSON from bytes, the last of a repeated member counts, numbers kept exact.

``orjson`` reads nearly everything; texts with very long numbers go to the standard library, which keeps big integers
whole where orjson would round them. Nesting is limited, so that no text can exhaust a reader's stack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn

import orjson

DEEPEST = 128  # well below what any library here reads and writes, snapshots included
_DIGITS_AS_ONES = bytes(0x31 if 0x30 <= byte <= 0x39 else 0 for byte in range(256))
_LONG_NUMBER = b"1" * 19  # what an integer beyond 64 bits has at least
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, closed or not, in a text that need be no JSON: it never goes back, so it takes a time in proportion."""
_LONGEST_INTEGER = 4_000  # digits; Python refuses more than 4,300


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _exact_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def _too_deep(text: bytes, deepest: int) -> bool:
    """Whether the brackets of a text, outside its strings, nest deeper than is read."""
    bare = _STRING.sub(b"", text)
    level = 0
    for bracket in re.findall(rb"[\[\]{}]", bare):
        level += 1 if bracket in b"[{" else -1
        if level > deepest:
            return True
    return False


def _refuse_too_deep(text: bytes, deepest: int) -> None:
    if text.count(b"[") + text.count(b"{") > deepest and _too_deep(text, deepest):
        raise ValueError(f"nested deeper than {deepest} levels")


def _read_exactly(text: bytes, deepest: int) -> Any:
    _refuse_too_deep(text, deepest)
    value = json.loads(text.decode("utf-8"), parse_int=_exact_integer, parse_constant=_refuse_constant)
    if b"\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # raises where a surrogate stands alone
    return value


def read_json(text: bytes, deepest: int = DEEPEST) -> Any:
    """The value of a JSON text. Raises ``ValueError``."""
    if len(text) > 2 * deepest:  # a shorter text that closes its brackets can't nest deeper
        _refuse_too_deep(text, deepest)
    if _LONG_NUMBER in text.translate(_DIGITS_AS_ONES):
        return _read_exactly(text, deepest)
    try:
        return orjson.loads(text)
    except ValueError:
        return _read_exactly(text, deepest)  # a number beyond a double's range is JSON all the same


def _parts(a: Any, b: Any) -> list[tuple[Any, Any]] | None:
    """The pairs that must be the same for two arrays or objects to be; null where they can't be."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [(a[name], b[name]) for name in a] if a.keys() == b.keys() else None
    if isinstance(a, list) and isinstance(b, list):
        return list(zip(a, b, strict=True)) if len(a) == len(b) else None
    return None


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON: ``true`` is no number, ``1`` is ``1.0``. Without recursion: any caller's stack will do."""
    pairs = [(a, b)]
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, (dict, list)) or isinstance(b, (dict, list)):
            if (parts := _parts(a, b)) is None:
                return False
            pairs += parts
        elif isinstance(a, bool) or isinstance(b, bool):
            if a is not b:
                return False
        elif a != b:
            return False
    return True


def same_data(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two events say the same: equal as JSON, members that are null left out."""
    return _same(
        {name: value for name, value in a.items() if value is not None},
        {name: value for name, value in b.items() if value is not None},
    )


def write_json(value: Any) -> bytes:
    """One line of JSON. Integers beyond 64 bits, which ``orjson`` refuses, stay whole; an infinity becomes null."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(member) for member in value]
    return None if isinstance(value, float) and not isfinite(value) else value
