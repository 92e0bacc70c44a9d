"""The OpenAI Agents SDK: an agent with one tool that needs approval; its ``RunState`` waits in a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agents import Agent, RunConfig, Runner, RunState, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.openai_agents import LedgerRun, permit
from ledger.runtimes.shut import Shut
from tests.contract.runtimes.program import serve
from tests.contract.runtimes.scene import AMOUNT, SUBJECT, Approval, Scene

set_tracing_disabled(True)  # it exports over the network
OFFLINE = RunConfig(tracing_disabled=True)
DONE = [assistant_message("It is refunded.")]


def call(amount: int, number: int = 1) -> list[Any]:
    """What the model answers: a call of the tool."""
    return [function_call("refund", {"amount": amount}, call_id=f"call-{number}")]


class OpenAIAgents:
    """The agent: its model is scripted, all else is the SDK's own."""

    def start(self, scene: Scene) -> Any:
        if not scene.wired:
            asyncio.run(self._begin(scene, self._bare(scene)))
            return None
        with scene.gate() as gate:
            run = self._run(scene, gate)
            run.opened(asyncio.run(self._begin(scene, self._tool(scene, run))))
        return None

    def resume(self, scene: Scene, approval: Approval) -> Any:
        if not scene.wired:
            return asyncio.run(self._resume_bare(scene, approval))
        with scene.gate() as gate:
            run = self._run(scene, gate)
            try:
                return asyncio.run(self._resume(scene, run, approval))
            except Shut as shut:
                return {"shut": shut.branch}

    def recover(self, scene: Scene) -> Any:
        return self.resume(scene, Approval())

    # -- with the ledger ----------------------------------------------------------------------------

    def _run(self, scene: Scene, gate: Gate) -> LedgerRun:
        return LedgerRun(
            gate,
            subject=SUBJECT,
            execution="session-7#1",
            **scene.terms,
        )

    def _tool(self, scene: Scene, run: LedgerRun) -> Any:
        def refund(amount: int) -> str:
            """Refund an order."""
            return f"row {scene.effect(amount, permit())}"

        return run.tool(refund)

    async def _resume(self, scene: Scene, run: LedgerRun, approval: Approval) -> Any:
        agent = agent_of(self._tool(scene, run), DONE)
        state = await RunState.from_string(agent, saved(scene).read_text())
        (item,) = state.get_interruptions()
        who = Who(approval.actor)
        if approval.outcome == "reject":
            run.reject(state, item, who=who, message="A person said no.")
        else:
            arguments = {"amount": approval.amount} if approval.outcome == "edit" else None
            run.approve(state, item, who=who, arguments=arguments)
        return (await Runner.run(agent, state, run_config=OFFLINE)).final_output

    # -- as the SDK's manual says ---------------------------------------------------------------------

    def _bare(self, scene: Scene) -> Any:
        @function_tool(needs_approval=True)
        def refund(amount: int) -> str:
            """Refund an order."""
            return f"row {scene.effect(amount)}"

        return refund

    async def _resume_bare(self, scene: Scene, approval: Approval) -> Any:
        """An edit, which the SDK has none of: a rejection that says what is wanted, and an approval of the new call."""
        edited = [call(approval.amount, 2)] if approval.amount is not None else []
        agent = agent_of(self._bare(scene), *edited, DONE)
        state = await RunState.from_string(agent, saved(scene).read_text())
        (item,) = state.get_interruptions()
        if approval.outcome == "approve":
            state.approve(item)
        else:
            message = "A person said no." if not edited else f"Refund {approval.amount} instead."
            state.reject(item, rejection_message=message)
        result = await Runner.run(agent, state, run_config=OFFLINE)
        if result.interruptions:
            state = result.to_state()
            state.approve(result.interruptions[0])
            result = await Runner.run(agent, state, run_config=OFFLINE)
        return result.final_output

    # -- both -----------------------------------------------------------------------------------------

    async def _begin(self, scene: Scene, tool: Any) -> Any:
        result = await Runner.run(agent_of(tool, call(AMOUNT)), "Please refund my order.", run_config=OFFLINE)
        saved(scene).write_text(result.to_state().to_string())
        return result.interruptions


def agent_of(tool: Any, *answers: list[Any]) -> Agent[Any]:
    return Agent(name="refunds", model=ScriptedModel(answers), tools=[tool])


def saved(scene: Scene) -> Path:
    return scene.folder / "state.json"


if __name__ == "__main__":
    serve(OpenAIAgents())
