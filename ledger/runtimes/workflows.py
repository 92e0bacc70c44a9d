"""What the adapters of workflow engines have in one: how a pause ends, how it is kept, and by what a step may act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ledger.runtimes.gate import Gate, Grant
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut

ENDS = ("settle", "terminate", "closed")
"""What the ledger may say after which there is nothing left to wait for."""


class Ended(NamedTuple):
    """How a pause ended. Plain data: it may be returned from a workflow."""

    branch: str
    """``executed``; else why nothing was done: ``settle``, ``terminate``, ``closed``, ``timeout``."""
    result: Any = None
    """What the effect returned."""
    reason: str = ""


def kept(paused: Paused) -> dict[str, Any]:
    """A pause as an engine keeps it: plain data, no class of ours in it."""
    action = None if paused.action is None else dict(paused.action)
    return paused._asdict() | {"action": action}


def paused_from(data: Mapping[str, Any]) -> Paused:
    """The inverse of :func:`kept`."""
    return Paused(*(data[field] for field in Paused._fields))


def granted(gate: Gate, paused: Paused, fence: int | None) -> Grant:
    """The grant with its action as the ledger has them. Raises ``Shut`` where this fence, if any, is not the open one.

    The error's branch is the decision, so one of ``ENDS`` where nothing is left to wait for.
    """
    grant = gate.outstanding(paused)
    if grant is not None and grant.fence == fence:
        return grant
    decision = gate.decision(paused)
    branch = "refused" if decision["decision"] == "resume" else str(decision["decision"])
    raise Shut(branch, decision["reason"], decision=decision)
