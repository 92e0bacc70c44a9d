"""An agent of Pydantic AI, with the ledger: it asks for a refund, a person approves less, and it refunds once."""

from datetime import timedelta
from pathlib import Path

from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, FunctionToolset
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from consumers.gates import open_gate
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.pauses import execution_id
from ledger.runtimes.pydantic_ai import LedgerRun, permit, waiting
from ledger.runtimes.shut import Shut

refunds = []


def refund(order: str, amount: int) -> str:
    """Refund an order."""
    refunds.append((order, amount, permit().idempotency_key))  # the call of the payment provider
    return f"receipt-{len(refunds)}"


def scripted(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:  # in place of this, your model
    if len(messages) == 1:
        return ModelResponse(parts=[ToolCallPart("refund", {"order": "ORDER-8", "amount": 20}, tool_call_id="call-1")])
    return ModelResponse(parts=[TextPart("You have your money back.")])


def run_on(gate: Gate) -> LedgerRun:
    return LedgerRun(
        gate,
        subject="ORDER-8",
        execution=execution_id("chat-42", 1),  # the chat lives for ever: 1 is its first run
        key=lambda tool, arguments: f"{arguments['order']}-{tool}",
        owner="user:anna",
        requires_review=True,
        fresh_for=timedelta(minutes=15),
        reconcile_within=timedelta(hours=1),
        side_effect="not_happened",
    )


def agent_of(run: LedgerRun) -> Agent:
    return Agent(
        FunctionModel(scripted),
        output_type=[str, DeferredToolRequests],
        toolsets=[run.guarded(FunctionToolset([refund]))],
        capabilities=[run.capability()],
    )


def ask(gate: Gate) -> None:
    result = agent_of(run_on(gate)).run_sync("Refund my order, please.", conversation_id="chat-42")
    Path("messages.json").write_bytes(result.all_messages_json())


def answer(gate: Gate, who: Who) -> str:
    run = run_on(gate)
    history = ModelMessagesTypeAdapter.validate_json(Path("messages.json").read_bytes())
    results = DeferredToolResults()
    for call in waiting(history):
        run.approve(results, call, who=who, arguments={"order": "ORDER-8", "amount": 5})
    return agent_of(run).run_sync(message_history=history, deferred_tool_results=results).output


with open_gate("sqlite:///pauseledger.db", source="urn:shop:refund-agent", actor="service:refund-agent") as gate:
    ask(gate)

with open_gate("sqlite:///pauseledger.db", source="urn:shop:refund-agent", actor="service:refund-agent") as gate:
    # Hours later, in another process: all is built anew, from the file. Three people click.
    for name in ("user:mallory", "user:anna", "user:anna"):
        try:
            print(name, "-", answer(gate, Who(name)))
        except Shut as shut:
            print(name, "-", shut.code, "-", shut.reason)
    print(refunds)
