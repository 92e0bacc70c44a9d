"""An agent of the OpenAI Agents SDK for the tests: it refunds, into a list that the SDK knows nothing of."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("agents")

from agents import Agent, RunConfig, Runner, RunState, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.openai_agents import LedgerRun, permit

set_tracing_disabled(True)  # of nested runs, too: it exports over the network
ANNA = Who("user:anna")
OFFLINE = RunConfig(tracing_disabled=True)
DONE = [assistant_message("done")]


class Refunds:
    """An agent with one guarded tool, as each process makes it anew; ``done`` is the world."""

    def __init__(self, gate: Gate, *, execution: str = "session-1#1", subject: str = "T-1", **more: Any) -> None:
        terms: dict[str, Any] = {
            "owner": "user:anna",
            "requires_review": True,
            "fresh_for": timedelta(hours=1),
            "side_effect": "not_happened",
        }
        self.run = LedgerRun(gate, subject=subject, execution=execution, **terms, **more)
        self.done: list[int] = []
        self.error: Exception | None = None
        self.model = ScriptedModel()
        self.agent: Agent[Any] = Agent(name="refunds", model=self.model, tools=[self.run.tool(self.refund)])

    def refund(self, amount: int) -> str:
        """Refund."""
        assert permit().fence is not None
        self.done.append(amount)
        if self.error is not None:
            raise self.error
        return f"refunded {amount}"

    def start(self, *calls: tuple[str, int]) -> str:
        """Run to the interruptions, and tell the ledger of them; the saved state."""
        saved = self.paused_state(*calls or [("c-1", 20)])
        self.run.opened(self.state(saved).get_interruptions())
        return saved

    def paused_state(self, *calls: tuple[str, int]) -> str:
        asked = [function_call("refund", {"amount": amount}, call_id=id) for id, amount in calls]
        return str(self.go("please", asked).to_state().to_string())

    def state(self, saved: str) -> RunState[Any, Any]:
        return asyncio.run(RunState.from_string(self.agent, saved))

    def go(self, what: Any, *answers: Any) -> Any:
        self.model.extend(answers or [DONE])
        return asyncio.run(Runner.run(self.agent, what, run_config=OFFLINE))

    def output(self) -> str:
        """What the model was told of its call."""
        assert self.model.last_call is not None
        return str(self.model.last_call.input[-1]["output"])  # type: ignore[index, typeddict-item]

    def pauses(self) -> list[dict[str, Any]]:
        return list(self.run.gate.work_item(self.run.subject)["pauses"])
