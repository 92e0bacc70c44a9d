"""OCSF: every line is valid by the schema of the class, whatever lies on the log, and says what the verdict says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from ledger.events import EVENT_TYPES
from ledger.evidence.ocsf import ACTIVITIES, ocsf_jsonl
from ledger.evidence.view import BundleView
from tests.ledger.evidence.views import hostile_view, owed_view, vectors_view, view_of, views
from tests.ledger.story import Story


@cache
def schema() -> Draft202012Validator:
    """The class as ``ocsf-json-schema`` makes it; where from says the file."""
    content = json.loads(Path(__file__).with_name("ocsf-1.8.0-entity_management.json").read_bytes())
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)


def lines(view: BundleView) -> Iterator[dict[str, Any]]:
    for line in ocsf_jsonl(view).splitlines():
        yield json.loads(line)


def of(story: Story) -> list[dict[str, Any]]:
    return list(lines(view_of(story.records)))


@settings(deadline=None, max_examples=40)
@given(views())
def test_any_entry_is_a_valid_event(view: BundleView) -> None:
    """One valid line an entry, and the same bytes each time."""
    found = list(lines(view))
    assert len(found) == len(list(view.verdicts))
    assert [error.message for event in found for error in schema().iter_errors(event)] == []
    assert ocsf_jsonl(view) == ocsf_jsonl(view)


@pytest.mark.parametrize("view", [vectors_view, hostile_view, owed_view], ids=lambda view: view.__name__)
def test_all_vectors_are_valid_events(view: Any) -> None:
    """Every type with every verdict and code, and the hostile texts."""
    assert [error.message for event in lines(view()) for error in schema().iter_errors(event)] == []


@pytest.mark.parametrize(
    "broken",
    [
        {"activity_id": 14},
        {"class_uid": 3001},
        {"type_uid": 300414},
        {"time": "2026-03-28T09:00:00Z"},
        {"severity_id": None},
        {"entity": {"type_id": 99}},
        {"metadata": {"version": "1.8.0"}},
        {"pause": "p-1"},
        {"actor": {}},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_the_schema_refuses(broken: dict[str, Any]) -> None:
    """The schema isn't one that lets everything pass: each of these makes a valid event invalid."""
    event = next(lines(owed_view()))
    assert schema().is_valid(event)
    assert not schema().is_valid(event | broken)


def test_every_type_has_its_activity() -> None:
    """No event type is without one, and none is named that there isn't."""
    assert {f"pauseledger.{name}" for name in ACTIVITIES} == set(EVENT_TYPES)


def test_a_pause_is_suspended_and_resumed() -> None:
    """Opened, granted and acted on: Suspend, Resume, Resume, each of the pause, told apart by the event's code."""
    story = Story()
    story.open(attributes={"actor": "user:ann", "actorroles": "role:ops, role:fin"})
    story.attempt(story.request().fence)
    opened, asked, acted = of(story)
    assert [one["type_uid"] for one in (opened, asked, acted)] == [300412, 300413, 300413]
    assert [one["entity"]["uid"] for one in (opened, asked, acted)] == ["p-1"] * 3
    assert acted["metadata"]["event_code"] == "pauseledger.side_effect.attempted"
    assert acted["actor"]["user"] == {
        "name": "service:worker",
        "uid": "service:worker",
        "type_id": 4,
        "type": "Service",
    }
    assert [group["name"] for group in opened["actor"]["user"]["groups"]] == ["role:ops", "role:fin"]
    assert acted["unmapped"]["fence"] == 1
    assert (opened["time"], opened["metadata"]["sequence"]) == (1_774_688_400_000, 0)


def test_a_takeover_moves_the_work_item() -> None:
    """A change of owner and a claim that replaces another are Move of the work item; a first claim is an Update."""
    story = Story()
    story.claim()
    story.tell("owner.changed", execution="run-1", from_="user:ann", to="user:bob", reason="leave")
    story.claim("run-2", "user:cy", replaces="run-1")
    story.tell("work.moved", to="queue-2")
    found = of(story)
    assert [one["activity_name"] for one in found] == ["Update", "Move", "Move", "Move"]
    assert [one["entity_result"]["data"]["to"] for one in found[1:]] == ["user:bob", "user:cy", "queue-2"]
    assert {one["entity"]["uid"] for one in found} == {"T-1001"}
    assert found[1]["comment"] == "leave"


def test_what_was_refused_failed() -> None:
    """A refused request is a failed Resume with the ledger's code and sentence, and nothing is said to have changed."""
    story = Story()
    story.open()
    story.request(actor="user:eve")
    story.tell("owner.changed", execution="run-1", from_="user:bob", to="user:eve")
    story.put(b"no JSON")
    _, resumed, moved, unread = of(story)
    assert (resumed["status"], resumed["status_code"], resumed["severity"]) == ("Failure", "no-authority", "Low")
    assert resumed["status_detail"].startswith("Neither the actor")
    assert moved["status_id"] == 2
    assert "entity_result" not in moved
    assert (unread["activity_name"], unread["entity"]["type"], unread["status"]) == ("Unknown", "Entry", "Failure")


def test_a_resend_is_neither_success_nor_failure() -> None:
    """A duplicate is Other, so that nobody counts one grant twice."""
    story = Story()
    story.open()
    story.request()
    story.put(story.records[-1].value)
    assert [(one["status_id"], one["status"]) for one in of(story)] == [
        (1, "Success"),
        (1, "Success"),
        (99, "Duplicate"),
    ]


def test_acting_without_a_grant_is_severe() -> None:
    """That somebody acted without asking wants action, once; a resend or a refusal of that does not."""
    story = Story()
    story.open()
    story.attempt(story.request().fence)
    story.attempt(None)
    story.put(story.records[-1].value)
    story.attempt(None, "no such pause")
    assert [one["severity"] for one in of(story)] == ["Informational"] * 3 + ["High", "Informational", "Low"]
