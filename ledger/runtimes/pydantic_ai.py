"""Pydantic AI: approvals of tool calls go through the ledger, and a tool acts only inside the guard.

A :class:`LedgerRun` is one run of an agent, from its first request to its end, however often it pauses and resumes:

1. Put the tools that act into :meth:`LedgerRun.guarded`, a toolset around theirs, and give the agent
   :meth:`LedgerRun.capability`, which tells of each call that waits and does nothing more.
2. Save the message history when the run comes back with ``DeferredToolRequests``.
3. When somebody answers, :meth:`LedgerRun.approve` (or ``reject``) goes through the ledger first, and only then writes
   the answer into the ``DeferredToolResults``; run those. The toolset finds the grant on the ledger, by the call's own
   id, and compares what the tool is *actually* called with to what was approved.

A message history is not authenticated and may be run again, by anybody: nothing in it is a permission here. Each resume
has a new ``run_id``, so an execution is not that: give the ``conversation_id``, with a generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from json import dumps
from typing import Any

from ledger.actions import canonical
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Grant, Who
from ledger.runtimes.guard import finished
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from ledger.runtimes.tool_calls import ToolCalls, bounded, parsed, permit, permitted

with needs("pydantic-ai"):
    from pydantic_ai import ApprovalRequired, DeferredToolRequests, DeferredToolResults, RunContext
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
    from pydantic_ai.tools import ToolApproved, ToolDefinition, ToolDenied
    from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset
    from pydantic_core import to_jsonable_python

__all__ = ["NAME", "GuardedToolset", "LedgerCapability", "LedgerRun", "permit", "waiting"]

NAME = "pydantic_ai"


class LedgerRun(ToolCalls):
    """One run, with its resumes: see :class:`ToolCalls`."""

    runtime = NAME

    def guarded(self, tools: AbstractToolset[Any], *, proof: tuple[type[BaseException], ...] = ()) -> GuardedToolset:
        """The tools, each call of which needs approval and acts inside the guard.

        ``proof`` are the errors of tools that prove that nothing happened. ``ModelRetry`` is none unless it is named.
        """
        return GuardedToolset(tools, lambda _: self, proof)

    def capability(self) -> LedgerCapability:
        """What tells of this run's pauses."""
        return LedgerCapability(lambda _: self)

    def opened(self, calls: Iterable[ToolCallPart], **terms: Any) -> list[Paused]:
        """Tell of calls that wait for an approval, a pause each; told again they count once."""
        pauses = [self.paused(call) for call in calls]
        self.tell(pauses, **terms)
        return pauses

    def paused(self, call: ToolCallPart) -> Paused:
        """What a call is called on the ledger."""
        return self.pause_of(call.tool_name, call.tool_call_id, parsed(call.args))

    def approve(
        self,
        results: DeferredToolResults,
        call: ToolCallPart,
        *,
        who: Who,
        arguments: dict[str, Any] | None = None,
        fresh_for: timedelta | None = None,
        fresh_until: datetime | None = None,
    ) -> Grant:
        """Approve a call, on the ledger and then in the results; with ``arguments``, others than the model's.

        Raises ``Shut`` unless it is granted: the results are as they were then.
        """
        grant = self.reviewed(self.paused(call), arguments, who=who, fresh_for=fresh_for, fresh_until=fresh_until)
        results.approvals[call.tool_call_id] = ToolApproved(override_args=arguments)
        return grant

    def proceed(self, results: DeferredToolResults, call: ToolCallPart, *, who: Who) -> Grant:
        """Let a call go on that needs no review, or was reviewed elsewhere. Raises ``Shut`` unless it is granted."""
        grant = self.asked(self.paused(call), who=who)
        results.approvals[call.tool_call_id] = ToolApproved(override_args=_arguments(grant))
        return grant

    def reject(self, results: DeferredToolResults, call: ToolCallPart, *, who: Who, message: str | None = None) -> None:
        """Reject a call, on the ledger and then in the results; ``message`` is what the model is told.

        Raises ``Shut`` unless the ledger takes it.
        """
        self.gate.review(self.paused(call), "reject", who=who)
        results.approvals[call.tool_call_id] = ToolDenied() if message is None else ToolDenied(message)


