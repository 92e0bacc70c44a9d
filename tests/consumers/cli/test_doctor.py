"""``pauseledger doctor`` on ledgers that are well, or only nearly."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.log import Draft
from ledger.logs.sqlite import SqliteLog
from tests.broker import Broker
from tests.consumers.cli.test_bad_input import make_topic
from tests.faults.command import run
from tests.faults.lines import note

MEMBERS = {"check", "level", "finding", "advice"}


def test_a_ledger_that_is_well(tmp_path: Path) -> None:
    """Every finding is ok, exit code 0, and the versions are told."""
    run("publish", folder=tmp_path, stdin=note(1))
    found = run("doctor", "--json", folder=tmp_path)
    assert (found.code, found.err) == (0, "")
    assert {one["level"] for one in found.json} == {"ok"}
    assert all(set(one) == MEMBERS for one in found.json)
    assert {"versions", "log", "clock", "history", "index"} <= {one["check"] for one in found.json}
    shown = run("doctor", folder=tmp_path)
    assert (shown.code, shown.err) == (0, "")
    assert "mend" not in shown.out


def test_looking_changes_no_entry(tmp_path: Path) -> None:
    """Without a ledger it makes none; behind the log it says so, and does not index."""
    assert run("doctor", "--json", folder=tmp_path).code == 1
    assert list(tmp_path.iterdir()) == []
    log = SqliteLog(tmp_path / "pauseledger.db")
    log.append([Draft(0, b"T-1", note(n), STRUCTURED_HEADERS) for n in range(1_500)])
    log.close()
    for _ in range(2):
        found = run("doctor", "--json", folder=tmp_path)
        assert found.code == 0
        assert "1,500 entries behind" in str(found.json)


def test_a_clock_that_is_wrong(tmp_path: Path) -> None:
    """An entry an hour ahead of this machine: one of the two clocks has to be set."""
    ahead = int(time.time() * 1000) + 3_600_000
    log = SqliteLog(tmp_path / "pauseledger.db", clock=lambda: ahead)
    log.append([Draft(0, b"T-1", note(1), STRUCTURED_HEADERS)])
    log.close()
    found = run("doctor", "--json", folder=tmp_path)
    [problem] = [one for one in found.json if one["level"] == "problem"]
    assert (found.code, problem["check"]) == (1, "clock")
    assert "NTP" in problem["advice"]


@pytest.mark.kafka
def test_a_topic_as_topic_create_makes_it(tmp_path: Path, broker: Broker) -> None:
    """Well, with a warning that one replica survives no power cut."""
    env = {"PAUSELEDGER_LOG": f"kafka://{broker.address}/{uuid.uuid4()}"}
    run("topic", "create", folder=tmp_path, env=env)
    run("publish", folder=tmp_path, env=env, stdin=note(1))
    found = run("doctor", "--json", folder=tmp_path, env=env)
    assert found.code == 0
    assert [one["check"] for one in found.json if one["level"] != "ok"] == ["durability"]


@pytest.mark.kafka
def test_a_topic_that_forgets(tmp_path: Path, broker: Broker) -> None:
    """A retention of a week is a problem, with the command that mends it."""
    name = str(uuid.uuid4())
    make_topic(broker, name, {"message.timestamp.type": "LogAppendTime", "retention.ms": "604800000"})
    found = run("doctor", "--json", folder=tmp_path, env={"PAUSELEDGER_LOG": f"kafka://{broker.address}/{name}"})
    assert found.code == 1
    problems = [one for one in found.json if one["level"] == "problem" and "retention.ms" in one["finding"]]
    assert [name in one["advice"] and "retention.ms=-1" in one["advice"] for one in problems] == [True]
