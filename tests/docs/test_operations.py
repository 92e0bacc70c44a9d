"""The on-call's page is true: its commands run as they stand, and the ledger says then what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_readme import ROOT, run
from tests.faults.lines import line

PAGE = (ROOT / "docs" / "operations.md").read_text()
BLOCKS = dict(re.findall(r"<!-- run: (\w+) -->\n```sh\n(.*?)```", PAGE, re.DOTALL))
WHERE = {"execution": "run-1", "pause": "run-1/p1"}
ACTION = {"kind": "write", "name": "refund", "arguments": {"order": 7}}


def told(name: str, **data: Any) -> bytes:
    return line(name, {**WHERE, **data}, id=name, subject="T-7", actor="user:dana")


def left_by_a_crash(folder: Path) -> None:
    """Opened, granted and attempted; whether it was done nobody has said."""
    opened = told(
        "pause.opened", owner="user:dana", fresh_for="PT1H", side_effect="not_happened", pending_action=ACTION
    )
    events = folder / "events.jsonl"
    events.write_bytes(opened + b"\n")
    run(["pauseledger", "publish", str(events)], folder)
    digest = json.loads(run(["pauseledger", "packet", "T-7", "--json"], folder))["action_digest"]
    rest = [told("resume.requested", action_digest=digest), told("side_effect.attempted", fence=1)]
    events.write_bytes(b"\n".join(rest))
    run(["pauseledger", "publish", "--strict", str(events)], folder)


@pytest.mark.parametrize(
    ("outcome", "decision", "side_effect"),
    [
        ("happened", "closed", "happened"),
        ("not_happened", "resume", "not_happened"),
        ("waive", "closed", "indeterminate"),
    ],
)
def test_each_way_out_of_reconcile_runs(tmp_path: Path, outcome: str, decision: str, side_effect: str) -> None:
    """After a crash: what is pasted from the page is accepted, and nothing is owed any more."""
    left_by_a_crash(tmp_path)
    printed = run(["sh", "-eu", "-c", BLOCKS["look"] + BLOCKS[outcome]], tmp_path)
    assert "reconcile  T-7      refund  user:dana" in printed
    assert "run-1/p1 by user:dana" in printed
    packet = json.loads(run(["pauseledger", "packet", "T-7", "--json"], tmp_path))
    (decided,) = json.loads(run(["pauseledger", "decision", "T-7", "--json"], tmp_path))
    assert (decided["decision"], packet["side_effect"], decided["debt"]) == (decision, side_effect, None)
    assert run(["pauseledger", "debts"], tmp_path) == "Nothing is owed on this ledger.\n"
    trail = run(["pauseledger", "trail", "T-7"], tmp_path)
    assert outcome == "waive" or f"run-1/p1 {outcome} by user:dana" in trail
