"""Calls of tools that a model asked for and a person answers: what the agent libraries' adapters have in one.

A call is a pause of its run, by the call's own id and by the action that it is. Its grant is found again on the ledger
when the tool is called, by what it is really called with: neither a saved state nor a message history is believed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, TypeVar

from ledger.errors import LedgerError, NotFound
from ledger.runtimes.gate import Gate, Grant, Who
from ledger.runtimes.guard import Permit
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut

T = TypeVar("T")
KeyOf = Callable[[str, Any], str | None]
"""The idempotency key of a call, by the tool's name and its arguments."""

_PERMIT: ContextVar[Permit] = ContextVar("pauseledger_permit")


def permit() -> Permit:
    """Inside a guarded tool: its permission, with ``fence`` and ``idempotency_key``. Raises ``LookupError`` outside."""
    return _PERMIT.get()


@contextmanager
def permitted(given: Permit) -> Iterator[None]:
    """Where :func:`permit` gives that permission."""
    token = _PERMIT.set(given)
    try:
        yield
    finally:
        _PERMIT.reset(token)


class ToolCalls:
    """One run of an agent on one work item, as the ledger speaks of it. Thread-safe; made anew by every process.

    ``execution`` must be the same whenever the run is resumed, and another for every other run. Agents that run inside
    of this one speak as it. ``key`` gives calls an idempotency key, where the same call may be meant twice. ``terms``
    are members of ``pause.opened``: ``owner``, ``fresh_for`` …
    """

    runtime: ClassVar[str]

    def __init__(self, gate: Gate, *, subject: str, execution: str, key: KeyOf | None = None, **terms: Any) -> None:
        self.gate = gate
        self.subject = subject
        self.execution = execution
        self._key = key
        self._terms = terms

    def finished(self, *, outcome: str | None = None) -> None:
        """Say that the run has ended, so that another may take the work item. Raises ``Shut`` unless it is accepted."""
        self.gate.finish(Paused(self.subject, self.execution, ""), outcome=outcome)

    def action(self, name: str, arguments: Any) -> dict[str, Any]:
        """The pending action that a call is."""
        key = None if self._key is None else self._key(name, arguments)
        action = {"kind": "tool", "name": name, "arguments": arguments}
        return action if key is None else {**action, "idempotency_key": key}

    def pause_of(self, name: str, call_id: str, arguments: Any) -> Paused:
        """What a call is called on the ledger. Raises ``WrongUsage`` for one that can't be told."""
        action = self.action(name, arguments)
        return Paused.of(
            runtime=self.runtime, subject=self.subject, execution=self.execution, interrupt=call_id, action=action
        )

    def tell(self, pauses: Iterable[Paused], **terms: Any) -> None:
        """Tell of pauses; told again they count once."""
        for paused in pauses:
            self.gate.tell_pause(paused, **{**self._terms, **terms})

    def reviewed(self, paused: Paused, arguments: Mapping[str, Any] | None, *, who: Who, **fresh: Any) -> Grant:
        """Review a call, an edit where ``arguments`` are given, and ask for its grant. Raises ``Shut``."""
        edited = None if arguments is None else self.action(name_of(paused), dict(arguments))
        outcome = "approve" if edited is None else "edit"
        paused = self.gate.review(paused, outcome, edited=edited, who=who, **fresh)
        return self.gate.request_resume(paused, who=who)

    def asked(self, paused: Paused, *, who: Who) -> Grant:
        """Ask for the grant of a call as the ledger has it now, perhaps edited there. Raises ``Shut``."""
        action = packet_of(self.gate, paused)["pending_action"]
        return self.gate.request_resume(paused._replace(action=action), who=who)

    def grant_of(self, paused: Paused) -> Grant:
        """The grant with which this very call may be attempted now. Raises ``Shut`` where there is none."""
        packet = packet_of(self.gate, paused)
        if packet["state"] != "open" or packet["grant"] != "granted":
            raise self._not_granted(paused, packet)
        action = packet["pending_action"]
        if (action["kind"], action["name"]) != ("tool", name_of(paused)):
            raise Shut("refused", f"What was approved is no call of {name_of(paused)}.")
        return Grant(paused._replace(action=action), packet["fence"])

    def _not_granted(self, paused: Paused, packet: dict[str, Any]) -> Shut:
        if packet["state"] == "closed":
            return Shut("closed", f"The pause is closed: {packet['outcome']}.")
        decision = self.gate.decision(paused)
        if decision["decision"] == "resume":
            return Shut("refused", "Nobody has asked the ledger for this call.", decision=decision)
        return Shut(decision["decision"], decision["reason"], decision=decision)


async def bounded(gate: Gate, look: Callable[..., T], *args: Any) -> T:
    """Look at the ledger from async code, no longer than the gate waits for anything. Raises ``Shut``."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(look, *args), gate.deadline_seconds)
    except Shut:
        raise
    except (LedgerError, TimeoutError) as trouble:
        raise Shut("unknown", f"The ledger could not be read: {trouble or 'no answer in time'}") from trouble


def packet_of(gate: Gate, paused: Paused) -> dict[str, Any]:
    """The packet of a call's pause. Raises ``Shut`` where there is none: it was not told, or is another call."""
    try:
        return gate.packet(paused)
    except NotFound:
        raise Shut("refused", f"The ledger knows no pause of this call of {name_of(paused)} as it is.") from None


def name_of(paused: Paused) -> str:
    """The name of the tool that a pause's action calls."""
    return "nothing" if paused.action is None else str(paused.action["name"])


def parsed(arguments: Any) -> Any:
    """A call's arguments as JSON: none are an empty object; text that is no JSON stays text."""
    if not arguments:
        return {}
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
