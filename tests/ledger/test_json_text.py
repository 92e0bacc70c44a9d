"""JSON as the protocol reads it: the last of a repeated member, whole integers, and no text that breaks a reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.json_text import DEEPEST, read_json, same_data, write_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    """Every JSON value survives being written and read, its integers to the last digit."""
    assert read_json(write_json(value)) == value


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(text: bytes) -> None:
    """Any bytes are a value or a ValueError, never another error."""
    try:
        read_json(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"NaN",
        b'{"a":NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b"{'a':1}",
        b"[1,]",
        b'"\\ud800"',
        b'{"a":"\\udc00\\ud800"}',
        b"01",
        b"1 2",
        b"\x00",
        b'"a\nb"',
        "{}".encode("utf-16"),
        b'{"n":12345678901234567890,"x":NaN}',
        b'{"n":12345678901234567890,"x":"\\ud800"}',
        b"[1e400, Infinity]",
    ],
)
def test_what_is_no_i_json_is_refused(text: bytes) -> None:
    """No NaN, lone surrogate, BOM or wrong UTF-8, also beside a number that is read the exact way."""
    with pytest.raises(ValueError):
        read_json(text)


def test_the_last_of_a_repeated_member_counts() -> None:
    """Where an object names a member twice the last counts, whichever reader a text goes to."""
    assert read_json(b'{"a":1,"a":2}') == {"a": 2}
    assert read_json(b'{"a":12345678901234567890,"a":2}') == {"a": 2}


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**30, 10**3_000])
def test_big_integers_stay_whole(number: int) -> None:
    """No integer is rounded on its way in."""
    assert read_json(b'{"n":%d}' % number) == {"n": number}


def test_an_integer_that_nothing_could_hold_is_no_error() -> None:
    """Millions of digits cost no reader its life: beyond 4,000 they are no exact number any more."""
    assert read_json(b"1" * 5_000) == float("inf")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_is_limited(opening: bytes) -> None:
    """128 levels are read, one more is refused, and a million cost nothing."""
    close = b"]" if opening == b"[" else b"}"
    inner = b"1" if opening != b"[" else b""
    assert read_json(opening * DEEPEST + inner + close * DEEPEST)
    for levels in (DEEPEST + 1, 100_000):
        with pytest.raises(ValueError, match="nested"):
            read_json(opening * levels + inner + close * levels)


def test_brackets_in_strings_are_no_nesting() -> None:
    """A text of thousands of brackets, quotes and backslashes is as deep as its arrays."""
    value = {"a": '[{"\\' * 1_000, "b": ["]" * 300]}
    assert read_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 0}, {"a": False}, False),
        ({"a": None}, {}, True),
        ({"a": {"b": None}}, {"a": {}}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": 2**53}, {"a": 2**53 + 1}, False),
        ({"a": [[1], {"b": 2}]}, {"a": [[1], {"b": 2}]}, True),
        ({"a": [1]}, {"a": {"0": 1}}, False),
    ],
)
def test_two_events_say_the_same(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    """Equal as JSON: order of members and form of numbers don't count, nulls only at the top are absent."""
    assert same_data(one, other) is same
    assert same_data(other, one) is same


def test_what_orjson_refuses_is_written_too() -> None:
    """Integers beyond 64 bits stay whole, and an infinity becomes null."""
    assert write_json({"n": 10**30}) == b'{"n":%d}' % 10**30
    assert write_json([float("inf")]) == b"[null]"
    assert write_json([10**30, float("inf")]) == b"[%d,null]" % 10**30


def test_what_is_no_json_is_refused_in_a_time_in_proportion() -> None:
    """A string that never ends, with a quote at every other byte, is looked through once and not from each of them."""
    text = b"[" * (DEEPEST + 1) + b'"x' + b'\\"' * 1_000_000
    for tail in (b"", b"\\", b'"', b"x"):
        with pytest.raises(ValueError):
            read_json(text + tail)
