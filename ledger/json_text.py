"""JSON as the protocol reads it: I-JSON from bytes, the last of a repeated member counts, numbers kept exact.

``orjson`` reads nearly everything; texts with very long numbers go to the standard library, which keeps big integers
whole where orjson would round them. Nesting is limited, so that no text can exhaust a reader's stack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

DEEPEST = 256
_DIGITS_AS_ONES = bytes(0x31 if 0x30 <= byte <= 0x39 else 0 for byte in range(256))
_LONG_NUMBER = b"1" * 19  # what an integer beyond 64 bits has at least
_LONGEST_INTEGER = 4_000  # digits; Python refuses more than 4,300


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _exact_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def depth(value: Any) -> int:
    """How deep arrays and objects are nested in a parsed JSON value; 0 for a scalar."""
    deepest, layer = 0, [value]
    while layer := [item for item in layer if isinstance(item, (dict, list))]:
        deepest += 1
        layer = [inner for item in layer for inner in (item.values() if isinstance(item, dict) else item)]
    return deepest


def _too_deep(text: bytes) -> bool:
    """Whether the brackets of a text, outside its strings, nest deeper than is read."""
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", text, flags=re.DOTALL)
    level = 0
    for bracket in re.findall(rb"[\[\]{}]", bare):
        level += 1 if bracket in b"[{" else -1
        if level > DEEPEST:
            return True
    return False


def _read_exactly(text: bytes) -> Any:
    value = json.loads(text.decode("utf-8"), parse_int=_exact_integer, parse_constant=_refuse_constant)
    if b"\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # raises where a surrogate stands alone
    return value


def read_json(text: bytes) -> Any:
    """The value of a JSON text. Raises ``ValueError``."""
    if text.count(b"[") + text.count(b"{") > DEEPEST and _too_deep(text):
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    if _LONG_NUMBER in text.translate(_DIGITS_AS_ONES):
        return _read_exactly(text)
    try:
        return orjson.loads(text)
    except ValueError:
        return _read_exactly(text)  # a number beyond a double's range is JSON all the same


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)


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
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
