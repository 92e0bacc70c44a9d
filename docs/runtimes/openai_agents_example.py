"""An agent of the OpenAI Agents SDK, with the ledger: it asks for a refund, a person approves, and it refunds once."""

import asyncio
from datetime import timedelta
from pathlib import Path

from agents import Agent, RunConfig, Runner, RunState
from agents.testing import ScriptedModel, assistant_message, function_call

from consumers.gates import open_gate
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.openai_agents import LedgerRun, permit
from ledger.runtimes.pauses import execution_id
from ledger.runtimes.shut import Shut

refunds = []
offline = RunConfig(tracing_disabled=True)  # the SDK's tracing exports over the network


def refund(order: str, amount: int) -> str:
    """Refund an order."""
    refunds.append((order, amount, permit().idempotency_key))  # the call of the payment provider
    return f"receipt-{len(refunds)}"


def run_on(gate: Gate) -> LedgerRun:
    return LedgerRun(
        gate,
        subject="ORDER-7",
        execution=execution_id("chat-42", 1),  # the chat lives for ever: 1 is its first run
        key=lambda tool, arguments: f"{arguments['order']}-{tool}",
        owner="user:anna",
        requires_review=True,
        fresh_for=timedelta(minutes=15),
        reconcile_within=timedelta(hours=1),
        side_effect="not_happened",
    )


def agent_of(run: LedgerRun, *answers: list) -> Agent:
    # In place of a scripted model, yours.
    return Agent(name="refunds", model=ScriptedModel(answers), tools=[run.tool(refund)])


def ask(gate: Gate) -> None:
    run = run_on(gate)
    call = function_call("refund", {"order": "ORDER-7", "amount": 20}, call_id="call-1")
    result = asyncio.run(Runner.run(agent_of(run, [call]), "Refund my order, please.", run_config=offline))
    Path("state.json").write_text(result.to_state().to_string())
    run.opened(result.interruptions)


async def answer(gate: Gate, who: Who) -> str:
    run = run_on(gate)
    agent = agent_of(run, [assistant_message("You have your money back.")])
    state = await RunState.from_string(agent, Path("state.json").read_text())
    for item in state.get_interruptions():
        await asyncio.to_thread(run.approve, state, item, who=who)
    return (await Runner.run(agent, state, run_config=offline)).final_output


with open_gate("sqlite:///pauseledger.db", source="urn:shop:refund-agent", actor="service:refund-agent") as gate:
    ask(gate)

with open_gate("sqlite:///pauseledger.db", source="urn:shop:refund-agent", actor="service:refund-agent") as gate:
    # Hours later, in another process: all is built anew, from the file. Three people click.
    for name in ("user:mallory", "user:anna", "user:anna"):
        try:
            print(name, "-", asyncio.run(answer(gate, Who(name))))
        except Shut as shut:
            print(name, "-", shut.code, "-", shut.reason)
    print(refunds)
