"""What to do where a gate stays shut, as exactly as it can know: who may, until when, and who may still be at work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ledger.runtimes.gate import Who

_BY_BRANCH = {
    "review": "It must be rechecked or reviewed before anybody asks again.",
    "reconcile": "Make sure first that nobody is still doing it; then look whether the side effect has landed, publish "
    "what you saw (not_happened promises that it will not happen any more either), and ask again.",
    "settle": "Adopt its outcome, close the pause as settled, and never act again.",
    "terminate": "End this branch; the work item's canonical owner goes on.",
    "closed": "Nothing is left to do here.",
    "refused": "Nothing may be done with it as it is.",
    "unknown": "Nothing was done. See that the ledger can be reached, and look at the decision before you ask again.",
}
_NO_SUCH_PAUSE = "It was not told of, or its telling was refused: the trail of the work item says why."
_OF_A_PAUSE = {
    "not-canonical": "Tell of it again once the execution that works on this work item has finished (gate.finish), or "
    "take that over.",
    "execution-retired": "Give the next run an execution of its own: execution_id(run, generation).",
    "work-moved": "Claim the work item (execution.claimed, which acknowledges the move) before anything pauses on it.",
    "stale-owner": "Leave owner out, or name the one that the execution has.",
}
"""By the code of a refused pause."""


class Asked(NamedTuple):
    """What was asked for, by whom, and of which pause."""

    who: Who
    is_own: bool
    """Nobody was named: it counted as the gate's own doing."""
    kind: str
    """The event's type."""
    data: Mapping[str, Any]
    packet: Mapping[str, Any] | None = None


def general(branch: str) -> str:
    """What to do on a branch, of whatever pause."""
    return _BY_BRANCH[branch]


def advice(branch: str, code: str, asked: Asked | None) -> str:
    """What to do."""
    packet = None if asked is None else asked.packet
    if asked is not None and packet is not None:
        if code == "no-authority":
            return _who_may(asked, packet)
        if code == "still-stale":
            return _recheck_first(asked, packet)
        if branch == "reconcile" and packet["side_effect"] == "indeterminate" and packet["grant"] != "none":
            return f"{_may_be_under_way(packet)} {general(branch)}"
    if code == "no-such-pause":
        return _NO_SUCH_PAUSE
    if asked is not None and asked.kind == "pauseledger.pause.opened":
        return _OF_A_PAUSE.get(code) or general(branch)
    return general(branch)


def reason(code: str, told: str, asked: Asked | None) -> str:
    """Why. The ledger's sentence speaks of a deadline that was given: where none was, of the one that has passed."""
    if code != "still-stale" or asked is None or asked.packet is None or _gives_deadline(asked):
        return told
    until = asked.packet["fresh_until"]
    return "The plan has no freshness deadline." if until is None else f"The plan was fresh until {until}."


def _who_may(asked: Asked, packet: Mapping[str, Any]) -> str:
    by = asked.who.actor or "nobody"
    roles = f" with the roles {', '.join(asked.who.roles)}" if asked.who.roles else ""
    own = " (the gate's own name: give who=…, in LangGraph pauseledger_actor in the config)" if asked.is_own else ""
    return f"{by}{roles}{own} asked; it takes {_named(packet)}."


def _recheck_first(asked: Asked, packet: Mapping[str, Any]) -> str:
    if _gives_deadline(asked):
        return "Give a later one."
    return f"{_named(packet)} must recheck it first, gate.recheck(paused, fresh_for=…, who=…); then answer again."


def _may_be_under_way(packet: Mapping[str, Any]) -> str:
    done = "granted" if packet["grant"] == "granted" else "attempted"
    return (
        f"Since {packet['side_effect_since']} nobody knows: it was {done} by entry {packet['side_effect_by']}, "
        "and whoever holds that may be doing it at this moment."
    )


def _named(packet: Mapping[str, Any]) -> str:
    """Who has the authority to resume."""
    may = packet["resume_authority"] or []
    return " or ".join(map(str, may)) or "somebody of its resume_authority, and it names nobody (nor an owner)"


def _gives_deadline(asked: Asked) -> bool:
    return asked.data.get("fresh_for") is not None or asked.data.get("fresh_until") is not None
