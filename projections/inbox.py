"""The inbox: every pause that needs a person, the most urgent first.

It has no table: which branch a pause takes changes as time passes, so it is decided when it is asked for, from the
folded states of the work items that have an open pause or a debt.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from ledger.checks import holding_back
from ledger.decision import debt, decide
from ledger.packet import Pause, WorkItem
from ledger.times import format_instant
from projections.deadlines import due_at
from projections.listing import action_name

_URGENCY = ("reconcile", "terminate", "review", "settle")
_OWED = "Nobody knows whether the side effect of this closed pause landed: find out, or write it off."


class Task(NamedTuple):
    """What a person has to look at. ``since`` is when it became so, where that is known; ``due`` when it is owed.

    ``held_by`` names other pauses whose unknown outcome holds this one back.
    """

    subject: str
    execution: str
    pause: str
    state: str
    decision: str
    rule: str
    reason: str
    owner: str | None
    resume_authority: tuple[str, ...]
    held_by: tuple[str, ...]
    since: str | None
    due: str | None
    overdue: bool
    action: str | None
    """What the pause is about: the name of its pending action."""


def inbox_of(item: WorkItem, as_of: datetime) -> list[Task]:
    """The tasks of one work item, in the order its pauses were opened."""
    found = []
    for pause in item.pauses.values():
        if pause.is_open:
            decision = decide(item, pause, as_of)
            if decision.judgement.decision != "resume":
                rule = decision.judgement.rule
                found.append(_task(item, pause, as_of, decision.judgement.decision, rule, decision.reason))
        elif debt(pause) is not None:
            found.append(_task(item, pause, as_of, "reconcile", "debt", _OWED))
    return found


def _task(item: WorkItem, pause: Pause, as_of: datetime, decision: str, rule: str, reason: str) -> Task:
    unknown = holding_back(item, pause) if decision == "reconcile" else [pause]
    since = {
        "indeterminate": min((one.side_effect_since for one in unknown), default=None),
        "debt": pause.side_effect_since,
        "landed": pause.side_effect_since,
        "stale": pause.fresh_until,
        "unowned": None if pause.owner is None else pause.lapses_at,
    }.get(rule)
    due = min((at for one in unknown if (at := due_at(one)) is not None), default=None)
    return Task(
        item.subject,
        pause.execution,
        pause.pause,
        "open" if pause.is_open else "closed",
        decision,
        rule,
        reason,
        pause.owner,
        pause.resume_authority,
        tuple(one.pause for one in unknown if one.pause != pause.pause),
        None if since is None else format_instant(since),
        None if due is None else format_instant(due),
        due is not None and as_of >= due,
        action_name(pause),
    )


def most_urgent_first(tasks: Iterable[Task]) -> list[Task]:
    """Overdue debts, then by decision, each by when it is due, by how long it has waited, and by name.

    What is held back by another comes after it.
    """
    last = "9999"  # after every time

    def urgency(task: Task) -> tuple[object, ...]:
        rank, held = _URGENCY.index(task.decision), bool(task.held_by)
        return not task.overdue, rank, task.due or last, task.since or last, held, task.subject, task.pause

    return sorted(tasks, key=urgency)
