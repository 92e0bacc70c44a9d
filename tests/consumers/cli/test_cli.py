"""The command line as scripts rely on it (protocol, section 9): what is read, now and then."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.log import Draft
from ledger.logs.sqlite import SqliteLog
from ledger.times import format_instant, from_milliseconds, parse_instant
from tests.faults.command import Result, run
from tests.faults.ledgers import url
from tests.faults.lines import DANA, event, line, note, opened, pause, resume

START_MS = 1_774_688_400_000  # 2026-03-28T09:00:00Z
STEP_MS = 60_000
DECISION = {
    "subject",
    "execution",
    "pause",
    "decision",
    "rule",
    "reason",
    "checks",
    "stop_signals",
    "as_of",
    "valid_until",
    "debt",
    "obligations",
    "action_digest",
    "fence",
    "table",
}
VERDICT = {"partition", "offset", "recorded_at", "subject", "id", "source", "type", "verdict", "code", "reason"}
PACKET = {
    "subject",
    "execution",
    "pause",
    "opened",
    "trigger",
    "route",
    "recheck",
    "no_resume_condition",
    "contract",
    "runtime",
    "pending_action",
    "action_digest",
    "owner",
    "resume_authority",
    "requires_review",
    "reviewed",
    "fresh_until",
    "heartbeat_timeout",
    "heartbeat_by",
    "heartbeat_at",
    "reconcile_within",
    "side_effect",
    "side_effect_since",
    "side_effect_by",
    "grant",
    "fence",
    "state",
    "outcome",
    "stop_signals",
}


def at(minutes: float, milliseconds: int = 0) -> str:
    """So long after the first entry, as ``--at`` takes it."""
    return format_instant(from_milliseconds(START_MS + int(minutes * STEP_MS) + milliseconds)) or ""


class Told:
    """A ledger whose entries lie a minute apart, from 09:00 on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ticks = iter(range(START_MS, 10**15, STEP_MS))
        log = SqliteLog(folder / "pauseledger.db", clock=lambda: next(ticks))
        second = line("pause.opened", opened("a-later-one"), id="open-2")
        bad = line("note.added", {"no": "text"}, id="bad")
        for value in (pause(), second, resume(), bad, note(1)):
            log.append([Draft(0, b"T-1", value, STRUCTURED_HEADERS)])
        log.close()

    def ask(self, *arguments: str, **options: Any) -> Result:
        return run(*arguments, folder=self.folder, **options)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The ledger in a folder's default file; only read by the tests."""
    return Told(tmp_path_factory.mktemp("told"))


def test_decisions_are_a_list_in_the_order_opened(told: Told) -> None:
    """Each has the protocol's members, and as_of is now."""
    before = datetime.now(UTC)
    found = told.ask("decision", "T-1", "--json").json
    assert [one["pause"] for one in found] == ["p1", "a-later-one"]
    assert all(set(one) == DECISION for one in found)
    assert all(set(one["checks"]) == {"freshness", "ownership", "side_effect"} for one in found)
    assert before - timedelta(milliseconds=1) <= parse_instant(found[0]["as_of"]) <= datetime.now(UTC)
    assert (found[0]["decision"], found[0]["rule"], found[0]["fence"]) == ("reconcile", "indeterminate", 2)


def test_one_decision_is_no_list(told: Told) -> None:
    """``--pause`` gives that one, by itself."""
    found = told.ask("decision", "T-1", "--pause", "a-later-one", "--json").json
    assert (set(found), found["pause"]) == (DECISION, "a-later-one")


def test_no_pause_is_an_empty_list_and_one_that_is_asked_for_an_error(told: Told) -> None:
    """Of a work item that nobody knows; the error is one line, with exit code 1, and stdout stays empty."""
    none = told.ask("decision", "T-none", "--json")
    assert (none.code, none.out.strip(), none.err) == (0, "[]", "")
    for command in ("decision", "packet"):
        wrong = told.ask(command, "T-1", "--pause", "p-none", "--json")
        assert (wrong.code, wrong.out, len(wrong.err.splitlines())) == (1, "", 1)
        assert "p1" in wrong.err


