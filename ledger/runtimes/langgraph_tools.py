"""langchain's agents on the ledger: the tools named here run only inside the guard.

List it after ``HumanInTheLoopMiddleware``, so that it sees the call that is really made, also after an edit::

    create_agent(model, tools, middleware=[HumanInTheLoopMiddleware({"refund": True}), LedgerTools(["refund"])], …)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ledger.runtimes.extras import needs
from ledger.runtimes.guard import Permit
from ledger.runtimes.langgraph_effects import Proof, Settled, aguarded, guarded
from ledger.runtimes.langgraph_settings import tool_action
from ledger.runtimes.shut import Shut

with needs("langgraph"):
    from langchain.agents.middleware import AgentMiddleware
    from langchain.agents.middleware.types import ToolCallRequest
    from langchain_core.messages import ToolMessage
    from langgraph.types import Command

Result = ToolMessage | Command[Any]


class _Failed(Exception):
    """The tool answered with an error: nobody knows what it had done by then."""

    def __init__(self, result: Result) -> None:
        super().__init__("the tool answered with an error")
        self.result = result


class LedgerTools(AgentMiddleware[Any, Any, Any]):
    """Guards tools by name. A call that may not be made now is answered with a message that says why, and not made.

    Where nobody knows whether it was made before, or the ledger can't be asked, ``Shut`` is raised instead: the thread
    stays where it is, and goes on with ``invoke(None)`` once somebody has looked.

    ``proof`` are the errors of the tools that prove that nothing happened. A guarded tool that nobody was asked about
    stays shut. A tool that calls ``interrupt()`` itself uses ``guarded`` instead.
    """

    def __init__(self, tools: Iterable[str], *, proof: Proof = ()) -> None:
        super().__init__()
        self._guarded = frozenset(tools)
        self._proof = proof

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]) -> Result:
        if request.tool_call["name"] not in self._guarded:
            return handler(request)

        def act(_: Permit) -> Result:
            return _succeeded(handler(request))

        try:
            return _told(request, guarded(_action(request), act, proof=self._proof))
        except _Failed as failed:
            return failed.result
        except Shut as shut:
            return _not_done(request, shut)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        if request.tool_call["name"] not in self._guarded:
            return await handler(request)

        async def act(_: Permit) -> Result:
            return _succeeded(await handler(request))

        try:
            return _told(request, await aguarded(_action(request), act, proof=self._proof))
        except _Failed as failed:
            return failed.result
        except Shut as shut:
            return _not_done(request, shut)


def _action(request: ToolCallRequest) -> dict[str, Any]:
    return tool_action(request.tool_call["name"], request.tool_call["args"])


def _succeeded(result: Result) -> Result:
    if isinstance(result, ToolMessage) and result.status == "error":
        raise _Failed(result)
    return result


def _told(request: ToolCallRequest, result: Result | Settled) -> Result:
    if isinstance(result, Settled):
        return _message(request, "This was done before; it was not done again.", status="success")
    return result


def _not_done(request: ToolCallRequest, shut: Shut) -> ToolMessage:
    """What a model is told. Raises where the call may have been made: a thread that ends would leave that unsaid."""
    if shut.outcome_unknown:
        raise shut
    return _message(request, f"Not done: {shut}", status="error")


def _message(request: ToolCallRequest, text: str, *, status: Any) -> ToolMessage:
    call = request.tool_call
    return ToolMessage(text, name=call["name"], tool_call_id=call["id"], status=status)
