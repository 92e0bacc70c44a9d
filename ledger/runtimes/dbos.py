"""DBOS: a workflow that waits for a person with ``recv``, and acts in a step.

1. The pause is told in a step of its own, and shown to people as a workflow event.
2. An answer goes to the ledger first; only what the ledger granted is sent on. A message wakes, and permits nothing:
   it names a fence, and the step that acts asks the ledger what was granted. So a message that comes late, twice, from
   a stranger or to another pause does nothing.
3. The effect is one step, in the guard. When it is run again after a crash it finds its fence used, and waits for
   whoever looks what became of it.

Workflow code stays deterministic: the ledger is touched in steps alone, and what they found is kept by DBOS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

from ledger.errors import LedgerError, NotFound, WrongUsage
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate, Grant, Who
from ledger.runtimes.guard import Permit, finished
from ledger.runtimes.pauses import Paused, execution_id
from ledger.runtimes.shut import Shut
from ledger.runtimes.workflows import ENDS, Ended, granted, kept, paused_from

with needs("dbos"):
    from dbos import DBOS, DBOSClient

NAME = "dbos"


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

        The execution is the workflow's id; a child workflow gives its root's. A fork is another execution.
        """
        workflow = _workflow()
        told = DBOS.run_step(
            {"name": "pauseledger.pause"}, self._pause, name, dict(action), subject, execution or workflow, terms
        )
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

        ``permit.action`` is what was approved: do that. Each answer is waited for ``timeout_seconds``. While the ledger
        says review or reconcile it goes on waiting: for the one who reviews, or looks what became of the effect. An
        error of the effect is told, and raised; ``proof`` as of :meth:`Gate.guard`.
        """
        while True:
            told = DBOS.recv(paused.pause, timeout_seconds)
            if told is None:
                return Ended("timeout", reason="Nobody answered in time.")
            if "fence" not in told:
                return Ended(told["branch"], reason=told["reason"])
            found = DBOS.run_step({"name": "pauseledger.act"}, self._act, paused, told["fence"], effect, proof)
            if "result" in found:
                return Ended("executed", found["result"])
            if found["branch"] in ENDS:
                return Ended(found["branch"], reason=found["reason"])
            DBOS.set_event(_key(name), kept(paused) | {"shut": found})

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
        wait for (``settle``, ``terminate``, ``closed``) the workflow is told to end without acting.
        """
        try:
            paused = self.gate.review(seen, outcome, edited=edited, fresh_for=fresh_for, who=who)
            if outcome == "reject":
                _send(runtime, workflow_id, paused, {"branch": "closed", "reason": "It was rejected."})
                return None
            grant = self.gate.request_resume(paused, who=who)
        except Shut as shut:
            if shut.branch in ENDS:
                _send(runtime, workflow_id, seen, {"branch": shut.branch, "reason": shut.reason})
            raise
        _send(runtime, workflow_id, paused, {"fence": grant.fence})
        return grant

    def wake(self, runtime: Runtime, workflow_id: str, paused: Paused) -> bool:
        """Send once more what was granted and not used: the approver died before it was sent. Whether there is any."""
        grant = self.gate.outstanding(paused)
        if grant is not None:
            _send(runtime, workflow_id, paused, {"fence": grant.fence})
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
        self.gate.pause(paused, **terms)
        return kept(paused)

    def _act(
        self, paused: Paused, fence: int, effect: Callable[[Permit], Any], proof: tuple[type[BaseException], ...]
    ) -> dict[str, Any]:
        with ExitStack() as stack:
            try:
                grant = granted(self.gate, paused, fence)
                permit = stack.enter_context(self.gate.guard(grant, proof=proof))
            except Shut as shut:
                return {"branch": shut.branch, "reason": shut.reason}
            except LedgerError as error:  # the ledger can't be asked
                return {"branch": "unknown", "reason": str(error)}
            return {"result": finished(effect(permit))}


def _workflow() -> str:
    workflow = DBOS.workflow_id
    if workflow is None:
        raise WrongUsage("A pause is told of in a workflow.", "Call it from a function under @DBOS.workflow().")
    return str(workflow)


def _key(name: str) -> str:
    return f"pauseledger/{name}"


def _send(runtime: Runtime, workflow_id: str, paused: Paused, message: dict[str, Any]) -> None:
    """Each pause is a topic: what comes late for one is never taken for an answer to the next."""
    once = f"{paused.pause}/{message['fence']}" if "fence" in message else None
    runtime.send(workflow_id, message, paused.pause, idempotency_key=once)
