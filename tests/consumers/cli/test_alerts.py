"""``pauseledger alerts``: what was told, dead letters and their replay, and what nobody ever decided."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from consumers.alerts import sweep
from consumers.alerts.addresses import target_name
from tests.consumers.alerts.receiver import Receiver, receiving
from tests.consumers.alerts.watching import Watched, run_until, watched
from tests.faults.command import Result, run
from tests.faults.ledgers import url
from tests.faults.lines import DANA

MINUTE = timedelta(minutes=1)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(sweep, "PATIENCE_SECONDS", 0.02)
    with watched(tmp_path) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def ask(told: Watched, *arguments: str) -> Result:
    return run("alerts", *arguments, "--log", url(told.path), folder=told.folder)


def test_alerts_are_listed_with_their_deliveries(told: Watched, receiver: Receiver) -> None:
    """Newest first, of one owner, for people and for scripts, and never with an address's path."""
    told.open_pause("T-1", fresh_for="PT10M")
    told.open_pause("T-2", fresh_for="PT10M", owner="user:eve")
    assert ask(told).out == "No alert was noticed on this ledger: does a watcher run?\n"
    told.at(11 * MINUTE)
    with told.watcher(receiver.url) as watcher:
        run_until([watcher], lambda: len(receiver.posts) == 2, "the deliveries")
        run_until([watcher], lambda: set(watcher.store.tally()) == {(target_name(receiver.url), "delivered")}, "them")
    found = ask(told, "--json").json
    assert {one["id"] for one in found} == set(receiver.ids)
    (mine,) = ask(told, "--json", "--owner", DANA).json
    assert (mine["subject"], mine["kind"], mine["deadline"], mine["told"]) == (
        "T-1",
        "freshness",
        "2026-03-28T09:10:00.000Z",
        "delivered",
    )
    assert mine["noticed_at"] == "2026-03-28T09:11:00.000Z"
    assert mine["deliveries"] == [
        {
            "target": target_name(receiver.url),
            "state": "delivered",
            "attempts": 1,
            "next_attempt": None,
            "delivered_at": "2026-03-28T09:11:00.000Z",
            "said": "answered 204",
        }
    ]
    lines = ask(told).out.splitlines()
    assert lines[0].split() == ["deadline", "kind", "subject", "pause", "owner", "told", "id"]
    assert len(lines) == 3
    assert "hook" not in ask(told, "--json").out
    assert ask(told, "--dead").out == "No alert has a dead letter.\n"


def test_dead_letters_are_replayed(told: Watched, receiver: Receiver) -> None:
    """By their ids or all of them; the watcher then sends them, under the same ids."""
    for number in range(3):
        told.open_pause(f"T-{number}", fresh_for="PT10M")
    told.at(11 * MINUTE)
    receiver.status = 410
    name = target_name(receiver.url)
    with told.watcher(receiver.url) as watcher:
        run_until([watcher], lambda: watcher.store.tally() == {(name, "dead"): 3}, "dead letters")
        dead = [one["id"] for one in ask(told, "--dead", "--json").json]
        receiver.status = 200
        assert ask(told, "replay", dead[0], dead[0], "--json").json == {"replayed": 1}
        assert ask(told, "replay", dead[0]).out == "There was no dead letter to replay.\n"
        assert ask(told, "replay", "--all-dead").out == "Put 2 dead letters back in the queue.\n"
        told.at(2_000_000 * MINUTE)  # they are due by the clock of the command
        run_until([watcher], lambda: watcher.store.tally() == {(name, "delivered"): 3}, "the replay")
    assert sorted(receiver.ids) == sorted(dead * 2)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("replay",), 2, "Say what to replay."),
        (("replay", "x", "--all-dead"), 2, "Say what to replay."),
        (("replay", "alert-x"), 1, "There is no alert alert-x."),
        (("--dead", "--undecided"), 2, "Give one of them."),
        (("--json", "replay", "--all-dead"), 2, "Options of a command come after its name."),
    ],
)
def test_what_can_not_be_meant(told: Watched, arguments: tuple[str, ...], code: int, said: str) -> None:
    """One line on stderr, with its exit code."""
    done = ask(told, *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_where_no_ledger_is_none_is_made(tmp_path: Path) -> None:
    """To list its alerts must not leave a file that stands in the way of the log."""
    for arguments in (("alerts",), ("alerts", "replay", "--all-dead"), ("alerts", "--undecided")):
        assert run(*arguments, folder=tmp_path).code == 1
    assert list(tmp_path.iterdir()) == []


def test_what_expired_undecided_is_listed(told: Watched) -> None:
    """Open ones and those that ended so, longest ago first."""
    told.open_pause("T-1", fresh_for="PT10M")
    told.open_pause("T-2", fresh_for="PT5M", owner="user:eve")
    told.at(11 * MINUTE)
    told.say("execution.finished", "T-2", outcome="gave up")
    found = ask(told, "--undecided", "--json").json
    assert [(one["subject"], one["state"], one["outcome"], one["since"][11:19]) for one in found] == [
        ("T-2", "closed", "finished", "09:05:00"),
        ("T-1", "open", None, "09:10:00"),
    ]
    assert [one["subject"] for one in ask(told, "--undecided", "--json", "--owner", DANA).json] == ["T-1"]
    assert "T-2" in ask(told, "--undecided").out
