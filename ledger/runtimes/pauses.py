"""What a runtime's interruption is called on the ledger: a work item, an execution, a pause, an action.

The names are made of the runtime's own ids and of nothing else, so that a process that starts again, or a runtime that
runs a node again, speaks of the same pause.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from ledger.actions import IDENTIFIER_LENGTH, action_digest, canonical, is_identifier
from ledger.errors import WrongUsage

_SHOWN = 64
"""So much of an interrupt's own id stays readable in the id of its pause."""


def execution_id(run: str, generation: str | int | None = None) -> str:
    """The id of an execution: a run's own id, and a generation where that id lives for ever, as a chat thread's does.

    Sub-agents give their root's id. An id that is too long is cut, and told apart by a digest.
    """
    whole = run if generation is None else f"{run}#{generation}"
    if not whole:
        raise WrongUsage("An execution needs an id.", "Give the runtime's own id of the run.")
    if len(whole) <= IDENTIFIER_LENGTH:
        return whole
    return f"{whole[: IDENTIFIER_LENGTH - 33]}#{_short(whole)}"


def pause_id(runtime: str, execution: str, checkpoint: str, interrupt: str, digest: str | None) -> str:
    """The id of a pause, made of all that tells one interruption from another.

    ``checkpoint`` is where the run stands while it waits, or empty where a runtime has none; ``digest`` is that of the
    pending action, so that parallel interrupts, batched actions and an interrupt id used again are pauses of their own.
    """
    return f"{interrupt[:_SHOWN]}.{_short([runtime, execution, checkpoint, interrupt, digest])}"


def _short(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()[:32]


class Paused(NamedTuple):
    """One pause as a gate speaks of it. Plain data: it may be kept beside a checkpoint, and made again from it."""

    subject: str
    """The work item: what must not be worked on twice."""
    execution: str
    pause: str
    action: Mapping[str, Any] | None = None
    """The pending action (protocol, section 4): ``kind``, ``name``, ``target``, ``arguments``, ``idempotency_key``."""

    @classmethod
    def of(
        cls,
        *,
        runtime: str,
        subject: str,
        execution: str,
        interrupt: str,
        checkpoint: str = "",
        action: Mapping[str, Any] | None = None,
    ) -> Self:
        """The pause of an interruption, by the runtime's own ids. Raises ``WrongUsage`` for names that can't be."""
        for name, value in (("subject", subject), ("execution", execution)):
            if not is_identifier(value):
                raise WrongUsage(f"{name} must have 1 to {IDENTIFIER_LENGTH} characters.", "Give another.")
        digest = _digest(action)
        return cls(subject, execution, pause_id(runtime, execution, checkpoint, interrupt, digest), action)

    @property
    def action_digest(self) -> str | None:
        """The digest of the action; null where there is none."""
        return _digest(self.action)


def _digest(action: Mapping[str, Any] | None) -> str | None:
    if action is None:
        return None
    try:
        return action_digest(action)
    except ValueError as error:
        raise WrongUsage(f"The pending action {error}.", "Write large numbers as strings.") from None
