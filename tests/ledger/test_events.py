"""The event models: what each type takes, what it refuses, and that writing one loses nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.actions import action_digest
from ledger.events import EVENT_TYPES, EVENTS, PauseOpened, PauseOpenedData, is_request
from tests.ledger.story import PAY

DIGEST = action_digest(PAY)
IN = {"execution": "run-1"}
AT = IN | {"pause": "p-1"}

# One event of every type, with every member that the protocol names.
FULL: dict[str, dict[str, Any]] = {
    "execution.claimed": IN
    | {"owner": "user:ann", "route": "r", "replaces": ["run-0", "run-9"], "acknowledges": "0:4", "manual": True},
    "execution.finished": IN | {"outcome": "done"},
    "pause.opened": AT
    | {
        "trigger": "approval",
        "route": "r",
        "recheck": "how",
        "no_resume_condition": "never on Sundays",
        "contract": "c",
        "runtime": {"name": "langgraph", "x": None},
        "pending_action": PAY | {"arguments": {"to": None, "list": [None]}},
        "owner": "user:ann",
        "resume_authority": ["user:ann", "role:ops"],
        "requires_review": True,
        "fresh_until": "2026-03-28T09:15:00.123456Z",
        "fresh_for": "PT15M",
        "heartbeat_timeout": "PT1.5S",
        "heartbeat_by": "service:w",
        "reconcile_within": "P1D",
        "side_effect": "not_happened",
    },
    "heartbeat.recorded": AT,
    "owner.changed": IN | {"to": "user:bob", "from": "user:ann", "reason": "leave"},
    "work.moved": IN | {"to": "T-2", "reason": "merged"},
    "branch.started": IN | {"by": "user:eve", "reason": "in a hurry"},
    "inputs.changed": AT | {"reason": "price"},
    "inputs.rechecked": AT | {"fresh_until": "2026-03-28T09:15:00Z", "fresh_for": "PT15M", "evidence": [1, None]},
    "review.decided": AT
    | {
        "outcome": "edit",
        "action_digest": DIGEST,
        "pending_action": PAY | {"arguments": {"to": None}},
        "fresh_until": "2026-03-28T09:15:00Z",
        "fresh_for": "PT15M",
    },
    "resume.requested": AT | {"action_digest": DIGEST},
    "side_effect.attempted": AT | {"fence": 2**63},
    "side_effect.observed": AT
    | {"status": "happened", "settles": "0:7", "action_digest": DIGEST, "evidence": {"id": None}},
    "debt.waived": AT | {"reason": "gone"},
    "pause.closed": AT | {"outcome": "settled"},
    "note.added": AT | {"text": "hello"},
}
REQUIRED = {
    "execution.claimed": {"execution", "owner"},
    "execution.finished": {"execution"},
    "pause.opened": {"execution", "pause"},
    "heartbeat.recorded": {"execution", "pause"},
    "owner.changed": {"execution", "to"},
    "work.moved": {"to"},
    "branch.started": {"execution"},
    "inputs.changed": set(),
    "inputs.rechecked": {"execution", "pause"},
    "review.decided": {"execution", "pause", "outcome", "pending_action"},
    "resume.requested": {"execution", "pause"},
    "side_effect.attempted": {"execution", "pause"},
    "side_effect.observed": {"execution", "pause", "status"},
    "debt.waived": {"execution", "pause", "reason"},
    "pause.closed": {"execution", "pause", "outcome"},
    "note.added": {"text"},
}
EVERY_MEMBER = [(name, member) for name, data in FULL.items() for member in data]
SIXTEEN = pytest.mark.parametrize("name", FULL)


def content(name: str, data: Any, **attributes: Any) -> dict[str, Any]:
    required = {"specversion": "1.0", "id": "1", "source": "/s", "type": f"pauseledger.{name}", "subject": "T-1"}
    return required | attributes | {"data": data}


def test_the_registry_is_closed() -> None:
    """The sixteen types of the protocol, and no other."""
    assert {name.removeprefix("pauseledger.") for name in EVENT_TYPES} == set(FULL) == set(REQUIRED)


@SIXTEEN
def test_writing_an_event_loses_nothing(name: str) -> None:
    """What is written is what was read: no null that is nested inside a value is dropped with the absent members."""
    given = {"actor": "user:ann", "actorroles": "role:a", "traceparent": "t", "datacontenttype": "application/json"}
    event = EVENTS.validate_python(content(name, FULL[name], **given))
    written = json.loads(event.to_json())
    assert written["data"] == FULL[name]
    assert EVENTS.validate_json(event.to_json()) == event


def test_members_that_are_absent_are_not_written() -> None:
    """An event that says little is short."""
    event = PauseOpened(id="1", source="/s", subject="T-1", data=PauseOpenedData(execution="e", pause="p"))
    written = json.loads(event.to_json())
    assert written["data"] == {"execution": "e", "pause": "p"}
    assert set(written) == {"specversion", "id", "source", "type", "subject", "datacontenttype", "data"}


@pytest.mark.parametrize(("name", "member"), EVERY_MEMBER)
def test_a_null_member_counts_as_absent(name: str, member: str) -> None:
    """A member that is null does what its absence does: an optional one is not there, a required one is missing."""
    without = {key: value for key, value in FULL[name].items() if key != member}
    with_null = without | {member: None}
    if member in REQUIRED[name]:
        for data in (without, with_null):
            with pytest.raises(ValidationError):
                EVENTS.validate_python(content(name, data))
    else:
        assert EVENTS.validate_python(content(name, without)) == EVENTS.validate_python(content(name, with_null))


WRONG: dict[str, list[Any]] = {
    "string": [1, True, [], {}],
    "identifier": ["", "x" * 257, 1, ["a"]],
    "entry": ["7", "0:", ":7", "0:7\n", "0:-7", "a:b", "0:7 ", "٠:٧", 7],
    "boolean": [1, 0, "true", []],
    "integer": ["5", 5.0, 5.5, True, []],
    "instant": ["2026-03-28", 1774688400, "now", ""],
    "duration": ["P1M", "15m", 900, "PT0S", ""],
}
KINDS = {
    "string": {
        "route",
        "outcome",
        "trigger",
        "recheck",
        "no_resume_condition",
        "contract",
        "reason",
        "text",
        "action_digest",
    },
    "identifier": {"execution", "owner", "pause", "heartbeat_by", "to", "from", "by"},
    "entry": {"acknowledges", "settles"},
    "boolean": {"manual", "requires_review"},
    "integer": {"fence"},
    "instant": {"fresh_until"},
    "duration": {"fresh_for", "heartbeat_timeout", "reconcile_within"},
}
BAD = [
    (name, member, value)
    for name, member in EVERY_MEMBER
    for kind, members in KINDS.items()
    if member in members
    for value in WRONG[kind]
]
BAD += [("pause.opened", "runtime", value) for value in ("x", [], 1)]
BAD += [("pause.opened", "side_effect", value) for value in ("maybe", "Happened", 1)]
BAD += [("pause.opened", "resume_authority", value) for value in ("user:ann", [""], [1], {"a": 1}, ["x" * 257])]
BAD += [("pause.opened", "pending_action", value) for value in ("x", {}, {"kind": "a"}, [])]
BAD += [("execution.claimed", "replaces", value) for value in ("", [""], [1], 1, {}, ["x" * 257])]
BAD += [("review.decided", "outcome", value) for value in ("Approve", "none")]
BAD += [("side_effect.observed", "status", value) for value in ("maybe", True)]
BAD += [("pause.closed", "outcome", value) for value in ("waived", "rejected")]


@pytest.mark.parametrize(("name", "member", "value"), BAD)
def test_a_member_of_the_wrong_form_is_refused(name: str, member: str, value: Any) -> None:
    """Nothing is coerced: a number is no string, an integer no truth, and an identifier has 1 to 256 characters."""
    with pytest.raises(ValidationError):
        EVENTS.validate_python(content(name, FULL[name] | {member: value}))


@SIXTEEN
def test_unknown_members_are_ignored(name: str) -> None:
    """Members that the protocol does not name say nothing, whatever they hold."""
    event = EVENTS.validate_python(content(name, FULL[name]))
    assert EVENTS.validate_python(content(name, FULL[name] | {"from_": 1, "x": [None]}, ext=7)) == event


@pytest.mark.parametrize("outcome", ["approve", "reject"])
@pytest.mark.parametrize("action", [{}, "garbage", {"kind": "x" * 300}, PAY])
def test_an_action_beside_another_outcome_than_edit_is_ignored(outcome: str, action: Any) -> None:
    """Only an edit sets the action; what stands beside another outcome is not even looked at."""
    data = AT | {"outcome": outcome}
    with_action = EVENTS.validate_python(content("review.decided", data | {"pending_action": action}))
    assert with_action == EVENTS.validate_python(content("review.decided", data))


def test_an_edit_needs_an_action_wherever_it_stands_in_the_text() -> None:
    """The order of members does not count: the action may come before the outcome that calls for it."""
    data = {"pending_action": PAY, "outcome": "edit"} | AT
    assert EVENTS.validate_python(content("review.decided", data)).data.pending_action.digest == DIGEST


def test_a_recheck_needs_a_deadline() -> None:
    """A recheck that gives no deadline is no recheck."""
    with pytest.raises(ValidationError, match="fresh_until"):
        EVENTS.validate_python(content("inputs.rechecked", AT))


def test_requests_and_facts() -> None:
    """An attempt with a fence asks, one without tells; the rest is as the protocol's table says."""
    kinds = {name: is_request(EVENTS.validate_python(content(name, data))) for name, data in FULL.items()}
    facts = {"pause.opened", "heartbeat.recorded", "work.moved", "branch.started", "inputs.changed"}
    assert {name for name, request in kinds.items() if not request} == facts | {"side_effect.observed", "note.added"}
    assert not is_request(EVENTS.validate_python(content("side_effect.attempted", AT)))
