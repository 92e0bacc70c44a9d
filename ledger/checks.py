"""The three checks at an instant: freshness, ownership, side effect (protocol, section 5).

The results are for the branch table; the entries that prove them are looked up only for a decision that somebody reads.
"""

from __future__ import annotations

from datetime import datetime

from ledger.branch_table import Freshness, Ownership, SideEffectResult
from ledger.packet import Pause, WorkItem


def freshness(pause: Pause, as_of: datetime) -> Freshness:
    if pause.fresh_until is None:
        return "unknown"
    return "fresh" if as_of < pause.fresh_until else "expired"


def owner_was_changed(item: WorkItem, pause: Pause) -> bool:
    """Whether the owner of the pause's execution was changed after it opened, even if it was given back since."""
    terms = pause.terms
    execution = item.executions.get(terms.execution)
    changed = None if execution is None else execution.owner_changed
    return changed is not None and changed > terms.opened


def ownership(item: WorkItem, pause: Pause, as_of: datetime) -> Ownership:
    if item.moved is not None or owner_was_changed(item, pause):
        return "changed"
    if item.rivals:
        return "contested"
    if pause.owner is None:
        return "unknown"
    lapses_at = pause.lapses_at
    if lapses_at is not None and as_of >= lapses_at:
        return "lapsed"
    return "held"


def _holds_back(other: Pause, pause: Pause) -> bool:
    """Whether another pause, whose side effect is indeterminate, keeps this one from going on."""
    if other.pause == pause.pause:
        return True
    digest = pause.action_digest
    if digest is not None and other.action_digest == digest:
        return True
    if not other.binds or other.waived:
        return False
    return not other.is_open or other.side_effect_set < pause.opened


def holding_back(item: WorkItem, pause: Pause) -> list[Pause]:
    """The pauses whose unknown outcome makes this one's check ``indeterminate``."""
    return [other for name in item.unsettled if _holds_back(other := item.pauses[name], pause)]


def landed_already(item: WorkItem, pause: Pause) -> list[Pause]:
    """The pauses, this one among them, whose side effect is known to have happened and is this one's."""
    digest = pause.action_digest
    same = () if digest is None else item.landed.get(digest, ())
    found = [item.pauses[name] for name in same]
    if pause.side_effect == "happened" and pause.pause not in same:
        found.append(pause)
    return found


def side_effect(item: WorkItem, pause: Pause, *, own: SideEffectResult | None = None) -> SideEffectResult:
    """The side-effect check; ``own`` asks what it would be if the packet's own were that."""
    mine = pause.side_effect if own is None else own
    if mine == "indeterminate":
        return "indeterminate"
    for name in item.unsettled:
        if name != pause.pause and _holds_back(item.pauses[name], pause):
            return "indeterminate"
    if mine == "happened":
        return "happened"
    if not item.landed:
        return "not_happened"
    digest = pause.action_digest
    if digest is not None and any(name != pause.pause for name in item.landed.get(digest, ())):
        return "happened"
    return "not_happened"


def stop_signals(item: WorkItem, pause: Pause) -> list[str]:
    """The stop signals that hold, sorted (protocol, section 4)."""
    holds = {
        "no-pending-action": pause.pending_action is None,
        "no-owner": pause.owner is None,
        "no-freshness-deadline": pause.fresh_until is None,
        "side-effect-unproven": pause.side_effect == "indeterminate",
        "acted-without-grant": pause.acted_without_grant,
        "unrecorded-takeover": any(not rival.recorded_by for rival in item.rivals.values()),
        "debt-waived": pause.waived,
    }
    return sorted(signal for signal, held in holds.items() if held)


def freshness_entries(item: WorkItem, pause: Pause) -> list[str]:
    return _entries(item, [pause.fresh_set])


def ownership_entries(item: WorkItem, pause: Pause) -> list[str]:
    """What set the owner, what changed it, moved the work item or contests it, and the last heartbeat."""
    execution = item.executions.get(pause.execution)
    changed = execution.owner_changed if execution is not None and owner_was_changed(item, pause) else None
    rivals = [rival.started for rival in item.rivals.values()]
    return _entries(item, [pause.owner_set, changed, item.moved, pause.heartbeat_set, *rivals])


def side_effect_entries(item: WorkItem, pause: Pause, result: SideEffectResult) -> list[str]:
    if result == "not_happened":
        return _entries(item, [pause.side_effect_by])
    proof = holding_back(item, pause) if result == "indeterminate" else landed_already(item, pause)
    return _entries(item, [other.side_effect_by for other in proof])


def _entries(item: WorkItem, offsets: list[int | None]) -> list[str]:
    return [item.entry(offset) for offset in sorted({one for one in offsets if one is not None})]
