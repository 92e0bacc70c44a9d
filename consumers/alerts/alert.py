"""An alert: that one deadline of one pause has passed. One deadline has one alert, with one id for ever.

The id is made of nothing but the ledger and the deadline, so whoever finds it, whenever, gives it the same one; who is
told twice knows it by that.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from ledger.decision import decide
from ledger.json_text import write_json
from ledger.log import Identity
from ledger.packet import Pause, WorkItem
from ledger.times import format_instant
from projections.deadlines import Deadline, Kind

PREFIX = "pauseledger.alert."
NAMES: dict[Kind, str] = {"freshness": "freshness_expired", "heartbeat": "heartbeat_lapsed", "debt": "debt_due"}
"""What an alert of each kind of deadline is called; its CloudEvents type has the prefix before it."""


class Alert(NamedTuple):
    """What is kept and sent. ``content`` is the CloudEvent, a JSON text; ``deadline`` RFC 3339, cut to milliseconds."""

    id: str
    ledger: str
    partition: int
    kind: Kind
    subject: str
    pause: str
    execution: str
    owner: str | None
    deadline: str
    content: str


def alert_id(topic_id: str, kind: Kind, subject: str, pause: str, deadline: str) -> str:
    """The one id of a deadline's alert: 128 bits of the SHA-256 of a JSON list of what it is about.

    The deadline counts to the millisecond, as every command prints it.
    """
    named = write_json(["pauseledger alert 1", topic_id, kind, subject, pause, deadline])
    return f"alert-{sha256(named).hexdigest()[:32]}"


def alert_for(log: Identity, item: WorkItem, deadline: Deadline, as_of: datetime, noticed_at: datetime) -> Alert:
    """The alert for a deadline that has passed as of ``as_of``, noticed at our clock's ``noticed_at``."""
    pause = item.pauses[deadline.pause]
    name = alert_id(log.topic_id, deadline.kind, item.subject, pause.pause, deadline.at)
    content = {
        "specversion": "1.0",
        "id": name,
        "source": log.topic,
        "type": PREFIX + NAMES[deadline.kind],
        "subject": item.subject,
        "time": deadline.at,
        "datacontenttype": "application/json",
        "data": {
            "kind": deadline.kind,
            "execution": pause.execution,
            "pause": pause.pause,
            "owner": pause.owner,
            "deadline": deadline.at,
            "set_by": _set_by(item, pause, deadline.kind),
            "settles": item.entry(pause.side_effect_by) if deadline.kind == "debt" else None,
            "to_do": to_do(item, pause, deadline.kind),
            "decision": decide(item, pause, as_of).as_dict(),
            "noticed_at": format_instant(noticed_at),
            "ledger": log.topic_id,
        },
    }
    return Alert(
        name,
        log.topic_id,
        item.partition,
        deadline.kind,
        item.subject,
        pause.pause,
        pause.execution,
        pause.owner,
        deadline.at,
        write_json(content).decode(),
    )


def _set_by(item: WorkItem, pause: Pause, kind: Kind) -> str | None:
    """The entry that set the deadline."""
    sets: dict[Kind, int | None] = {
        "freshness": pause.fresh_set,
        "heartbeat": pause.heartbeat_set,
        "debt": pause.side_effect_set,
    }
    offset = sets[kind]
    return None if offset is None else item.entry(offset)


def to_do(item: WorkItem, pause: Pause, kind: Kind) -> str:
    """What whoever reads the alert should do, in one sentence."""
    if kind == "freshness":
        return (
            "Recheck what the plan rests on (inputs.rechecked), review what is to be done (review.decided),"
            " or close the pause (pause.closed)."
        )
    if kind == "heartbeat":
        who = pause.terms.heartbeat_by or pause.owner or "its owner"
        return (
            f"Find out whether {who} is still there: whoever may resume it rechecks or reviews it, or another execution"
            " claims the work item (execution.claimed)."
        )
    settles: Any = item.entry(pause.side_effect_by)
    return (
        "Find out whether the action landed, and record it (side_effect.observed, with settles"
        f" {settles}), or have it written off by name (debt.waived)."
    )
