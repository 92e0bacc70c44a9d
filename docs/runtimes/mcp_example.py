"""Any agent that speaks MCP: the client starts the server on stdio, pauses, and acts only when it may."""

import asyncio
import os
import sys
from typing import Any

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

# What a client's configuration names: the command `pauseledger run mcp`, and who the agent is on the ledger.
SERVER = StdioServerParameters(
    command=sys.executable,
    args=["-c", "from consumers.cli.app import main; main()", "run", "mcp"],
    env={
        **os.environ,
        "PAUSELEDGER_LOG": "sqlite:///pauseledger.db",
        "PAUSELEDGER_MCP_ACTOR": "service:refund-agent",
        "PAUSELEDGER_LOG_LEVEL": "error",
    },
)
refunds = []


async def main() -> None:
    async with Client(stdio_client(SERVER)) as client:

        async def tool(name: str, **arguments: Any) -> dict[str, Any]:
            result = await client.call_tool(name, arguments)  # an error is a result, too: it says what to do instead
            return result.structured_content

        opened = await tool(
            "open_pause",
            work_item="ORDER-6",
            execution="run-1",
            interrupt="refund",
            action={"kind": "tool", "name": "refund", "arguments": {"amount": 20}},
            owner="service:refund-agent",
            fresh_for="PT15M",
            side_effect="not_happened",
        )
        where = {name: opened[name] for name in ("work_item", "execution", "pause")}
        digest = opened["action_digest"]
        print((await tool("decision", **where))["decision"]["decision"])

        granted = await tool("request_resume", **where, action_digest=digest)
        if "fence" not in granted:  # refused: nothing may be done, and it says why
            print(granted["reason"], granted["advice"])
            return
        permission = await tool("attempt", **where, fence=granted["fence"])
        if permission.get("may_act"):
            refunds.append(20)  # the effect, once, here
            await tool("observe", **where, status="happened", settles=permission["settles"], action_digest=digest)
            await tool("close_pause", **where, outcome="executed")

        again = await tool("request_resume", **where, action_digest=digest)
        print(again["branch"], "-", again["advice"])
        print(refunds)


asyncio.run(main())
