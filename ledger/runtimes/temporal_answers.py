"""A person's answer as it crosses Temporal: plain data, which anybody who reaches the server may have written.

The workflow's validator reads it before anything else does: what is no answer must never get as far as a handler. There
an activity would be tried for ever, or the workflow's own task.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from ledger.actions import is_identifier, read_action
from ledger.errors import LedgerError
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from ledger.runtimes.workflows import kept, paused_from

_OUTCOMES = ("approve", "edit", "reject")
_LONGEST_SECONDS = timedelta(days=36_500).total_seconds()


def written(
    seen: Paused, outcome: str, *, edited: Mapping[str, Any] | None, fresh_for: timedelta | None, who: Who
) -> dict[str, Any]:
    """An answer as the update's argument."""
    return {
        "seen": kept(seen),
        "outcome": outcome,
        "edited": None if edited is None else dict(edited),
        "fresh_for": None if fresh_for is None else fresh_for.total_seconds(),
        "actor": who.actor,
        "roles": list(who.roles),
    }


def seen_in(asked: Any) -> Paused:
    """The pause that an answer is about. Raises ``ValueError`` where it is no answer."""
    if not isinstance(asked, Mapping) or asked.keys() != {"seen", "outcome", "edited", "fresh_for", "actor", "roles"}:
        raise ValueError("It is no answer to a pause.")
    edited, fresh_for, roles = asked["edited"], asked["fresh_for"], asked["roles"]
    if asked["outcome"] not in _OUTCOMES or (edited is not None) != (asked["outcome"] == "edit"):
        raise ValueError("It must approve, reject, or edit with an action.")
    if fresh_for is not None and not _is_length(fresh_for):
        raise ValueError("fresh_for must be a number of seconds.")
    if not isinstance(roles, list) or not all(is_identifier(one) for one in (asked["actor"] or "-", *roles)):
        raise ValueError("The actor and each role must have a name.")
    if edited is not None:
        read_action(edited)
    return _paused(asked["seen"])


def _is_length(seconds: Any) -> bool:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return False
    return math.isfinite(seconds) and 0 < seconds <= _LONGEST_SECONDS


def _paused(data: Any) -> Paused:
    if not isinstance(data, Mapping) or data.keys() != set(Paused._fields):
        raise ValueError("It names no pause.")
    if data["action"] is not None:
        read_action(data["action"])
    return paused_from(data)


def ask(gate: Gate, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Review and request to resume; the fence, or why there is none; and the action as it is then."""
    paused, who = paused_from(asked["seen"]), Who(asked["actor"], asked["roles"])
    fresh_for = None if asked["fresh_for"] is None else timedelta(seconds=asked["fresh_for"])
    try:
        paused = gate.review(paused, asked["outcome"], edited=asked["edited"], fresh_for=fresh_for, who=who)
        if asked["outcome"] == "reject":
            return {"branch": "closed", "reason": "It was rejected.", "action": paused.action}
        return {"fence": gate.request_resume(paused, who=who).fence, "action": paused.action}
    except Shut as shut:
        with suppress(LedgerError):  # an edit of a try that died may have changed it
            paused = paused._replace(action=gate.packet(paused)["pending_action"])
        return {"branch": shut.branch, "reason": shut.reason, "action": paused.action}
    except LedgerError as error:  # tried again it would say the same
        return {"branch": "refused", "reason": str(error), "action": paused.action}