def test_the_packet_has_the_fields_of_the_protocol(told: Told) -> None:
    """And those that were given their values."""
    found = told.ask("packet", "T-1", "--pause", "p1", "--json").json
    assert set(found) == PACKET
    assert (found["opened"], found["owner"], found["state"], found["grant"]) == ("0:0", DANA, "open", "granted")
    assert (found["side_effect"], found["side_effect_by"], found["fresh_until"]) == ("indeterminate", "0:2", at(60))


def test_the_trail_lists_every_entry_with_its_event(told: Told) -> None:
    """Malformed ones that name the work item too, oldest first, with the log's own times."""
    found = told.ask("trail", "T-1", "--json").json
    assert [one["offset"] for one in found] == [0, 1, 2, 3, 4]
    assert [one["verdict"] for one in found] == ["accepted"] * 3 + ["malformed", "accepted"]
    assert [one["recorded_at"] for one in found] == [at(n) for n in range(5)]
    assert all(set(one) >= VERDICT | {"event"} for one in found)
    assert found[0]["event"] == json.loads(pause())
    assert (found[2]["fence"], found[3]["code"], found[3]["event"]["id"]) == (2, "bad-data", "bad")
    assert told.ask("trail", "T-none", "--json").json == []


@pytest.mark.parametrize(
    ("when", "pauses", "decision", "entries"),
    [
        (at(0, -1), 0, None, 0),
        (at(0), 1, "resume", 1),
        (at(1, -1), 1, "resume", 1),
        (at(1), 2, "resume", 2),
        (at(2, -1), 2, "resume", 2),
        (at(2), 2, "reconcile", 3),
        (at(3), 2, "reconcile", 4),
        (at(4), 2, "reconcile", 5),
        ("2026-03-28T10:00:00.001+01:00", 1, "resume", 1),
        ("9999-12-31T23:59:59Z", 2, "reconcile", 5),
        ("0001-01-01T00:00:00Z", 0, None, 0),
    ],
)
def test_time_travel(told: Told, when: str, pauses: int, decision: str | None, entries: int) -> None:
    """Only entries with an instant of at most ``--at`` are folded, and as_of is that instant."""
    found = told.ask("decision", "T-1", "--at", when, "--json").json
    assert len(found) == pauses
    assert {parse_instant(one["as_of"]) for one in found} == ({parse_instant(when)} if pauses else set())
    assert (found[0]["decision"] if found else None) == decision
    if when in (at(0, -1), at(2), at(3)):
        assert len(told.ask("trail", "T-1", "--at", when, "--json").json) == entries
        asked = told.ask("packet", "T-1", "--pause", "p1", "--at", when, "--json")
        assert asked.code == (0 if pauses else 1)


def test_a_deadline_passes_between_two_milliseconds(told: Told) -> None:
    """The second pause is fresh until 10:01, and not at it."""
    results = []
    for when in (at(61, -1), at(61), at(61, 1)):
        asked = told.ask("decision", "T-1", "--pause", "a-later-one", "--at", when, "--json").json
        results.append((asked["checks"]["freshness"]["result"], asked["valid_until"]))
    assert results == [("fresh", at(61)), ("expired", None), ("expired", None)]


def test_time_travel_equals_what_was_said_then(tmp_path: Path) -> None:
    """A decision and a trail asked after each event are what ``--at`` says of those moments much later."""
    said = []
    for number, value in enumerate((pause(), resume(), note(1))):
        assert run("publish", folder=tmp_path, stdin=value + b"\n").code == 0
        decided = run("decision", "T-1", "--json", folder=tmp_path).json
        said.append((decided[0]["as_of"], decided))
        assert len(run("trail", "T-1", "--json", folder=tmp_path).json) == number + 1
    for number, (as_of, decided) in enumerate(said):
        assert run("decision", "T-1", "--at", as_of, "--json", folder=tmp_path).json == decided
        assert len(run("trail", "T-1", "--at", as_of, "--json", folder=tmp_path).json) == number + 1


