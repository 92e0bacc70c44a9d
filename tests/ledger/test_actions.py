"""The action and its digest: RFC 8785 to the byte, nulls at the top absent, and nothing that JCS can't express."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.actions import Action, action_digest, canonical, is_identifier, read_action

PAY = {"kind": "tool", "name": "pay"}


def sha256(canonical: str) -> str:
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


# The values of RFC 8785: section 3.2.2 (numbers and strings), and section 3.2.3 (keys sorted by UTF-16 code units,
# where U+1F600, a surrogate pair from D83D on, comes before U+FB33).
@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (
            {"numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001]},
            '{"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}',
        ),
        ({"string": '€$\u000f\nA\'B"\\\\"/'}, '{"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'),
        ({"literals": [None, True, False]}, '{"literals":[null,true,false]}'),
        (
            {"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "ö": 7},
            '{"\\r":2,"1":4,"\x80":6,"ö":7,"€":1,"\U0001f600":5,"\ufb33":3}',
        ),
        ({"b": 1, "a": {"d": 1, "c": 2}}, '{"a":{"c":2,"d":1},"b":1}'),
        ({"n": 2**53 - 1, "m": -(2**53) + 1}, '{"m":-9007199254740991,"n":9007199254740991}'),
        ({"zero": -0.0, "one": 1.0}, '{"one":1,"zero":0}'),
        ({"kept": {"null": None}, "gone": None}, '{"kept":{"null":null}}'),
    ],
)
def test_the_digest_is_of_the_canonical_form(body: dict[str, Any], canonical: str) -> None:
    """The digest is that of the RFC 8785 text, written out here by hand."""
    assert action_digest(body) == sha256(canonical)


@pytest.mark.parametrize("value", [2**53, -(2**53), 10**30, float("inf"), float("nan"), "\ud800", {"\ud800": 1}])
def test_what_jcs_cannot_express_is_refused(value: Any) -> None:
    """No integer is rounded into a digest, and no surrogate stands alone in one, however deep."""
    with pytest.raises(ValueError, match="RFC 8785"):
        action_digest(PAY | {"arguments": [{"deep": value}]})


def test_endless_nesting_is_refused() -> None:
    """A nesting that exhausts the stack is bad data, not a crash."""
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="RFC 8785"):
        action_digest(PAY | {"arguments": deep})


def test_null_members_count_as_absent_at_the_top_only() -> None:
    """A null target is no target; a null argument is an argument."""
    assert action_digest(PAY | {"target": None}) == action_digest(PAY)
    assert action_digest(PAY | {"arguments": {"to": None}}) != action_digest(PAY | {"arguments": {}})


def test_order_and_form_of_numbers_do_not_count() -> None:
    """Two publishers that write the same action otherwise give it the same digest."""
    assert action_digest({"name": "pay", "kind": "tool", "arguments": {"n": 1.0}}) == action_digest(
        PAY | {"arguments": {"n": 1}}
    )


def test_an_idempotency_key_makes_another_action() -> None:
    """An action that is meant to be done twice differs in its key, and so in its digest."""
    assert action_digest(PAY | {"idempotency_key": "1"}) != action_digest(PAY | {"idempotency_key": "2"})


def test_an_action_is_read_without_its_nulls() -> None:
    """What a reviewer reads is what was hashed; members that nobody named are kept."""
    action = read_action(PAY | {"target": None, "extra": {"x": None}})
    assert action.body == PAY | {"extra": {"x": None}}
    assert action.digest == action_digest(action.body)
    assert read_action(action) is action
    assert isinstance(action, Action)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "pay",
        [],
        {},
        {"kind": "tool"},
        {"name": "pay"},
        PAY | {"kind": 1},
        PAY | {"name": ""},
        PAY | {"name": None},
        PAY | {"name": "x" * 257},
        PAY | {"idempotency_key": ""},
        PAY | {"idempotency_key": 7},
        PAY | {"arguments": 2**53},
    ],
)
def test_what_is_no_action_is_refused(value: Any) -> None:
    """An action is an object with a kind and a name."""
    with pytest.raises(ValueError):
        read_action(value)


@pytest.mark.parametrize(
    ("value", "valid"),
    [("x", True), ("x" * 256, True), ("\U0001f600" * 256, True), ("x" * 257, False), ("", False), (1, False)],
)
def test_an_identifier_has_1_to_256_characters(value: object, valid: bool) -> None:
    """Characters are counted, not bytes."""
    assert is_identifier(value) is valid


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.text('\x00\x07\x1f\x7f"\\/\b\t\n\f\r\u2028é\ue000\U0001f600', max_size=5)
)
_NAMES = st.text('abB1"\\\x01é\ue000\U0001f600', max_size=3)
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=4))


@settings(max_examples=2_000)
@given(_VALUES)
def test_the_canonical_form_is_that_of_rfc8785(value: Any) -> None:
    """Whichever way it was written, byte for byte."""
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [2**53, -(2**53), [2**64], {"a": float("inf")}, {"a": "\ud800"}])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    """On the quick way as on the other."""
    with pytest.raises(ValueError):
        canonical(value)
