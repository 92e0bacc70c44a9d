"""The OpenAI Agents SDK: approvals of tool calls go through the ledger, and the tool acts only inside the guard.

A :class:`LedgerRun` is one run of an agent, from its first turn to its end, however often it is saved and resumed:

1. Make the tools with :meth:`LedgerRun.tool` (or :func:`guarded_tool`, where agents are shared between runs).
2. When ``Runner.run`` comes back with interruptions, save its ``RunState``; then :meth:`LedgerRun.opened` tells of
   them.
3. When somebody answers, :meth:`LedgerRun.approve` (or ``reject``) goes through the ledger first, and only then touches
   the ``RunState``; run that. The tool finds its grant on the ledger, by the call's id and its *actual* arguments.

A saved state is not authenticated and may be run again, by anybody: nothing in it is a permission here. The SDK knows
no run id: the caller gives one (of the session or conversation, with a generation where that lives for ever).
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from ledger.actions import canonical
from ledger.errors import WrongUsage
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate, Grant, Who
from ledger.runtimes.guard import eager, finished
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from ledger.runtimes.tool_calls import ToolCalls, bounded, parsed, permit, permitted

with needs("openai-agents"):
    from agents import AgentsException, FunctionTool, RunState, ToolApprovalItem, function_tool
    from agents.tool_context import ToolContext

__all__ = ["NAME", "LedgerRun", "RunShut", "guarded_tool", "permit"]

NAME = "openai_agents"

_GRANT: ContextVar[tuple[Gate, Grant]] = ContextVar("pauseledger_grant")


class RunShut(Shut, AgentsException):
    """``Shut``, as the SDK lets it through: other errors of a tool it hides in a ``UserError``."""


class LedgerRun(ToolCalls):
    """One run, with its resumes: see :class:`ToolCalls`. The SDK has no id that ``execution`` could be taken from."""

    runtime = NAME

    def tool(self, function: Callable[..., Any], **more: Any) -> FunctionTool:
        """A tool of this run: see :func:`guarded_tool`."""
        return guarded_tool(function, lambda _: self, **more)

    def opened(self, interruptions: Iterable[ToolApprovalItem], **terms: Any) -> list[Paused]:
        """Tell of the interruptions of a result or a ``RunState``, a pause each; told again they count once.

        Save the state first: a pause on the ledger that no state can resume helps nobody.
        """
        pauses = [self.paused(item) for item in interruptions]
        self.tell(pauses, **terms)
        return pauses

    def paused(self, item: ToolApprovalItem) -> Paused:
        """What an interruption is called on the ledger. Raises ``WrongUsage`` for one that is no function's call."""
        call_id, name = _member(item, "call_id"), item.tool_name
        if not call_id or not name or _member(item, "type") != "function_call":
            raise WrongUsage("Only calls of function tools can be guarded.", "Make it with LedgerRun.tool.")
        return self.pause_of(name, call_id, parsed(item.arguments))

    def approve(
        self,
        state: RunState[Any, Any],
        item: ToolApprovalItem,
        *,
        who: Who,
        arguments: Mapping[str, Any] | None = None,
        fresh_for: timedelta | None = None,
        fresh_until: datetime | None = None,
    ) -> Grant:
        """Approve a call, on the ledger and then in the state; with ``arguments``, others than the model's.

        Raises ``Shut`` unless it is granted: the state is as it was then. The SDK can't edit a call: its history keeps
        what the model asked for, the tool does what was approved, and says so in its output.
        """
        grant = self.reviewed(self.paused(item), arguments, who=who, fresh_for=fresh_for, fresh_until=fresh_until)
        state.approve(item)
        return grant

    def proceed(self, state: RunState[Any, Any], item: ToolApprovalItem, *, who: Who) -> Grant:
        """Let a call go on that needs no review, or was reviewed elsewhere. Raises ``Shut`` unless it is granted."""
        grant = self.asked(self.paused(item), who=who)
        state.approve(item)
        return grant

    def reject(
        self, state: RunState[Any, Any], item: ToolApprovalItem, *, who: Who, message: str | None = None
    ) -> None:
        """Reject a call, on the ledger and then in the state; ``message`` is what the model is told.

        Raises ``Shut`` unless the ledger takes it.
        """
        self.gate.review(self.paused(item), "reject", who=who)
        state.reject(item, rejection_message=message)


def guarded_tool(
    function: Callable[..., Any],
    run_of: Callable[[ToolContext[Any]], LedgerRun],
    *,
    proof: tuple[type[BaseException], ...] = (),
    **more: Any,
) -> FunctionTool:
    """A tool that needs approval, and whose function is called only inside the guard, with the approved arguments.

    ``run_of`` gives the run that a call belongs to, of the SDK's context say; ``proof`` are the errors of the function
    that prove that nothing happened; ``more`` goes to ``function_tool``. An error of the function, and ``Shut``, end
    the run: the SDK's habit of telling the model of it would make a success of an unknown outcome, so
    ``failure_error_function`` can't be given.
    """
    if "failure_error_function" in more:
        raise WrongUsage("A guarded tool's errors are not hidden.", "Leave failure_error_function out.")
    eager(function)
    settings = {"needs_approval": True, **more, "failure_error_function": None}
    made = function_tool(_guarded(function, proof), **settings)

    async def invoke(context: ToolContext[Any], arguments: str) -> Any:
        run = run_of(context)
        try:
            paused = run.pause_of(context.tool_name, context.tool_call_id, parsed(arguments))
            grant = await bounded(run.gate, run.grant_of, paused)
            with _holding(run.gate, grant):
                return await _done_as_approved(made, context, arguments, grant)
        except Shut as shut:
            raise RunShut(
                shut.branch, shut.reason, answer=shut.answer, decision=shut.decision, advice=shut.advice
            ) from shut

    return dataclasses.replace(made, on_invoke_tool=invoke)


def _guarded(function: Callable[..., Any], proof: tuple[type[BaseException], ...]) -> Callable[..., Any]:
    """The function inside the guard: entered when the SDK has read the arguments, so bad ones are no attempt."""

    @functools.wraps(function)
    async def guarded(*args: Any, **named: Any) -> Any:
        gate, grant = _GRANT.get()
        async with gate.guard(grant, proof=proof) as given:
            with permitted(given):
                if inspect.iscoroutinefunction(function):
                    return finished(await function(*args, **named))
                return finished(await asyncio.to_thread(function, *args, **named))

    return guarded


async def _done_as_approved(made: FunctionTool, context: ToolContext[Any], arguments: str, grant: Grant) -> Any:
    """Call the tool with the arguments that are on the ledger, whatever the model's call says."""
    assert grant.paused.action is not None
    approved = grant.paused.action.get("arguments", {})
    if canonical(approved) == canonical(parsed(arguments)):
        return await made.on_invoke_tool(context, arguments)
    written = json.dumps(approved)
    done = await made.on_invoke_tool(context, written)
    return f"A reviewer changed the arguments to {written}. {done}" if isinstance(done, str) else done


@contextmanager
def _holding(gate: Gate, grant: Grant) -> Iterator[None]:
    token = _GRANT.set((gate, grant))
    try:
        yield
    finally:
        _GRANT.reset(token)


def _member(item: ToolApprovalItem, name: str) -> Any:
    raw = item.raw_item
    return raw.get(name) if isinstance(raw, dict) else getattr(raw, name, None)
