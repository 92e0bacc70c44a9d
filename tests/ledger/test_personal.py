"""Markings of personal data, JSON Pointers, which members may be sealed, and what stands in their place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events import EVENT_TYPES
from ledger.personal import (
    MOST_MARKS,
    Mark,
    Sealed,
    bound_to,
    member_at,
    read_marking,
    read_sealed,
    refuse_judged,
    steps_of,
    with_members,
    write_marking,
    write_sealed,
)

KEY = "0" * 31 + "a"
ALLOWED = {
    "execution.claimed": [],
    "execution.finished": ["/outcome"],
    "pause.opened": ["/trigger", "/recheck", "/no_resume_condition", "/contract"],
    "heartbeat.recorded": [],
    "owner.changed": ["/reason"],
    "work.moved": ["/reason"],
    "branch.started": ["/reason"],
    "inputs.changed": ["/reason"],
    "inputs.rechecked": ["/evidence"],
    "review.decided": [],
    "resume.requested": [],
    "side_effect.attempted": [],
    "side_effect.observed": ["/evidence"],
    "debt.waived": ["/reason"],
    "pause.closed": [],
    "note.added": ["/text"],
}
"""By type: of the members that the protocol names, those that may be sealed whole."""


def test_a_marking_is_read_in_a_fixed_order() -> None:
    """By pointer, whoever's they are; written, there is one way for each set of marks."""
    marks = read_marking('{"user:b": ["/z", "/a/b"], "user:a": ["/m"]}')
    assert marks == [Mark("user:b", "/a/b"), Mark("user:a", "/m"), Mark("user:b", "/z")]
    assert write_marking(marks) == '{"user:a":["/m"],"user:b":["/a/b","/z"]}'
    assert write_marking(reversed(marks)) == write_marking(marks)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "must be a string"),
        ({"user:a": ["/x"]}, "must be a string"),
        ("user:a", "no JSON"),
        ('["/x"]', "an object"),
        ("{}", "1 to 256"),
        ('{"user:a": []}', "list of JSON Pointers"),
        ('{"user:a": "/x"}', "list of JSON Pointers"),
        ('{"user:a": [1]}', "list of JSON Pointers"),
        ('{"": ["/x"]}', "1 to 256 characters"),
        ('{"\\ud800": ["/x"]}', "Unicode"),
        (json.dumps({"x" * 257: ["/x"]}), "1 to 256 characters"),
        ('{"user:a": ["/x"], "user:a": ["/y"]}', "twice"),
        ('{"user:a": ["/x"], "user:b": ["/x"]}', "twice"),
        ('{"user:a": ["/x", "/x/y"]}', "inside"),
        ('{"user:a": ["/x/y/z"], "user:b": ["/x"]}', "inside"),
        ('{"user:a": ["x"]}', "no JSON Pointer"),
        ('{"user:a": [""]}', "no JSON Pointer"),
        ('{"user:a": ["/a~2"]}', "no JSON Pointer"),
        (json.dumps({"user:a": [f"/{n}" for n in range(MOST_MARKS + 1)]}), "1 to 256"),
        ("[" * 100_000, "deep"),
    ],
)
def test_nothing_is_forgiven_in_a_marking(text: object, says: str) -> None:
    """Whatever could leave a member unsealed that somebody meant is refused."""
    with pytest.raises(ValueError, match=says):
        read_marking(text)


