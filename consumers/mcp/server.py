"""The MCP server itself, whatever it is reached over: it lists the tools, checks a call, and answers it.

What goes wrong is a tool's result, with ``is_error``, so that the model reads it: ``error`` says what kind, ``reason``
why, ``advice`` what to do instead; of a gate that stays shut ``branch`` too. Nothing may act after any of them.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import anyio
from pydantic import ValidationError

from consumers.api.access import Credential, refuse_event, refuse_route, refuse_scopes, refuse_subject
from consumers.api.problems import KINDS, Problem, problem_of
from consumers.gates import LedgerReader
from consumers.mcp.arguments import Arguments, OpenPause, schema_of
from consumers.mcp.terms import Terms
from consumers.mcp.tools import INSTRUCTIONS, TOOLS, Tool
from ledger.errors import LedgerError, LogUnavailable, WrongUsage
from ledger.json_text import write_json
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.shut import Shut

with needs("mcp"):
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel.server import Server

_LOG = logging.getLogger("pauseledger.mcp")
_GRACE_SECONDS = 10.0
"""How long a call may take beside its publishing: the ledger is opened, or read, by one at a time."""

Caller = Callable[[ServerRequestContext], Credential]
"""Who asks in a request: of what the transport knows, never of what the request says. Raises ``Problem``."""


class Desk(NamedTuple):
    """What the tools work with."""

    gate: Gate
    reader: LedgerReader
    caller: Caller
    terms: Terms = Terms({})


def make_server(desk: Desk) -> Server[Any]:
    """The server, with all tools."""

    async def list_tools(_: ServerRequestContext, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(name, tool, desk.terms) for name, tool in TOOLS.items()])

    async def call_tool(ctx: ServerRequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await answer(desk, ctx, params.name, params.arguments or {})

    return Server("pauseledger", instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool)


def _described(name: str, tool: Tool, terms: Terms) -> types.Tool:
    described = tool.description
    if tool.arguments is OpenPause and terms.names:
        described += f" Leave out what the operator has set: {', '.join(terms.names)}."
    reads = tool.event is None
    hints = types.ToolAnnotations(
        read_only_hint=reads, destructive_hint=False, idempotent_hint=reads, open_world_hint=False
    )
    return types.Tool(name=name, description=described, input_schema=schema_of(tool.arguments), annotations=hints)


async def answer(desk: Desk, ctx: ServerRequestContext, name: str, given: Mapping[str, Any]) -> types.CallToolResult:
    """The result of a call; always one, within a bounded time."""
    try:
        tool = TOOLS.get(name)
        if tool is None:
            raise WrongUsage(f"There is no tool {name!r}.", f"Tools are: {', '.join(TOOLS)}.")
        args = desk.terms.on(tool.arguments.model_validate(dict(given)))
        credential = desk.caller(ctx)
        with anyio.fail_after(desk.gate.deadline_seconds + _GRACE_SECONDS):
            # A thread that is given up goes on by itself: an attempt may still be recorded, and then reads reconcile.
            told = await anyio.to_thread.run_sync(lambda: _done(desk, credential, tool, args), abandon_on_cancel=True)
    except Exception as error:
        return _result(_error(error), is_error=True)
    return _result(told, is_error=False)


def _done(desk: Desk, credential: Credential, tool: Tool, args: Arguments) -> dict[str, Any]:
    _refuse(desk, credential, tool, args)
    gate = copy.copy(desk.gate)  # the same publisher and reader; another's voice
    gate.who = Who(credential.actor, credential.roles)
    try:
        return tool.work(gate, args)
    except Shut as error:
        if "read" not in credential.scopes:  # the decision is another scope's to see
            error.decision = None
        raise


def _refuse(desk: Desk, credential: Credential, tool: Tool, args: Any) -> None:
    """Raises ``Problem`` for what the credential may not do: the same rules as over HTTP, by event or by route."""
    item = desk.reader.item(args.work_item) if credential.routes else None
    if tool.event is None:
        refuse_scopes(credential, ["read"])
        refuse_subject(credential, args.work_item)
        refuse_route(credential, item)
        return
    content = {"type": tool.event, "subject": args.work_item, "data": {"route": getattr(args, "route", None)}}
    refuse_event(credential, content, item)


def _error(error: Exception) -> dict[str, Any]:
    if isinstance(error, Shut):
        told = {"error": "shut", "branch": error.branch, "code": error.code, "reason": error.reason}
        return told | {"advice": error.advice, "decision": error.decision}
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "arguments"
        advice = "Nothing was done. Mend the arguments: see the tool's schema."
        return {"error": "bad-arguments", "reason": f"{place}: {first['msg']}.", "advice": advice}
    if isinstance(error, TimeoutError | LogUnavailable):
        return _error(_away(error))
    if isinstance(error, LedgerError):
        problem = problem_of(error)
        return {"error": problem.kind, "reason": problem.detail, "advice": error.advice} | _hidden(problem)
    if isinstance(error, Problem):
        return {"error": error.kind, "reason": error.args[0], "advice": KINDS[error.kind].advice}
    _LOG.error("A tool failed.", exc_info=error)
    return {"error": "internal", "reason": "The server failed; its log says where.", "advice": "Do not act."}


def _away(error: Exception) -> Shut:
    _LOG.warning("The ledger gave no answer: %s", error or "it took too long")
    reason = "The ledger could not be reached, or did not answer in time."
    return Shut("unknown", reason)


def _hidden(problem: Problem) -> dict[str, Any]:
    """Advice on the server's own faults names its files and hosts: it is for the log alone."""
    return {"advice": KINDS[problem.kind].advice} if problem.status >= 500 else {}


def _result(told: Mapping[str, Any], *, is_error: bool) -> types.CallToolResult:
    present = {name: value for name, value in told.items() if value is not None}
    text = types.TextContent(type="text", text=write_json(present).decode())
    return types.CallToolResult(content=[text], structured_content=present, is_error=is_error)
