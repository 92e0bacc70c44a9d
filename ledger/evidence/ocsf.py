"""The entries for a SIEM: OCSF 1.8, class Entity Management (3004), one event a line and one line an entry.

What is managed is the pause, or the work item where an event concerns all of it. :data:`ACTIVITIES` says which event
is which activity; what OCSF has no word for is 99, Other, under the ledger's own name. Whether it counted is the
status: ``accepted`` is Success, ``refused`` and ``malformed`` are Failure with the ledger's code and sentence, a
``duplicate`` is Other. ``metadata.event_code`` tells a grant (``resume.requested``) from the act
(``side_effect.attempted``): both resume. The time is the log's; ``actor`` is what the event claims. ``data`` isn't
here: it is in ``verdicts.jsonl``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ledger.evidence.sheets import members, text_of
from ledger.evidence.view import BundleView, Row
from ledger.json_text import write_json
from ledger.times import parse_instant, to_milliseconds

VERSION = "1.8.0"
CLASS, CATEGORY = 3004, 3
UPDATE, MOVE, SUSPEND, RESUME, OTHER, UNKNOWN = 3, 5, 12, 13, 99, 0
INFORMATIONAL, LOW, HIGH = 1, 2, 4

_PREFIX = "pauseledger."
ACTIVITY_NAMES = {UPDATE: "Update", MOVE: "Move", SUSPEND: "Suspend", RESUME: "Resume", UNKNOWN: "Unknown"}
_SEVERITIES = {INFORMATIONAL: "Informational", LOW: "Low", HIGH: "High"}
_STATUSES = {"accepted": (1, "Success"), "refused": (2, "Failure"), "malformed": (2, "Failure")}
_PRINCIPALS = {"user": (1, "User"), "service": (4, "Service"), "role": (OTHER, "Role")}


class Activity(NamedTuple):
    """What an event is to OCSF, and whether it concerns the whole work item."""

    number: int
    of_work_item: bool = False


ACTIVITIES: Mapping[str, Activity] = {
    "pause.opened": Activity(SUSPEND),
    "resume.requested": Activity(RESUME),
    "side_effect.attempted": Activity(RESUME),
    "owner.changed": Activity(MOVE, of_work_item=True),
    "work.moved": Activity(MOVE, of_work_item=True),
    "execution.claimed": Activity(UPDATE, of_work_item=True),  # Move, where it replaces another execution
    "inputs.changed": Activity(UPDATE),
    "inputs.rechecked": Activity(UPDATE),
    "review.decided": Activity(UPDATE),
    "pause.closed": Activity(OTHER),
    "heartbeat.recorded": Activity(OTHER),
    "side_effect.observed": Activity(OTHER),
    "debt.waived": Activity(OTHER),
    "branch.started": Activity(OTHER, of_work_item=True),
    "execution.finished": Activity(OTHER, of_work_item=True),
    "note.added": Activity(OTHER, of_work_item=True),
}


def ocsf_lines(view: BundleView) -> Iterator[bytes]:
    """A line an entry, in the order of the view."""
    log = f"{view.ledger}/{view.topic}"
    for row in view.verdicts:
        yield write_json(_event(view, log, row)) + b"\n"


def ocsf_jsonl(view: BundleView) -> bytes:
    """All of it."""
    return b"".join(ocsf_lines(view))


def _event(view: BundleView, log: str, row: Row) -> dict[str, Any]:
    event = members(row.get("event"))
    data = members(event.get("data"))
    name, activity = _activity(row, data)
    severity = _severity(row, name, data)
    status, status_name = _STATUSES.get(row["verdict"], (OTHER, str(row["verdict"]).capitalize()))
    shown = ACTIVITY_NAMES.get(activity.number, name)
    content: dict[str, Any] = {
        "activity_id": activity.number,
        "activity_name": shown,
        "category_uid": CATEGORY,
        "category_name": "Identity & Access Management",
        "class_uid": CLASS,
        "class_name": "Entity Management",
        "type_uid": CLASS * 100 + activity.number,
        "type_name": f"Entity Management: {'Other' if activity.number == OTHER else shown}",
        "time": _milliseconds(row),
        "severity_id": severity,
        "severity": _SEVERITIES[severity],
        "status_id": status,
        "status": status_name,
        "status_code": row["code"],
        "status_detail": row["reason"],
        "entity": _entity(row, data, activity),
        "metadata": _metadata(view, log, row, event),
        "unmapped": _unmapped(row, data),
    }
    if activity.number == MOVE and row["verdict"] == "accepted":
        content["entity_result"] = content["entity"] | {"data": {"to": data.get("to") or data.get("owner")}}
    if isinstance(reason := data.get("reason"), str):
        content["comment"] = reason
    if isinstance(actor := event.get("actor"), str) and actor:
        content["actor"] = {"user": _principal(actor, event.get("actorroles"))}
    return content


def _activity(row: Row, data: Mapping[str, Any]) -> tuple[str, Activity]:
    """The event's name without its prefix, and what it is; a malformed one is what it says that it is."""
    name = (row["type"] or "").removeprefix(_PREFIX)
    if name == "execution.claimed" and data.get("replaces"):
        return name, Activity(MOVE, of_work_item=True)
    return name, ACTIVITIES.get(name, Activity(UNKNOWN, of_work_item=True))


