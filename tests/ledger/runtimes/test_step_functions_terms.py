"""What a task's own limits become on the ledger: the shorter counts, and from when it was really scheduled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3")

from botocore.exceptions import ClientError, EndpointConnectionError

from ledger.runtimes.gate import Gate
from ledger.runtimes.step_functions import Task, is_gone, may_fail, open_pause
from ledger.runtimes.task_tokens import TokenFolder
from ledger.times import format_instant

ACTION = {"kind": "tool", "name": "refund", "arguments": {"amount": 20}}
AGO = datetime.now(UTC) - timedelta(minutes=5)


def packet(gate: Gate, folder: Path, task: Task, **terms: Any) -> dict[str, Any]:
    paused = open_pause(gate, TokenFolder(folder / "tokens"), task, subject="T-1", action=ACTION, **terms)
    assert TokenFolder(folder / "tokens").find(task.hash) is not None
    return gate.packet(paused)


def task(**more: Any) -> Task:
    return Task("secret", "arn:e", "Refund", format_instant(AGO), **more)


def fresh_for(found: dict[str, Any], since: datetime) -> float:
    return (datetime.fromisoformat(found["fresh_until"]) - since).total_seconds()


@pytest.mark.parametrize(
    ("timeout", "own", "counts"), [(600, 60, 60), (600, 7200, 600), (600, None, 600), (None, 60, 60)]
)
def test_the_shorter_limit_counts(
    gate: Gate, tmp_path: Path, timeout: float | None, own: float | None, counts: float
) -> None:
    """The state's timeout, or a shorter time for which the plan is fresh: neither makes the other longer."""
    given = None if own is None else timedelta(seconds=own)
    found = packet(gate, tmp_path, task(timeout_seconds=timeout), fresh_for=given)
    assert fresh_for(found, AGO) == pytest.approx(counts, abs=0.01)


def test_without_limits_nothing_is_made_up(gate: Gate, tmp_path: Path) -> None:
    """A state that has neither: the ledger says that there is no deadline, and no heartbeat is forwarded for it."""
    found = packet(gate, tmp_path, task())
    assert (found["fresh_until"], found["heartbeat_timeout"]) == (None, None)
    assert found["runtime"] == {
        "name": "step_functions",
        "task": task().hash,
        "effect": "callback",
        "state": "Refund",
        "entered": format_instant(AGO),
        "retry": 0,
    }


def test_a_heartbeat_of_ones_own_goes_before_the_states(gate: Gate, tmp_path: Path) -> None:
    """The ledger's owner may beat less often than the state asks; what the state asks is told beside it."""
    found = packet(gate, tmp_path, task(heartbeat_seconds=30), heartbeat_timeout=timedelta(hours=1))
    assert (found["heartbeat_timeout"], found["runtime"]["heartbeat_seconds"]) == ("PT1H", 30)


def test_a_retry_counts_from_when_it_was_scheduled(gate: Gate, tmp_path: Path) -> None:
    """``entered`` is the first try's: a later one counts from the history's word, or from now where nobody asked."""
    scheduled = datetime.now(UTC) - timedelta(minutes=1)
    found = packet(gate, tmp_path, task(retry=1, timeout_seconds=600, scheduled=scheduled))
    assert fresh_for(found, scheduled) == pytest.approx(600, abs=0.01)
    before = datetime.now(UTC)
    found = packet(gate, tmp_path, task(retry=2, timeout_seconds=600))
    assert fresh_for(found, before) >= 599.9


def test_each_try_is_a_pause_of_its_own() -> None:
    """The same token in another state, at another time or in another try: each is told apart."""
    told = [
        task(),
        task(retry=1),
        Task("secret", "arn:e", "Other", format_instant(AGO)),
        Task("secret", "arn:e", "Refund", format_instant(AGO + timedelta(seconds=1))),
        Task("another", "arn:e", "Refund", format_instant(AGO)),
    ]
    assert len({one.paused("T-1", ACTION).pause for one in told}) == len(told)


@pytest.mark.parametrize(
    ("outcome", "decision", "side_effect", "may"),
    [
        ("rejected", "closed", "not_happened", True),
        ("terminated", "closed", "happened", True),
        ("terminated", "closed", "indeterminate", False),
        (None, "terminate", "not_happened", True),
        (None, "terminate", "indeterminate", False),
        (None, "resume", "not_happened", False),
        ("executed", "closed", "happened", False),
        ("settled", "closed", "not_happened", False),
    ],
)
def test_when_a_task_may_be_failed(outcome: str | None, decision: str, side_effect: str, may: bool) -> None:
    """Rejected or ended, or about to be; and never while somebody may be acting."""
    assert may_fail(outcome, decision, side_effect) == may


@pytest.mark.parametrize(
    ("code", "gone"),
    [("InvalidToken", True), ("TaskDoesNotExist", True), ("TaskTimedOut", True), ("AccessDeniedException", False)],
)
def test_what_says_that_a_task_is_gone(code: str, gone: bool) -> None:
    """Its own errors do; no other's, and no lost connection."""
    assert is_gone(ClientError({"Error": {"Code": code}}, "SendTaskSuccess")) == gone
    assert not is_gone(EndpointConnectionError(endpoint_url="http://x"))