RunOf = Callable[[RunContext[Any]], LedgerRun]


@dataclass
class LedgerCapability(AbstractCapability[Any]):
    """Tells of the calls that wait for an approval, and lets nothing approved act outside of a guarded toolset."""

    run_of: RunOf

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Tell of the calls; answers none of them."""
        run = self.run_of(ctx)
        told = {"run_id": ctx.run_id, "conversation_id": ctx.conversation_id}
        await asyncio.to_thread(lambda: run.opened(requests.approvals, runtime=told))
        return None

    async def before_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any]
    ) -> dict[str, Any]:
        """Block an approved call of a tool that nothing guards. Raises ``Shut``."""
        if ctx.tool_call_approved and not (tool_def.metadata or {}).get(_MARK):
            raise Shut("refused", f"The tool {call.tool_name} was approved, and stands in no guarded toolset.")
        return args


_MARK = "pauseledger_guarded"


@dataclass
class GuardedToolset(WrapperToolset[Any]):
    """Tools that need approval and act inside the guard: see :meth:`LedgerRun.guarded`.

    Where an agent is shared between runs, ``run_of`` gives the run that a call belongs to, of ``ctx.deps`` say.
    """

    run_of: RunOf
    proof: tuple[type[BaseException], ...] = ()

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """The tools, marked as guarded."""
        return {name: _marked(tool) for name, tool in (await super().get_tools(ctx)).items()}

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Act, if this very call was granted. Raises ``Shut`` otherwise; a call that nobody has answered yet waits."""
        if not ctx.tool_call_approved:
            raise ApprovalRequired
        run = self.run_of(ctx)
        paused = run.paused(_call(ctx.messages, ctx.tool_call_id))
        grant = await bounded(run.gate, run.grant_of, paused)
        if not _same(tool_args, _read(tool, _arguments(grant), ctx)):
            raise Shut("refused", f"{name} would be called with other arguments than were approved.")
        async with run.gate.guard(grant, proof=self.proof) as given:
            with permitted(given):
                return finished(await super().call_tool(name, tool_args, ctx, tool))


def waiting(messages: Sequence[ModelMessage]) -> list[ToolCallPart]:
    """The calls of a saved history's last answer: those that wait, where the run paused there."""
    last = messages[-1] if messages else None
    return list(last.tool_calls) if isinstance(last, ModelResponse) else []


def _call(messages: Sequence[ModelMessage], call_id: str | None) -> ToolCallPart:
    """The call as the model made it: what was told of, before anybody edited it."""
    for message in reversed(messages):
        for call in message.tool_calls if isinstance(message, ModelResponse) else ():
            if call.tool_call_id == call_id:
                return call
    raise Shut("refused", f"The history holds no call {call_id}.")


def _arguments(grant: Grant) -> dict[str, Any]:
    arguments: Any = {} if grant.paused.action is None else grant.paused.action.get("arguments", {})
    if not isinstance(arguments, Mapping):
        raise Shut("refused", "What was approved has no arguments that a tool could take.")
    return dict(arguments)


def _read(tool: ToolsetTool[Any], approved: dict[str, Any], ctx: RunContext[Any]) -> Any:
    """The approved arguments as the tool's own validator reads them: it may convert, and add defaults."""
    return tool.args_validator.validate_json(dumps(approved), context=ctx.validation_context)


def _same(actual: Any, approved: Any) -> bool:
    try:
        return canonical(to_jsonable_python(actual)) == canonical(to_jsonable_python(approved))
    except ValueError:  # what can't be written down can't be compared
        return False


def _marked(tool: ToolsetTool[Any]) -> ToolsetTool[Any]:
    definition = replace(tool.tool_def, metadata={**(tool.tool_def.metadata or {}), _MARK: True})
    return replace(tool, tool_def=definition)