def _severity(row: Row, name: str, data: Mapping[str, Any]) -> int:
    """What was refused or could not be read wants a look; that somebody acted without a grant, action."""
    if row["verdict"] == "accepted" and name == "side_effect.attempted" and data.get("fence") is None:
        return HIGH
    return LOW if row["verdict"] in ("refused", "malformed") else INFORMATIONAL


def _milliseconds(row: Row) -> int:
    return to_milliseconds(parse_instant(row["recorded_at"]))


def _entity(row: Row, data: Mapping[str, Any], activity: Activity) -> dict[str, Any]:
    """The pause where one is named, else the work item; an entry that names none is that entry."""
    subject = row["subject"]
    pause = None if activity.of_work_item else text_of(data.get("pause"))
    if pause:
        named = {"type": "Pause", "uid": pause, "name": pause if subject is None else f"{subject} {pause}"}
    elif subject is not None:
        named = {"type": "Work item", "uid": subject, "name": subject}
    else:
        place = f"{row['partition']}:{row['offset']}"
        named = {"type": "Entry", "uid": place, "name": place}
    return {"type_id": OTHER, **named}


def _metadata(view: BundleView, log: str, row: Row, event: Mapping[str, Any]) -> dict[str, Any]:
    content = {
        "version": VERSION,
        "product": {"name": "pauseledger", "vendor_name": "pauseledger"},
        "uid": f"{log}/{row['partition']}:{row['offset']}",
        "log_provider": view.ledger,
        "log_name": view.topic,
        "logged_time": _milliseconds(row),
        "sequence": row["offset"],
        "original_event_uid": row["id"],
        "event_code": row["type"],
        "source": row["source"],
        "correlation_uid": row["subject"],
        "original_time": text_of(event.get("time")),
    }
    return {name: value for name, value in content.items() if value is not None}


def _unmapped(row: Row, data: Mapping[str, Any]) -> dict[str, Any]:
    content = {
        "partition": row["partition"],
        "offset": row["offset"],
        "verdict": row["verdict"],
        "execution": text_of(data.get("execution")),
        "fence": row.get("fence"),
        "valid_until": row.get("valid_until"),
        "action_digest": row.get("action_digest"),
    }
    return {name: value for name, value in content.items() if value is not None}


def _principal(actor: str, roles: Any) -> dict[str, Any]:
    """The actor as it claims to be, with the roles that it claims."""
    number, name = _PRINCIPALS.get(actor.partition(":")[0] if ":" in actor else "", (UNKNOWN, "Unknown"))
    content: dict[str, Any] = {"name": actor, "uid": actor, "type_id": number, "type": name}
    if isinstance(roles, str) and (named := [role.strip() for role in roles.split(",") if role.strip()]):
        content["groups"] = [{"name": role, "type": "Role"} for role in named]
    return content
