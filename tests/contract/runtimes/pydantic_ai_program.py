"""Pydantic AI: an agent with one tool that needs approval; its message history waits in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, FunctionToolset, ToolApproved, ToolDenied
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.pydantic_ai import LedgerRun, permit, waiting
from ledger.runtimes.shut import Shut
from tests.contract.runtimes.program import serve
from tests.contract.runtimes.scene import AMOUNT, SUBJECT, Approval, Scene


def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """The model: it asks for the refund once, and then says that it is done."""
    if len(messages) == 1:
        return ModelResponse(parts=[ToolCallPart("refund", {"amount": AMOUNT}, tool_call_id="call-1")])
    return ModelResponse(parts=[TextPart("It is refunded.")])


class PydanticAI:
    """The agent: its model is a function, all else is the library's own."""

    def start(self, scene: Scene) -> Any:
        if not scene.wired:
            return self._begin(scene, self._bare(scene))
        with scene.gate() as gate:
            return self._begin(scene, self._wired(scene, self._run(scene, gate)))

    def resume(self, scene: Scene, approval: Approval) -> Any:
        history = ModelMessagesTypeAdapter.validate_json(saved(scene).read_bytes())
        (call,) = waiting(history)
        arguments = None if approval.amount is None else {"amount": approval.amount}
        results = DeferredToolResults()
        if not scene.wired:
            denied = approval.outcome == "reject"
            results.approvals[call.tool_call_id] = ToolDenied() if denied else ToolApproved(override_args=arguments)
            return self._go_on(self._bare(scene), history, results)
        with scene.gate() as gate:
            run, who = self._run(scene, gate), Who(approval.actor)
            try:
                if approval.outcome == "reject":
                    run.reject(results, call, who=who)
                else:
                    run.approve(results, call, who=who, arguments=arguments)
                return self._go_on(self._wired(scene, run), history, results)
            except Shut as shut:
                return {"shut": shut.branch}

    def recover(self, scene: Scene) -> Any:
        return self.resume(scene, Approval())

    def _run(self, scene: Scene, gate: Gate) -> LedgerRun:
        return LedgerRun(
            gate,
            subject=SUBJECT,
            execution="conversation-7#1",
            **scene.terms,
        )

    def _wired(self, scene: Scene, run: LedgerRun) -> Agent[None, Any]:
        def refund(amount: int) -> str:
            """Refund an order."""
            return f"row {scene.effect(amount, permit())}"

        tools = run.guarded(FunctionToolset([refund]))
        return Agent(
            FunctionModel(answer),
            output_type=[str, DeferredToolRequests],
            toolsets=[tools],
            capabilities=[run.capability()],
        )

    def _bare(self, scene: Scene) -> Agent[None, Any]:
        agent: Agent[None, Any] = Agent(FunctionModel(answer), output_type=[str, DeferredToolRequests])

        @agent.tool_plain(requires_approval=True)
        def refund(amount: int) -> str:
            """Refund an order."""
            return f"row {scene.effect(amount)}"

        return agent

    def _begin(self, scene: Scene, agent: Agent[None, Any]) -> Any:
        result = agent.run_sync("Please refund my order.", conversation_id="conversation-7")
        saved(scene).write_bytes(result.all_messages_json())
        return None

    def _go_on(self, agent: Agent[None, Any], history: list[ModelMessage], results: DeferredToolResults) -> Any:
        return agent.run_sync(message_history=history, deferred_tool_results=results).output


def saved(scene: Scene) -> Path:
    return scene.folder / "messages.json"


if __name__ == "__main__":
    serve(PydanticAI())
