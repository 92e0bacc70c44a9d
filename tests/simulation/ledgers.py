"""Random ledgers: records of every type, garbage, resends, reused ids and a clock that jumps, for two work items.

Most of what is random is refused at once, so that ledgers would stay shallow. ``settles``, ``fence`` and the like are
therefore mostly what a publisher that has read the ledger would send: markers that are filled in as the ledger grows.
An entry is made from one integer, so that long ledgers are cheap to draw, and shrink by dropping entries.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import strategies as st

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.fold import Replay
from ledger.packet import WorkItem
from ledger.record import Record

NOW = "what stands on the ledger"
START = 1_774_688_400_000  # 2026-03-28T09:00:00Z
SUBJECTS = ("T-1", "T-2")
ACTIONS = [{"kind": "tool", "name": "pay", "idempotency_key": key} for key in "ABCDEFGH"]

Choices = tuple[Any, ...]
EXECUTIONS: Choices = ("E1", "E1", "E1", "E2", "E3", "E4", "E5")
PAUSES: Choices = ("P1", "P2", "P3", "P4", "P5", "P6")
PEOPLE: Choices = ("ann", "ann", "ann", "bob", "mallory")
DURATIONS: Choices = ("PT1S", "PT5M", "PT1H", "P1D", "P9999999W")
INSTANTS: Choices = (
    "2026-03-28T09:01:00Z",
    "2026-03-28T20:00:00+01:00",
    "2026-03-30T09:00:00Z",
    "0001-01-01T00:00:00Z",
)
STATUSES: Choices = (*["not_happened"] * 6, "happened", "indeterminate")
MARKS: Choices = (NOW, NOW, NOW, NOW, "0:0", None)

AT: dict[str, Choices] = {"execution": EXECUTIONS, "pause": PAUSES}
FRESH: dict[str, Choices] = {"fresh_for": (None, *DURATIONS, *["P1D"] * 4), "fresh_until": (*[None] * 12, *INSTANTS)}
DATA: dict[str, dict[str, Choices]] = {
    "execution.claimed": {
        "execution": EXECUTIONS,
        "owner": PEOPLE,
        "replaces": (None, NOW, NOW, "E1", ["E1", "E2"]),
        "acknowledges": MARKS,
    },
    "execution.finished": {"execution": EXECUTIONS},
    "pause.opened": AT
    | FRESH
    | {
        "pending_action": (None, *ACTIONS, *ACTIONS),
        "owner": (None, None, None, *PEOPLE),
        "resume_authority": (None, None, ["ann"], ["ann", "bob"], ["bob"]),
        "requires_review": (None, None, True, False),
        "heartbeat_timeout": (*[None] * 6, *DURATIONS),
        "reconcile_within": (None, *DURATIONS),
        "side_effect": (None, *["not_happened"] * 20, *STATUSES),
    },
    "heartbeat.recorded": AT,
    "owner.changed": {"execution": EXECUTIONS, "to": PEOPLE, "from": (None, *PEOPLE)},
    "work.moved": {"to": PEOPLE},
    "branch.started": {"execution": EXECUTIONS, "by": (None, *PEOPLE)},
    "inputs.changed": {"pause": (None, *PAUSES)},
    "inputs.rechecked": AT | FRESH | {"fresh_for": DURATIONS},
    "review.decided": AT
    | FRESH
    | {"outcome": ("approve", "approve", "edit", "reject"), "action_digest": (NOW,), "pending_action": tuple(ACTIONS)},
    "resume.requested": AT | {"action_digest": (NOW,)},
    "side_effect.attempted": AT | {"fence": (None, *[NOW] * 12, 3)},
    "side_effect.observed": AT | {"status": STATUSES, "settles": MARKS},
    "debt.waived": AT | {"reason": ("gone",)},
    "pause.closed": AT | {"outcome": ("executed", "settled", "abandoned")},
    "note.added": {"text": ("n",)},
}
# What carries a story comes often, and what ends one seldom.
SELDOM = ("execution.finished", "work.moved", "branch.started", "owner.changed")
OFTEN = ("pause.opened", "resume.requested", "side_effect.attempted", "side_effect.observed", "inputs.rechecked")
NAMES = (*SELDOM, *[name for name in DATA if name not in SELDOM] * 6, *OFTEN * 20)
STEPS = (*[0] * 12, *[1_000] * 6, 1, 60_000, 60_000, -1, -600_000, 4_000_000)
GARBAGE = (b"", b"{", b"[]", b"{}", b'{"specversion":"1.0"}', b"\xff", b"NaN", b'{"specversion":"1.0","id":"1"}')

Told = tuple[int, dict[str, Any] | bytes]


def entry_of(seed: int) -> Told:
    """A step of the clock, and an event (its markers not filled in yet) or garbage."""
    chance = Random(seed)
    step = chance.choice(STEPS)
    if chance.random() < 0.04:
        return step, chance.choice(GARBAGE)
    name = chance.choice(NAMES)
    event = {
        "specversion": "1.0",
        "id": chance.choice((*[None] * 20, "1", "2")),
        "source": "/random",
        "type": f"pauseledger.{name}",
        "subject": chance.choice((*SUBJECTS, SUBJECTS[0], SUBJECTS[0])),
        "actor": chance.choice(PEOPLE),
        "time": chance.choice((*INSTANTS, *[None] * 40)),
        "luck": chance.randrange(1_000),
        "data": {member: chance.choice(values) for member, values in DATA[name].items()},
    }
    return step, event


def ledgers(longest: int) -> st.SearchStrategy[list[Record]]:
    """Ledgers of up to so many records."""
    seeds = st.integers(min_value=0, max_value=2**32)
    return st.lists(seeds.map(entry_of), min_size=longest // 2, max_size=longest).map(records_of)


def records_of(told: list[Told]) -> list[Record]:
    """The records as they lie on the log; markers are filled in with what a reader would know at that point."""
    replay, records, clock = Replay(1), [], START
    for offset, (step, content) in enumerate(told):
        clock = max(0, clock + step)
        key = SUBJECTS[0].encode()
        if isinstance(content, dict):
            event = filled(replay, content, offset)
            key, content = event["subject"].encode(), json.dumps(event).encode()
        records.append(Record(0, offset, clock, key, content, STRUCTURED_HEADERS))
        replay.take(records[-1])
    return records


def filled(replay: Replay, event: dict[str, Any], offset: int) -> dict[str, Any]:
    """The event with its own id; of a publisher that has read the ledger, also with what stands there."""
    event, item = dict(event), replay.items.get(event["subject"])
    luck = event.pop("luck")
    event |= {"id": event["id"] or f"e{offset}", "data": dict(event["data"])}
    if item is not None and item.pauses and luck % 8:
        aim(item, event, luck)
    known = standing(item, event["data"].get("pause") or "")
    event["data"] = {name: known[name] if value == NOW else value for name, value in event["data"].items()}
    return event


def aim(item: WorkItem, event: dict[str, Any], luck: int) -> None:
    """Make the event one about a pause that is there, by somebody who may speak of it; a new pause where one opens."""
    data = event["data"]
    if event["type"].endswith("pause.opened"):
        data |= {"pause": f"P{len(item.pauses)}", "execution": item.canonical or data["execution"]}
        data["owner"] = item.owner_of(item.canonical) or "ann"
    elif event["type"].endswith("owner.changed"):
        data |= {"execution": item.canonical or data["execution"], "from": item.owner_of(item.canonical)}
    elif event["type"].endswith("execution.finished"):
        data["execution"] = item.canonical or data["execution"]
    elif data.get("pause") is not None:
        names = item.open if item.open and luck % 5 else tuple(item.pauses)
        pause = item.pauses[names[-1 - luck // 8 % min(3, len(names))]]
        data |= {"pause": pause.pause, "execution": pause.execution}
        event["actor"] = (pause.owner, *pause.resume_authority)[-1] or event["actor"]


def standing(item: WorkItem | None, name: str) -> dict[str, Any]:
    """What each marker stands for."""
    pause = None if item is None else item.pauses.get(name)
    canonical = None if item is None else item.canonical
    return {
        "settles": None if pause is None or item is None else item.entry(pause.side_effect_by),
        "fence": 0 if pause is None or pause.fence is None else pause.fence,
        "action_digest": None if pause is None else pause.action_digest,
        "replaces": None if item is None or canonical is None else [canonical, *item.rivals],
        "acknowledges": None if item is None or item.moved is None else item.entry(item.moved),
    }