def test_a_clock_behind_the_last_instant_is_not_believed(tmp_path: Path) -> None:
    """The log's clock was a day ahead: as_of is the last instant, never before what has happened."""
    ahead = int(datetime.now(UTC).timestamp() * 1000) + 86_400_000
    log = SqliteLog(tmp_path / "pauseledger.db", clock=lambda: ahead)
    log.append([Draft(0, b"T-1", pause(), STRUCTURED_HEADERS)])
    log.close()
    [found] = run("decision", "T-1", "--json", folder=tmp_path).json
    assert found["as_of"] == format_instant(from_milliseconds(ahead))
    published = run("publish", "--json", folder=tmp_path, stdin=note(1)).json
    assert published["recorded_at"] == found["as_of"]


def test_a_clock_that_steps_back_never_takes_an_instant_back(tmp_path: Path) -> None:
    """Each entry's time is at least that of the one before; what had lapsed stays lapsed."""
    ticks = iter([START_MS, START_MS + 7_200_000, START_MS - 86_400_000, START_MS])
    log = SqliteLog(tmp_path / "pauseledger.db", clock=lambda: next(ticks))
    beat = {"execution": "run-1", "pause": "p1"}
    values = [pause(heartbeat_timeout="PT1H")]
    values += [line("heartbeat.recorded", beat, id=f"h{n}", actor=DANA) for n in range(2)]
    for value in [*values, note(9)]:
        log.append([Draft(0, b"T-1", value, STRUCTURED_HEADERS)])
    log.close()
    trail = run("trail", "T-1", "--json", folder=tmp_path).json
    assert [one["recorded_at"] for one in trail] == [at(0), at(120), at(120), at(120)]
    assert [one["code"] for one in trail] == ["ok", "lapsed", "lapsed", "ok"]


@pytest.mark.parametrize(("hours", "result"), [(-24, "expired"), (24, "fresh"), (0, "fresh")])
def test_a_publishers_clock_makes_things_staler_never_fresher(tmp_path: Path, hours: int, result: str) -> None:
    """A day behind, an hour's freshness is over; a day ahead, it lasts an hour from the log's time, not a day more."""
    then = datetime.now(UTC) + timedelta(hours=hours)
    value = json.dumps(event("pause.opened", opened(), id="o", time=then.isoformat())).encode()
    recorded = parse_instant(run("publish", "--json", folder=tmp_path, stdin=value).json["recorded_at"])
    [found] = run("decision", "T-1", "--json", folder=tmp_path).json
    assert found["checks"]["freshness"]["result"] == result
    if hours > 0:
        assert found["valid_until"] == format_instant(recorded + timedelta(hours=1))


def test_people_read_the_decision_and_its_reason_first(told: Told) -> None:
    """The first line says which way, and why; nothing of it is on stderr."""
    found = told.ask("decision", "T-1", "--pause", "p1", "--json").json
    shown = told.ask("decision", "T-1", "--pause", "p1")
    assert shown.out.splitlines()[0].split(maxsplit=1) == [found["decision"], found["reason"]]
    assert (shown.code, shown.err) == (0, "")
    for arguments in (("packet", "T-1", "--pause", "p1"), ("trail", "T-1"), ("table",), ("decision", "T-none")):
        said = told.ask(*arguments)
        assert (said.code, said.err) == (0, "")
        assert said.out.strip()
        assert "\x1b" not in said.out


def test_addresses_come_from_flags_then_the_environment_then_defaults(told: Told, tmp_path: Path) -> None:
    """The index lies in the embedded log's own file unless it is told another."""
    log = url(told.folder / "pauseledger.db")
    by_environment = run("trail", "T-1", "--json", folder=tmp_path, env={"PAUSELEDGER_LOG": log})
    assert len(by_environment.json) == 5
    assert list(tmp_path.iterdir()) == []
    env = {"PAUSELEDGER_LOG": log, "PAUSELEDGER_INDEX": "sqlite:///own.db"}
    assert len(run("trail", "T-1", "--json", folder=tmp_path, env=env).json) == 5
    assert (tmp_path / "own.db").exists()
    env = {"PAUSELEDGER_LOG": "sqlite:///wrong.db", "PAUSELEDGER_INDEX": "sqlite:///wrong-too.db"}
    flags = ("--log", log, "--index", "sqlite:///by-flag.db")
    assert len(run("trail", "T-1", "--json", *flags, folder=tmp_path, env=env).json) == 5
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["by-flag.db", "own.db"]


