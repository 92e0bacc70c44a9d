"""``pauseledger doctor`` on ledgers that are well, or only nearly."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.log import Draft
from ledger.logs.sqlite import SqliteLog
from ledger.logs.topic import create_topic
from tests.broker import Broker, free_port
from tests.consumers.cli.test_bad_input import make_topic
from tests.consumers.processes import processes
from tests.faults.command import run
from tests.faults.ledgers import url
from tests.faults.lines import note

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
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
    assert "with 1 partition." in shown.out
    assert "is 0 entries behind" in shown.out
    assert "No notary's key: nothing is signed." in shown.out


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


@pytest.mark.kafka
def test_the_fleet_is_looked_at(tmp_path: Path, broker: Broker) -> None:
    """How many processes each group has, which extras there are, and whether the metrics' address is free."""
    topic = str(uuid.uuid4())
    env = {"PAUSELEDGER_LOG": f"kafka://{broker.address}/{topic}", "PAUSELEDGER_GROUP": topic}
    run("topic", "create", folder=tmp_path, env=env)
    with processes(tmp_path, env["PAUSELEDGER_LOG"], url(tmp_path / "pauseledger.db"), group=topic) as fleet:
        process = fleet.start(metrics=str(port := free_port()))
        process.has_share()
        found = {one["check"]: one for one in run("doctor", "--json", folder=tmp_path, env=env).json}
        assert f"{topic}-indexer: 1" in found["groups"]["finding"]
        assert f"{topic}-watcher: 0" in found["groups"]["finding"]
        assert "tracing" in found["extras"]["finding"]
        assert "metrics" not in found
        for address, level in ((str(port), "warning"), (str(free_port()), "ok"), ("nowhere", "problem")):
            told = run("doctor", "--json", folder=tmp_path, env=env | {"PAUSELEDGER_METRICS": address}).json
            assert [one["level"] for one in told if one["check"] == "metrics"] == [level]
        assert process.drained() == 0


@pytest.mark.kafka
def test_the_topics_beside_a_ledger_are_looked_at(tmp_path: Path, broker: Broker) -> None:
    """Those that are there are named; one with another partition count is a problem."""
    topic = f"ledger-{uuid.uuid4()}"
    for name, partitions in ((topic, 2), (f"{topic}.decisions", 2), (f"{topic}.alerts", 3)):
        create_topic(broker.address, name, partitions=partitions)
    found = run("doctor", "--json", folder=tmp_path, env={"PAUSELEDGER_LOG": f"kafka://{broker.address}/{topic}"})
    said = {one["level"]: one["finding"] for one in found.json if one["check"] == "topics"}
    assert said["ok"].endswith(f"there is {topic}.decisions, {topic}.alerts.")
    assert f"{topic}.alerts has 3 partitions" in said["problem"]


@pytest.mark.parametrize(
    ("env", "check", "level"),
    [
        ({"WEBHOOKS": "https://example.org/x"}, "webhooks", "problem"),
        ({"WEBHOOKS": "https://example.org/x", "WEBHOOK_SECRET": SECRET}, "webhooks", "ok"),
        ({"WEBHOOKS": "http://example.org/x", "WEBHOOK_SECRET": SECRET}, "webhooks", "warning"),
        ({"API_TOKENS": "nowhere.json"}, "tokens", "problem"),
        ({"METRICS": "127.0.0.1:0"}, "metrics", "ok"),
    ],
)
def test_what_a_fleet_is_set_up_with_is_looked_at(tmp_path: Path, env: dict[str, str], check: str, level: str) -> None:
    """Webhooks without a secret or over http, a tokens file that is not there, the address of the metrics."""
    run("publish", folder=tmp_path, stdin=note(1))
    settings = {f"PAUSELEDGER_{name}": value for name, value in env.items()}
    found = run("doctor", "--json", folder=tmp_path, env=settings)
    assert [one["level"] for one in found.json if one["check"] == check] == [level], found


def test_one_entry_is_told_as_one(tmp_path: Path) -> None:
    """Behind by one entry, it doesn't say one entries."""
    log = SqliteLog(tmp_path / "pauseledger.db")
    log.append([Draft(0, b"T-1", note(1), STRUCTURED_HEADERS)])
    log.close()
    assert "is 1 entry behind" in run("doctor", folder=tmp_path).out
