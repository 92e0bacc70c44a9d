"""An agent of Pydantic AI with one guarded tool, for the adapter's tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, FunctionToolset
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.pydantic_ai import LedgerRun, permit, waiting

ANNA = Who("user:anna")
TERMS: dict[str, Any] = {
    "owner": "user:anna",
    "requires_review": True,
    "fresh_for": timedelta(hours=1),
    "side_effect": "not_happened",
}


class Refunds:
    """An agent with one guarded tool, as each process makes it anew; ``done`` is the world."""

    def __init__(self, gate: Gate, *, more: list[AbstractCapability[Any]] | None = None, **run: Any) -> None:
        named = {"subject": "T-1", "execution": "chat-1#1", **TERMS, **run}
        self.run = LedgerRun(gate, **named)
        self.done: list[float] = []
        self.error: Exception | None = None
        self.calls: list[tuple[str, Any]] = [("c-1", {"amount": 20})]
        self.tools: FunctionToolset[Any] = FunctionToolset([self.refund])
        self.more = more or []

    def refund(self, amount: float, currency: str = "EUR") -> str:
        """Refund."""
        assert permit().fence is not None
        self.done.append(amount)
        if self.error is not None:
            raise self.error
        return f"refunded {amount} {currency}"

    def answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            return ModelResponse(parts=[ToolCallPart("refund", args, tool_call_id=id) for id, args in self.calls])
        return ModelResponse(parts=[TextPart("done")])

    @property
    def agent(self) -> Agent[None, Any]:
        return Agent(
            FunctionModel(self.answer),
            output_type=[str, DeferredToolRequests],
            toolsets=[self.run.guarded(self.tools)],
            capabilities=[self.run.capability(), *self.more],
        )

    def start(self, *calls: tuple[str, Any]) -> bytes:
        """Run until it waits; the saved history."""
        self.calls = list(calls) or self.calls
        return self.agent.run_sync("please", conversation_id="chat-1").all_messages_json()

    def go(self, saved: bytes, results: DeferredToolResults) -> Any:
        history = ModelMessagesTypeAdapter.validate_json(saved)
        return self.agent.run_sync(message_history=history, deferred_tool_results=results)

    def pauses(self) -> list[dict[str, Any]]:
        return list(self.run.gate.work_item(self.run.subject)["pauses"])


def waiting_in(saved: bytes) -> list[ToolCallPart]:
    return waiting(ModelMessagesTypeAdapter.validate_json(saved))


def approved(refunds: Refunds, saved: bytes, **more: Any) -> DeferredToolResults:
    results = DeferredToolResults()
    refunds.run.approve(results, waiting_in(saved)[0], who=ANNA, **more)
    return results