def test_pointers_are_those_of_the_rfc() -> None:
    """The examples of RFC 6901 that lead to members; a number names a place in a list, and only as it is written."""
    data = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "m~n": 8, " ": 7, "0": {"01": 1}}
    found = {one: member_at(data, one) for one in ("/foo/0", "/", "/a~1b", "/c%d", "/m~0n", "/ ", "/0/01")}
    assert found == {"/foo/0": "bar", "/": 0, "/a~1b": 1, "/c%d": 2, "/m~0n": 8, "/ ": 7, "/0/01": 1}
    for absent in ("/foo/2", "/foo/-", "/foo/00", "/foo/-1", "/foo/0/x", "/b"):
        with pytest.raises(ValueError, match="has nothing at"):
            member_at(data, absent)
    with pytest.raises(ValueError, match="has nothing at"):
        member_at({"x": None}, "/x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def leaves(value: Any, at: str = "") -> list[str]:
    """The pointers of all that is no container and not null."""
    if isinstance(value, dict):
        steps = [(name.replace("~", "~0").replace("/", "~1"), inner) for name, inner in value.items()]
    elif isinstance(value, list):
        steps = [(str(number), inner) for number, inner in enumerate(value)]
    else:
        return [] if value is None else [at]
    return [found for step, inner in steps for found in leaves(inner, f"{at}/{step}")]


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_members_are_replaced_in_a_copy(data: dict[str, Any]) -> None:
    """Each member that is named is another one, all else is as it was, and the original is untouched."""
    before, pointers = json.dumps(data), leaves(data)
    changed = with_members(data, {one: f"new {one}" for one in pointers})
    assert json.dumps(data) == before
    assert {one: member_at(changed, one) for one in pointers} == {one: f"new {one}" for one in pointers}
    assert with_members(changed, {one: member_at(data, one) for one in pointers}) == data


def is_sealable(kind: str, pointer: str) -> bool:
    try:
        refuse_judged(f"pauseledger.{kind}", pointer, "text")
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("kind", ALLOWED)
def test_of_the_members_that_rules_know_only_texts_and_evidence_are_sealed(kind: str) -> None:
    """A member that is added to the protocol stays readable until somebody decides otherwise."""
    fields = EVENT_TYPES[f"pauseledger.{kind}"].model_fields["data"].annotation.model_fields  # type: ignore[union-attr]
    pointers = [f"/{field.alias or name}" for name, field in fields.items()]
    assert [one for one in pointers if is_sealable(kind, one)] == ALLOWED[kind]
    assert {f"pauseledger.{one}" for one in ALLOWED} == EVENT_TYPES.keys()


@pytest.mark.parametrize(
    ("kind", "pointer", "member", "says"),
    [
        ("pause.opened", "/runtime", {}, "must stay an object"),
        ("pause.opened", "/pending_action", {}, "must stay an object"),
        ("pause.opened", "/pending_action/kind", "k", "known by"),
        ("review.decided", "/pending_action/idempotency_key", "k", "known by"),
        ("pause.opened", "/resume_authority/0", "user:a", "judged by the rules"),
        ("pause.opened", "/route", "r", "judged by the rules"),
        ("note.added", "/text", 7, "must be a string"),
        ("note.added", "/text/0", "x", "judged by the rules"),
        ("owner.changed", "/from", "user:a", "judged by the rules"),
    ],
)
def test_what_is_judged_stays_readable(kind: str, pointer: str, member: object, says: str) -> None:
    """The error names the member."""
    with pytest.raises(ValueError, match=says) as error:
        refuse_judged(f"pauseledger.{kind}", pointer, member)
    assert pointer in str(error.value)


@pytest.mark.parametrize(
    ("kind", "pointer"),
    [
        ("pause.opened", "/runtime/thread"),
        ("pause.opened", "/pending_action/target"),
        ("pause.opened", "/pending_action/arguments/to/0"),
        ("pause.opened", "/pending_action/arguments/kind"),
        ("review.decided", "/pending_action/why"),
        ("side_effect.observed", "/evidence/name"),
        ("note.added", "/anything/else"),
        ("resume.requested", "/who"),
        ("no.such.type", "/pause"),
    ],
)
def test_what_no_rule_looks_into_may_be_sealed(kind: str, pointer: str) -> None:
    """Arguments, evidence, what a runtime says, and members that the protocol doesn't name."""
    refuse_judged(f"pauseledger.{kind}", pointer, 7)


@given(st.binary(min_size=16, max_size=80))
def test_sealed_strings_are_read_back(ciphertext: bytes) -> None:
    """What was written is read as it was."""
    assert read_sealed(write_sealed(Sealed(KEY, ciphertext))) == Sealed(KEY, ciphertext)


@pytest.mark.parametrize(
    "text", [None, 7, "", "sealed:v1:", f"sealed:v2:{KEY}:{'A' * 30}", f"sealed:v1:{KEY}:A", f"sealed:v1:k:{'A' * 30}"]
)
def test_other_things_are_no_sealed_strings(text: object) -> None:
    """Another version, another form, something else."""
    assert read_sealed(text) is None


def test_a_member_is_bound_to_its_event_and_an_action_to_its_work_item() -> None:
    """So the same action has one digest on a work item, and nothing else can be recognised in another event."""
    content = {"subject": "T-1", "source": "/desk", "id": "n-1"}
    assert bound_to(content, "/text")[1:] == [b"/text", b"T-1", b"/desk", b"n-1"]
    assert bound_to(content, "/pending_action/target")[1:] == [b"/pending_action/target", b"T-1"]
    for name in content:
        with pytest.raises(ValueError, match=name):
            bound_to({**content, name: ""}, "/text")
    assert steps_of("/pending_action~1x")[0] != "pending_action"
