"""The effect in a node of a wired graph: done inside the guard, adopted where it was done before, else not at all."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from ledger.actions import action_digest
from ledger.errors import LedgerError, NotFound, WrongUsage
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate, Grant, Who
from ledger.runtimes.guard import Permit, eager, finished
from ledger.runtimes.langgraph_settings import action_of
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut

with needs("langgraph"):
    from langgraph.config import get_config

KEY = "__pauseledger"
"""Where a run lies in the config that its nodes see. LangGraph writes no key with two underscores anywhere."""
T = TypeVar("T")
Proof = tuple[type[BaseException], ...]


class Settled(NamedTuple):
    """What ``guarded`` returns instead of acting: the effect has landed before. Go on as after it."""

    paused: Paused
    packet: dict[str, Any]


class Run:
    """One call of a wired graph: on whose behalf, and what it was granted. Its nodes may run in parallel.

    A node in a thread outlives a call that is cancelled. Once the call is over, nothing is asked for in its name.
    """

    def __init__(self, gate: Gate, who: Who) -> None:
        self.gate = gate
        self.who = who
        self.subject: str | None = None
        self.execution: str | None = None
        self.answered: list[Paused] = []
        self.grants: dict[str, Grant] = {}
        self.over = False
        self._lock = threading.Lock()

    def paused_for(self, action: Mapping[str, Any]) -> Paused:
        """The pause at which this action was decided on. Raises ``Shut`` where it was of no pause of this run."""
        digest = action_digest(action)
        with self._lock:
            same = [one for one in self.answered if one.action_digest == digest]
        found = same[0] if same else self._on_the_ledger(digest)
        if found is None:
            raise Shut("refused", "Nobody was asked about this action at a pause of this run.")
        return found

    def _on_the_ledger(self, digest: str) -> Paused | None:
        """A pause that was answered in an earlier call: the process may have died since. An open one before others."""
        if self.subject is None or self.execution is None:
            return None
        with suppress(NotFound):
            pauses = [one for one in self.gate.work_item(self.subject)["pauses"] if one["execution"] == self.execution]
            for one in sorted(pauses, key=lambda one: bool(one["state"] != "open")):
                paused = Paused(self.subject, self.execution, one["pause"])
                packet = self.gate.packet(paused)
                if packet["action_digest"] == digest:
                    return paused._replace(action=packet["pending_action"])
        return None

    def grant(self, paused: Paused) -> Grant:
        """The grant to act with. Raises ``Shut`` where there is none, and none is given to whom this run is for."""
        with self._lock:
            if self.over:
                raise _over()
            grant = self.grants.get(paused.pause)
        return grant or self.gate.outstanding(paused) or self._asked(paused)

    def _asked(self, paused: Paused) -> Grant:
        grant = self.gate.request_resume(paused, who=self.who)
        with self._lock:
            if not self.over:
                self.grants[paused.pause] = grant  # to be given back unless it is used
                return grant
        self._void(grant)  # the run came to its end while it was asked for
        raise _over()

    def used(self, paused: Paused) -> None:
        """Its grant has been attempted with: what becomes of it is the guard's to tell."""
        with self._lock:
            self.grants.pop(paused.pause, None)

    def give_back(self) -> None:
        """End the run, and void the grants that no node has used: what they were for has not happened, and can't now.

        It is over, also where the ledger can't be told.
        """
        with self._lock:
            self.over = True
            grants = [*self.grants.values()]
            self.grants.clear()
        for grant in grants:
            self._void(grant)

    def _void(self, grant: Grant) -> None:
        packet = self.gate.packet(grant.paused)
        if (packet["grant"], packet["fence"]) == ("granted", grant.fence):
            reason, by = "The run came to no effect.", packet["side_effect_by"]
            self.gate.observe(grant.paused, "not_happened", settles=by, evidence=reason)

    def settled(self, paused: Paused, shut: Shut) -> Settled:
        """Adopt an effect that has landed. Raises the error itself where it has not."""
        if not has_landed(self.gate, paused, shut):
            raise shut
        if self.gate.packet(paused)["state"] == "open":
            with suppress(Shut):
                self.gate.close(paused, "settled")
        return Settled(paused, self.gate.packet(paused))


def _over() -> Shut:
    return Shut("refused", "The call that this node ran in is over, or was cancelled: nothing is done in its name.")


def has_landed(gate: Gate, paused: Paused, shut: Shut) -> bool:
    """Whether the gate stayed shut because the effect was done before."""
    decision = shut.branch if shut.decision is None else shut.decision["decision"]
    if decision == "settle":
        return True
    return bool(decision == "closed" and gate.packet(paused)["side_effect"] == "happened")


@contextmanager
def unread() -> Iterator[None]:
    """What can't be read permits nothing: it is ``Shut``, as what can't be published is."""
    try:
        yield
    except (Shut, WrongUsage):
        raise
    except LedgerError as error:
        raise Shut("unknown", f"The ledger could not be read: {error}") from error


def run_of() -> Run:
    """The run that this node is in. Raises ``Shut`` where somebody runs the graph past its wiring."""
    run = get_config().get("configurable", {}).get(KEY)
    if not isinstance(run, Run):
        raise Shut("refused", "This graph is not run through wire(): nobody asked the ledger.")
    return run


def guarded(action: Mapping[str, Any], act: Callable[[Permit], T], *, proof: Proof = ()) -> T | Settled:
    """Do an approved action: ``act`` is called inside the guard, once and only now; what it returns.

    ``action`` is what is done, as the interrupt's value said it, or as it was edited: of any other it stays shut.
    ``proof`` are the errors that prove that nothing happened. Where it was done before, ``Settled`` is returned and
    nothing is done. Raises ``Shut`` where it may not be done now, ``WrongUsage`` for an ``act`` that does not act when
    it is called: ``aguarded`` takes the async ones.
    """
    eager(act)
    if inspect.iscoroutinefunction(act):
        raise WrongUsage("An async act does nothing when it is called.", "Use aguarded, in an async node.")
    run = run_of()
    with ExitStack() as stack:
        with unread():
            paused = run.paused_for(action_of(action))
            try:
                permit = stack.enter_context(run.gate.guard(run.grant(paused), proof=proof))
            except Shut as shut:
                return run.settled(paused, shut)
        run.used(paused)
        return finished(act(permit))


async def aguarded(
    action: Mapping[str, Any], act: Callable[[Permit], Awaitable[T]], *, proof: Proof = ()
) -> T | Settled:
    """See :func:`guarded`."""
    eager(act)
    run = run_of()
    async with AsyncExitStack() as stack:
        with unread():
            paused = await asyncio.to_thread(run.paused_for, action_of(action))
            try:
                grant = await asyncio.to_thread(run.grant, paused)
                permit = await stack.enter_async_context(run.gate.guard(grant, proof=proof))
            except Shut as shut:
                return await asyncio.to_thread(run.settled, paused, shut)
        run.used(paused)
        return finished(await act(permit))