def test_rebuild_says_how_many_and_how_long(told: Told) -> None:
    """Entries and seconds, as JSON; the decisions are the same afterwards."""
    before = told.ask("trail", "T-1", "--json").out
    found = told.ask("rebuild", "--json").json
    assert (set(found), found["entries"]) == ({"entries", "seconds"}, 5)
    assert told.ask("trail", "T-1", "--json").out == before


@pytest.mark.kafka
def test_topic_create_makes_what_a_ledger_needs(tmp_path: Path, broker: Any) -> None:
    """Six partitions unless told, as section 2 says; a second time is wrong usage, and so is an embedded log."""
    import uuid

    address = f"kafka://{broker.address}/{uuid.uuid4()}"
    made = run("topic", "create", "--json", "--log", address, folder=tmp_path)
    assert (made.json["topic"], made.json["partitions"]) == (address.rpartition("/")[2], 6)
    wanted = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete", "retention.ms": "-1"}
    assert wanted.items() <= made.json["settings"].items()
    again = run("topic", "create", "--json", "--log", address, folder=tmp_path)
    assert (again.code, again.out, len(again.err.splitlines())) == (2, "", 1)
    assert run("topic", "create", "--log", "sqlite:///x.db", folder=tmp_path).code == 2
    few = run("topic", "create", "--durable", "--log", address + "d", folder=tmp_path)
    assert (few.code, len(few.err.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("decision", "T-1", "--at", "yesterday"),
        ("decision", "T-1", "--at", "2026-03-28T09:00:00"),
        ("trail", "T-1", "--at", ""),
        ("decision",),
        ("publish", "--timeout", "-1"),
        ("publish", "--timeout", "nan"),
        ("publish", "not-there.jsonl"),
        ("nonsense",),
        ("decision", "T-1", "--log", "http://x/y"),
        ("decision", "T-1", "--log", "kafka://x/y"),
        ("decision", "T-1", "--log", "sqlite:///:memory:"),
        ("decision", "T-1", "--index", "kafka://h:1/t"),
        ("decision", "T-1", "--index", "mysql://h/t"),
        ("topic", "create", "--partitions", "0", "--log", "kafka://h:1/t"),
    ],
)
def test_wrong_usage_exits_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Before anything is opened or made; never a traceback."""
    found = run(*arguments, folder=tmp_path)
    assert (found.code, found.out) == (2, "")
    assert "Traceback" not in found.err
    assert found.err.strip()
    assert list(tmp_path.iterdir()) == []


def test_the_listings_say_what_is_due_owed_and_owned(told: Told) -> None:
    """Now, by owner, and then: at 09:01 there was a plan that could go on; the grant of 09:02 is a debt."""
    assert [(one["pause"], one["rule"], one["held_by"], one["since"]) for one in told.ask("inbox", "--json").json] == [
        ("p1", "indeterminate", [], at(2)),
        ("a-later-one", "indeterminate", ["p1"], at(2)),
    ]
    assert told.ask("inbox", "--json", "--at", at(1)).json == []
    assert told.ask("inbox", "--json", "--owner", "user:nobody").json == []
    (debt,) = told.ask("debts", "--json", "--owner", DANA).json
    assert (debt["pause"], debt["since"], debt["due"], debt["overdue"]) == ("p1", at(2), None, False)
    assert told.ask("debts", "--json", "--at", at(1)).json == []
    found = told.ask("deadlines", "--json", "--at", at(60)).json
    assert [(one["pause"], one["kind"], one["at"], one["passed"]) for one in found] == [
        ("p1", "freshness", at(60), True),
        ("a-later-one", "freshness", at(61), False),
    ]
    (owned,) = told.ask("owners", "--json").json
    assert (owned["execution"], owned["role"], owned["owner"]) == ("run-1", "canonical", DANA)
    assert told.ask("owners", "--changes", "--json").json == []


def test_the_listings_are_readable(told: Told) -> None:
    """A line each under a heading; a sentence where there is nothing."""
    lines = told.ask("inbox").out.splitlines()
    assert [line.split()[0] for line in lines] == ["decision", "reconcile", "reconcile"]
    for command in ("debts", "deadlines", "owners"):
        assert DANA in told.ask(command).out
        assert told.ask(command, "--owner", "nobody").out.count("\n") == 1
