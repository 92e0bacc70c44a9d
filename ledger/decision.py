"""The decision of a pause at an instant: the branch table's row over the three checks (protocol, section 6)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from ledger import branch_table, checks
from ledger.branch_table import Branch, Freshness, Ownership, SideEffectResult
from ledger.packet import Pause, WorkItem
from ledger.times import format_instant, shifted


class Judgement(NamedTuple):
    """The bare result: the row's rule and branch, and what the checks said."""

    rule: str
    decision: Branch
    freshness: Freshness
    ownership: Ownership
    side_effect: SideEffectResult


class Decision(NamedTuple):
    """What a reader holds until ``valid_until``. See :meth:`as_dict` for the members that scripts read."""

    item: WorkItem
    pause: Pause
    judgement: Judgement
    as_of: datetime
    valid_until: datetime | None

    @property
    def reason(self) -> str:
        return reason(self.item, self.pause, self.judgement)

    def as_dict(self) -> dict[str, Any]:
        item, pause, judgement = self.item, self.pause, self.judgement
        return {
            "subject": item.subject,
            "execution": pause.execution,
            "pause": pause.pause,
            "decision": judgement.decision,
            "rule": judgement.rule,
            "reason": self.reason,
            "checks": _checks(item, pause, judgement),
            "stop_signals": checks.stop_signals(item, pause),
            "as_of": format_instant(self.as_of),
            "valid_until": None if self.valid_until is None else format_instant(self.valid_until),
            "debt": debt(pause),
            "obligations": obligations(judgement),
            "action_digest": pause.action_digest,
            "fence": pause.fence,
            "table": {"version": branch_table.VERSION, "digest": branch_table.DIGEST},
        }


def judge(item: WorkItem, pause: Pause, as_of: datetime, *, own: SideEffectResult | None = None) -> Judgement:
    """The branch of a pause at an instant; ``own`` asks what it would be if the packet's own side effect were that."""
    fresh = checks.freshness(pause, as_of)
    owned = checks.ownership(item, pause, as_of)
    effect = checks.side_effect(item, pause, own=own)
    if not pause.is_open:
        return Judgement("closed", "closed", fresh, owned, effect)
    row = branch_table.branch(owned, effect, pause.pending_action is not None, fresh, pause.review_missing)
    return Judgement(row.rule, row.decision, fresh, owned, effect)


def decide(item: WorkItem, pause: Pause, as_of: datetime) -> Decision:
    """The decision of a pause of a work item, at an instant."""
    judgement = judge(item, pause, as_of)
    return Decision(item, pause, judgement, as_of, valid_until(pause, judgement))


def valid_until(pause: Pause, judgement: Judgement) -> datetime | None:
    """The first instant at which time alone changes a check's result; null where there is none."""
    if judgement.rule == "closed":
        return None
    ends = []
    if judgement.freshness == "fresh" and pause.fresh_until is not None:
        ends.append(pause.fresh_until)
    if judgement.ownership == "held" and pause.lapses_at is not None:
        ends.append(pause.lapses_at)
    return min(ends, default=None)


def debt(pause: Pause) -> dict[str, Any] | None:
    """Who owes the outcome of a side effect that nobody knows, since when, and by when."""
    if pause.side_effect != "indeterminate" or pause.waived:
        return None
    since, within = pause.side_effect_since, pause.terms.reconcile_within
    due = None if within is None else format_instant(shifted(since, within))
    return {"owner": pause.owner, "since": format_instant(since), "due": due}


def obligations(judgement: Judgement) -> list[str]:
    """What a terminated branch still owes to the one that takes over."""
    if judgement.decision != "terminate":
        return []
    owed = {"indeterminate": ["reconcile-old-branch"], "happened": ["adopt-outcome"]}
    return owed.get(judgement.side_effect, [])


def _checks(item: WorkItem, pause: Pause, judgement: Judgement) -> dict[str, Any]:
    effect = judgement.side_effect
    return {
        "freshness": {"result": judgement.freshness, "entries": checks.freshness_entries(item, pause)},
        "ownership": {"result": judgement.ownership, "entries": checks.ownership_entries(item, pause)},
        "side_effect": {"result": effect, "entries": checks.side_effect_entries(item, pause, effect)},
    }


def _moved(item: WorkItem, pause: Pause) -> str:
    if item.moved is not None:
        return f"The work item was moved elsewhere (entry {item.entry(item.moved)}): end this branch, claim it anew."
    if checks.owner_was_changed(item, pause):
        return "The owner changed while the branch was paused: end this branch, and name one canonical owner."
    rivals = ", ".join(sorted(item.rivals))
    return f"Another branch was started on this work item ({rivals}): end this one, and name one canonical owner."


def _indeterminate(item: WorkItem, pause: Pause) -> str:
    others = [one.pause for one in checks.holding_back(item, pause) if one.pause != pause.pause]
    if pause.side_effect != "indeterminate" and others:
        return (
            f"Nobody knows whether the side effect of {', '.join(others[:3])} landed: find out before anything goes on."
        )
    if pause.grant == "attempted":
        return "It was attempted, and nobody has observed whether it landed: find out before anything goes on."
    if pause.grant == "granted":
        return "A grant is out, and nobody has observed whether the action landed: find out before anything goes on."
    if pause.side_effect_by == pause.opened:
        return (
            "Nothing on the ledger says that the side effect has not happened yet (pause.opened can say so): "
            "find out before anything goes on."
        )
    return "Nobody knows whether the side effect landed: find out before anything goes on."


def _unowned(pause: Pause) -> str:
    if pause.owner is None:
        return "Nobody owns this pause: who may resume it must be proven first."
    lapsed = "" if pause.lapses_at is None else f" since {format_instant(pause.lapses_at)}"
    return f"No heartbeat of {pause.owner} has come in time: it counts as lapsed{lapsed}."


def _stale(pause: Pause) -> str:
    if pause.fresh_until is None:
        return "The plan has no freshness deadline: it must be reviewed before it is used."
    return f"The plan was fresh until {format_instant(pause.fresh_until)}: it must be reviewed before it is used."


def reason(item: WorkItem, pause: Pause, judgement: Judgement) -> str:
    """Why this branch, in one sentence for a person."""
    match judgement.rule:
        case "closed":
            by = "" if pause.closed is None else f", by entry {item.entry(pause.closed)}"
            return f"The pause is closed: {pause.outcome}{by}."
        case "moved":
            return _moved(item, pause)
        case "indeterminate":
            return _indeterminate(item, pause)
        case "landed":
            return "The side effect happened already: close with its outcome, and never act again."
        case "no-action":
            return "No pending action was recorded: only the last completed step is known."
        case "unowned":
            return _unowned(pause)
        case "stale":
            return _stale(pause)
        case "unreviewed":
            return "The pending action needs an approval of exactly this action, and has none."
        case _:
            return "The plan is fresh, its owner holds it, and the side effect has not happened: it may be resumed."
