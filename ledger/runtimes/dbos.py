"""DBOS: a workflow that waits for a person with ``recv``, and acts in a step.

1. The pause is told in a step of its own, and shown to people as a workflow event.
2. An answer goes to the ledger first, and then to the workflow. A message wakes, and neither permits nor ends
   anything: it names a fence, and the step that acts asks the ledger what was granted, or whether it is over. So a
   message that comes late, twice, from a stranger or to another pause does nothing, and costs no time to wait.
3. The effect is one step, in the guard. When it is run again after a crash it finds its fence used, and waits for
   whoever looks what became of it.

Workflow code stays deterministic: the ledger is touched in steps alone, and what they found is kept by DBOS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.errors import LedgerError, NotFound, WrongUsage
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate, Grant, Who
from ledger.runtimes.guard import Permit, eager, finished
from ledger.runtimes.pauses import Paused, execution_id
from ledger.runtimes.shut import Shut
from ledger.runtimes.workflows import ENDS, Ended, granted, kept, paused_from

with needs("dbos"):
    from dbos import DBOS, DBOSClient

NAME = "dbos"
_EARLY_SECONDS = 0.05
"""DBOS may end a wait by so much before this clock says so."""


Runtime = type[DBOS] | DBOSClient
"""Who sends: the class ``DBOS`` where it is launched, or a client elsewhere."""


class DurableGate:
    """A gate for the workflows of one process: make it before ``DBOS.launch()``, which runs what was pending."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    # -- in a workflow ------------------------------------------------------------------------------

    def pause(
        self, name: str, action: Mapping[str, Any], *, subject: str, execution: str | None = None, **terms: Any
    ) -> Paused:
        """Tell of a pause before ``action``, and show it to people. ``terms`` are as of :meth:`Gate.pause`.

        The execution is the workflow's id; a child workflow gives its root's. A fork is another execution. Deadlines
        count from when the workflow first came here, however often the telling is tried.
        """
        execution = execution or _workflow()
        terms = {"time": datetime.fromtimestamp(DBOS.run_step({"name": "pauseledger.time"}, time.time), UTC), **terms}
        told = DBOS.run_step({"name": "pauseledger.pause"}, self._pause, name, dict(action), subject, execution, terms)
        DBOS.set_event(_key(name), told | {"shut": None})
        return paused_from(told)

    def perform(
        self,
        paused: Paused,
        effect: Callable[[Permit], Any],
        *,
        name: str,
        timeout_seconds: float,
        proof: tuple[type[BaseException], ...] = (),
    ) -> Ended:
        """Wait for answers until one opens the gate, and do ``effect(permit)`` in a step: at most once.

        ``permit.action`` is what was approved: do that. It waits for ``timeout_seconds``, and so long again after each
        grant that did not lead to the act: while the ledger says review or reconcile it goes on waiting, for the one
        who reviews, or looks what became of the effect. An error of the effect is told, and raised; ``proof`` as of
        :meth:`Gate.guard`. Raises ``WrongUsage`` for a generator function.
        """
        eager(effect)
        until, counted = _until(timeout_seconds), None
        while True:
            told = DBOS.recv(paused.pause, max(0.0, until - time.time()))  # where it waited before, DBOS knows how long
            if told is None and DBOS.run_step({"name": "pauseledger.late"}, _is_late, until):
                return Ended("timeout", reason="Nobody answered in time.")
            fence = _fence(told)
            found = DBOS.run_step({"name": "pauseledger.act"}, self._act, paused, fence, effect, proof)
            if "result" in found:
                return Ended("executed", found["result"])
            if found["branch"] in ENDS:
                return Ended(found["branch"], reason=found["reason"])
            DBOS.set_event(_key(name), kept(paused) | {"shut": found})
            if found["granted"] and fence != counted:
                until, counted = _until(timeout_seconds), fence

    # -- outside ------------------------------------------------------------------------------------

    def waiting(self, runtime: Runtime, workflow_id: str, name: str, *, timeout_seconds: float = 10.0) -> Paused:
        """The pause that a workflow is at, its action as it is on the ledger now (an edit may have changed it).

        Raises ``NotFound`` where the workflow shows none in time.
        """
        shown = runtime.get_event(workflow_id, _key(name), timeout_seconds)
        if shown is None:
            raise NotFound(f"The workflow {workflow_id} shows no pause {name}.", "See that it runs.")
        paused = paused_from(shown)
        with suppress(LedgerError):  # a ledger that can't be asked says so when it is answered
            paused = paused._replace(action=self.gate.packet(paused)["pending_action"])
        return paused

    def answer(
        self,
        runtime: Runtime,
        workflow_id: str,
        seen: Paused,
        outcome: str = "approve",
        *,
        edited: Mapping[str, Any] | None = None,
        fresh_for: timedelta | None = None,
        who: Who | None = None,
    ) -> Grant | None:
        """A person's ``approve``, ``edit`` or ``reject`` of the pause as he has seen it; null for a reject.

        The ledger decides first. Raises ``Shut`` unless it grants: nothing is sent then, but where nothing is left to
        wait for (``settle``, ``terminate``, ``closed``) the workflow is woken, to see that for itself and end.
        """
        try:
            paused = self.gate.review(seen, outcome, edited=edited, fresh_for=fresh_for, who=who)
            if outcome == "reject":
                _send(runtime, workflow_id, paused)
                return None
            grant = self.gate.request_resume(paused, who=who)
        except Shut as shut:
            if shut.branch in ENDS:
                _send(runtime, workflow_id, seen)
            raise
        _send(runtime, workflow_id, paused, grant.fence)
        return grant

    def wake(self, runtime: Runtime, workflow_id: str, paused: Paused) -> bool:
        """Send once more what was granted and not used; whether there is any.

        For when the approver died before it was sent, or the ledger was away when the workflow asked. A workflow whose
        pause is over is woken, too: it sees that, and ends.
        """
        grant = self.gate.outstanding(paused)
        _send(runtime, workflow_id, paused, None if grant is None else grant.fence)
        return grant is not None

    # -- steps --------------------------------------------------------------------------------------

    def _pause(
        self, name: str, action: dict[str, Any], subject: str, execution: str, terms: dict[str, Any]
    ) -> dict[str, Any]:
        paused = Paused.of(
            runtime=NAME,
            subject=subject,
            execution=execution_id(execution),
            checkpoint=f"{DBOS.workflow_id}/{DBOS.step_id}",  # a loop comes here again, and a replay does not
            interrupt=name,
            action=action,
        )
        self.gate.tell_pause(paused, **terms)
        return kept(paused)

    def _act(
        self, paused: Paused, fence: int | None, effect: Callable[[Permit], Any], proof: tuple[type[BaseException], ...]
    ) -> dict[str, Any]:
        with ExitStack() as stack:
            try:
                grant = granted(self.gate, paused, fence)
                permit = stack.enter_context(self.gate.guard(grant, proof=proof))
            except Shut as shut:
                known = fence is not None and shut.decision is not None and shut.decision["fence"] == fence
                return {"branch": shut.branch, "reason": shut.reason, "granted": known}
            except LedgerError as error:  # the ledger can't be asked
                return {"branch": "unknown", "reason": str(error), "granted": False}
            return {"result": finished(effect(permit))}


def _workflow() -> str:
    workflow = DBOS.workflow_id
    if workflow is None:
        raise WrongUsage("A pause is told of in a workflow.", "Call it from a function under @DBOS.workflow().")
    return str(workflow)


def _key(name: str) -> str:
    return f"pauseledger/{name}"


def _send(runtime: Runtime, workflow_id: str, paused: Paused, fence: int | None = None) -> None:
    """Each pause is a topic: what comes late for one is never taken for an answer to the next.

    Without an idempotency key: anybody could use it up before, and what the workflow could not use is sent again.
    """
    runtime.send(workflow_id, {"fence": fence}, paused.pause)


def _fence(message: Any) -> int | None:
    """The fence that a message names; anybody may have written it."""
    fence = message.get("fence") if isinstance(message, Mapping) else None
    return fence if type(fence) is int else None


def _until(seconds: float) -> float:
    until: float = DBOS.run_step({"name": "pauseledger.until"}, lambda: time.time() + seconds)
    return until


def _is_late(until: float) -> bool:
    """Whether the wait is over: nothing that is received is also what a stranger has sent."""
    return time.time() >= until - _EARLY_SECONDS
