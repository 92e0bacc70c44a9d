"""What the agent libraries' adapters have in one: how a call is named, and how long anybody waits for the ledger."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from ledger.errors import LogUnavailable
from ledger.runtimes.gate import Gate
from ledger.runtimes.shut import Shut
from ledger.runtimes.tool_calls import ToolCalls, bounded, parsed, permit
from ledger.sending import Unknown


class Calls(ToolCalls):
    """An adapter's."""

    runtime = "test"


class Nowhere:
    """A ledger that can neither be written nor read in time: it raises, or takes a second."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble

    def publish(self, event: Any, *, deadline_seconds: float | None = None) -> Unknown:
        return Unknown(event["subject"], event["id"], event["source"], event["type"])

    def packet(self, subject: str, pause: str) -> dict[str, Any]:
        if self.trouble is not None:
            raise self.trouble
        time.sleep(1)  # the waiting itself is what is tested
        raise AssertionError("came too late to be seen")

    decision = packet

    def work_item(self, subject: str) -> dict[str, Any]:
        return self.packet(subject, "")


def calls_on(ledger: Nowhere) -> Calls:
    gate = Gate(ledger, ledger, source="urn:test", deadline_seconds=0.2)
    return Calls(gate, subject="T-1", execution="run-1")


@pytest.mark.parametrize("trouble", [LogUnavailable("No broker.", "Look at it."), None])
def test_a_ledger_that_cannot_be_read_gives_no_grant(trouble: Exception | None) -> None:
    """An error and silence are alike: Shut, unknown, within the gate's deadline."""
    calls = calls_on(Nowhere(trouble))
    paused = calls.pause_of("refund", "c-1", {"amount": 20})

    async def look() -> float:
        began = time.monotonic()
        with pytest.raises(Shut) as caught:
            await bounded(calls.gate, calls.grant_of, paused)
        assert caught.value.branch == "unknown"
        return time.monotonic() - began

    assert asyncio.run(look()) < 0.9


def test_a_call_is_named_by_its_id_and_its_action() -> None:
    """The order of members is none of the action's; a value, a name, an id or a key is."""
    calls = calls_on(Nowhere())
    keyed = Calls(calls.gate, subject="T-1", execution="run-1", key=lambda name, arguments: f"{name}-{arguments['a']}")
    first = calls.pause_of("refund", "c-1", {"a": 1, "b": 2})
    assert first.pause == calls.pause_of("refund", "c-1", {"b": 2, "a": 1}).pause
    others = [
        calls.pause_of("refund", "c-1", {"a": 1, "b": 3}),
        calls.pause_of("charge", "c-1", {"a": 1, "b": 2}),
        calls.pause_of("refund", "c-2", {"a": 1, "b": 2}),
        keyed.pause_of("refund", "c-1", {"a": 1, "b": 2}),
    ]
    assert len({first.pause, *(other.pause for other in others)}) == 5
    assert keyed.action("refund", {"a": 1})["idempotency_key"] == "refund-1"


def test_arguments_as_the_libraries_hold_them() -> None:
    """Text is read as JSON, nothing is an empty object, and what is no JSON stays as it is."""
    assert [parsed(one) for one in ('{"a": 1}', {"a": 1}, "", None, "{no")] == [{"a": 1}, {"a": 1}, {}, {}, "{no"]


def test_no_permit_outside_of_a_guarded_tool() -> None:
    """A tool that runs without its guard can't find a permission of somebody else's."""
    with pytest.raises(LookupError):
        permit()
