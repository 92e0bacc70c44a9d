"""The watcher: which deadlines it tells, when, once each, and what an alert says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consumers.alerts import sweep as sweep_module
from consumers.alerts.alert import alert_id
from consumers.settings import Settings
from consumers.watcher import open_job
from ledger.errors import LogChanged, UnusableLog, WrongUsage
from ledger.logs.sqlite import SqliteLog
from tests.consumers.alerts.receiver import SECRET
from tests.consumers.alerts.watching import EVERY, GRACE, MILLISECOND, START, Watched, ids, kept, watched
from tests.faults.ledgers import Wrapped, url
from tests.faults.lines import DANA

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def hardly_any_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else indexes here, and to wait for nobody takes two seconds."""
    monkeypatch.setattr(sweep_module, "PATIENCE_SECONDS", 0.02)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as made:
        yield made


def test_each_kind_of_deadline_is_told_when_it_has_passed(told: Watched) -> None:
    """Not a millisecond before its instant and the grace, and once however often it is looked at."""
    told.open_pause(fresh_for="PT30M", heartbeat_timeout="PT10M", reconcile_within="PT20M")
    told.say("side_effect.attempted")
    wanted = [("09:10:00.000Z", "heartbeat", "T-1"), ("09:20:00.000Z", "debt", "T-1")]
    wanted.append(("09:30:00.000Z", "freshness", "T-1"))
    with told.watcher() as watcher:
        for count, minutes in enumerate((10, 20, 30), 1):
            told.our_time.now = START + minutes * MINUTE + GRACE - MILLISECOND
            assert told.look(watcher) == wanted[: count - 1]
            told.our_time.now += MILLISECOND
            assert told.look(watcher) == wanted[:count]
            assert told.look(watcher) == wanted[:count]
        assert watcher.counts == {"heartbeat": 1, "debt": 1, "freshness": 1}


def test_a_deadline_with_microseconds_is_told_at_its_instant(told: Watched) -> None:
    """The table's time is cut to milliseconds, and the alert waits for the rest of it."""
    told.open_pause(fresh_for=None, fresh_until="2026-03-28T09:30:00.000900Z")
    with told.watcher(grace=timedelta(0)) as watcher:
        told.our_time.now = START + 30 * MINUTE + timedelta(microseconds=899)
        assert told.look(watcher) == []
        told.our_time.now += timedelta(microseconds=1)
        assert told.look(watcher) == [("09:30:00.000Z", "freshness", "T-1")]


def test_a_heartbeat_that_is_on_the_log_is_seen_before_anything_is_told(told: Watched) -> None:
    """Nobody has indexed it: the sweep folds it itself, and tells nothing."""
    told.open_pause(heartbeat_timeout="PT10M")
    with told.watcher() as watcher:
        assert told.look(watcher) == []
        told.at(9 * MINUTE)
        told.say("heartbeat.recorded")
        told.at(11 * MINUTE)
        assert told.look(watcher) == []
        told.at(20 * MINUTE)
        assert told.look(watcher) == [("09:19:00.000Z", "heartbeat", "T-1")]


def test_a_deadline_that_moved_is_another_one(told: Watched) -> None:
    """After a recheck the pause has a new deadline, and its own alert when that passes."""
    told.open_pause(fresh_for="PT10M")
    with told.watcher() as watcher:
        told.at(11 * MINUTE)
        told.look(watcher)
        told.say("inputs.rechecked", fresh_for="PT10M")
        assert len(told.look(watcher)) == 1
        told.at(22 * MINUTE)
        assert [one[0] for one in told.look(watcher)] == ["09:10:00.000Z", "09:21:00.000Z"]
        assert len(ids(watcher)) == 2


def test_what_was_met_in_time_or_has_no_deadline_is_not_told(told: Watched) -> None:
    """Rechecked before it passed, closed, settled, waived by nobody's due: none of them."""
    told.open_pause("T-rechecked", fresh_for="PT10M")
    told.open_pause("T-closed", fresh_for="PT10M")
    told.open_pause("T-settled", fresh_for="PT2H", reconcile_within="PT10M")
    told.open_pause("T-undated", fresh_for="PT2H")
    told.say("side_effect.attempted", "T-settled")
    told.say("side_effect.attempted", "T-undated")
    told.at(9 * MINUTE)
    told.say("inputs.rechecked", "T-rechecked", fresh_for="PT2H")
    told.say("pause.closed", "T-closed", outcome="abandoned")
    told.say("side_effect.observed", "T-settled", status="happened")
    told.at(60 * MINUTE)
    with told.watcher() as watcher:
        assert told.look(watcher) == []


def test_changed_inputs_pass_at_once(told: Watched) -> None:
    """The deadline came forward to the instant of the change, which has passed."""
    told.open_pause()
    told.at(MINUTE)
    told.say("inputs.changed", reason="a new price list")
    with told.watcher() as watcher:
        assert told.look(watcher) == [("09:01:00.000Z", "freshness", "T-1")]


def test_a_closed_pause_still_owes(told: Watched) -> None:
    """A debt falls due after the execution has finished, and the alert says what to do with it."""
    told.open_pause(reconcile_within="PT10M")
    told.say("side_effect.attempted")
    told.say("execution.finished")
    told.at(11 * MINUTE)
    with told.watcher() as watcher:
        assert told.look(watcher) == [("09:10:00.000Z", "debt", "T-1")]
        (one,) = watcher.store.told()
        event = json.loads(one.alert.content)
        assert event["data"]["decision"]["decision"] == "closed"
        assert event["data"]["settles"] == event["data"]["set_by"] == "0:1"
        assert "settles 0:1" in event["data"]["to_do"]


def test_what_an_alert_says(told: Watched) -> None:
    """A CloudEvent with the stable id, the deadline as its time, and the decision as of now."""
    told.open_pause(heartbeat_timeout="PT10M")
    told.at(11 * MINUTE)
    with told.watcher() as watcher:
        told.look(watcher)
        (one,) = watcher.store.told()
        topic_id = told.log.identity().topic_id
        at = "2026-03-28T09:10:00.000Z"
        event = json.loads(one.alert.content)
        data = event.pop("data")
        assert event == {
            "specversion": "1.0",
            "id": alert_id(topic_id, "heartbeat", "T-1", "p1", at),
            "source": "log",
            "type": "pauseledger.alert.heartbeat_lapsed",
            "subject": "T-1",
            "time": at,
            "datacontenttype": "application/json",
        }
        assert re.fullmatch(r"alert-[0-9a-f]{32}", event["id"])
        decision = data.pop("decision")
        assert (decision["decision"], decision["rule"], decision["as_of"]) == (
            "review",
            "unowned",
            "2026-03-28T09:11:00.000Z",
        )
        assert DANA in data.pop("to_do")
        assert data == {
            "kind": "heartbeat",
            "execution": "run-1",
            "pause": "p1",
            "owner": DANA,
            "deadline": at,
            "set_by": "0:0",
            "settles": None,
            "noticed_at": "2026-03-28T09:11:00.000Z",
            "ledger": topic_id,
        }


def test_every_part_of_a_deadline_is_part_of_its_id() -> None:
    """Nor can two of them be read as one by moving a letter from one part to the next."""
    one = ("topic", "debt", "T-1", "p1", "2026-03-28T09:10:00.000Z")
    others = [(*one[:n], one[n] + "x", *one[n + 1 :]) for n in (0, 2, 3, 4)]
    others += [("topic", "freshness", *one[2:]), ("topic", "debt", "T-1p", "1", one[4])]
    assert len({alert_id(*each) for each in (one, *others)}) == len(others) + 1  # type: ignore[arg-type]
    assert alert_id(*one) == "alert-20290023891c931e4f1c7cf99329db93"  # type: ignore[arg-type]  # told already: for ever


def test_our_clock_is_behind_the_logs(told: Watched) -> None:
    """What a later entry of the partition proves to have passed has passed, though it names another work item."""
    told.open_pause(heartbeat_timeout="PT10M")
    told.log_time.now = START + 10 * MINUTE - MILLISECOND
    told.say("note.added", "T-2", text="x")
    with told.watcher() as watcher:
        assert told.look(watcher) == []
        told.log_time.now += MILLISECOND
        told.say("note.added", "T-2", text="y")
        assert told.look(watcher) == [("09:10:00.000Z", "heartbeat", "T-1")]


def test_our_clock_jumps(told: Watched) -> None:
    """Ahead: it tells too early, once; back again: it neither tells it again nor forgets."""
    told.open_pause(fresh_for="PT10M")
    with told.watcher() as watcher:
        told.our_time.now = START + 365 * 24 * 60 * MINUTE
        assert len(told.look(watcher)) == 1
        told.our_time.now = START
        assert len(told.look(watcher)) == 1
        told.our_time.now = START + 11 * MINUTE
        assert len(told.look(watcher)) == 1
    assert watcher.counts == {"freshness": 1}


def test_a_restart_tells_nothing_again(told: Watched) -> None:
    """Nor does a rebuild of the index; a database that is lost gives the same ids again."""
    told.open_pause(fresh_for="PT10M")
    told.at(11 * MINUTE)
    with told.watcher() as watcher:
        told.look(watcher)
        first = ids(watcher)
    with told.watcher() as watcher:
        told.look(watcher)
        assert watcher.counts == {}
    with closing(told.ledger()) as ledger:
        ledger.index.start_over()
    with told.watcher() as watcher:
        told.look(watcher)
        assert (watcher.counts, ids(watcher)) == ({}, first)
        watcher.store._recorder.execute([("DELETE FROM alerts", ())])
        told.look(watcher)
        assert ids(watcher) == first


def test_another_log_is_not_watched(told: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that was made again under the watcher halts it."""
    told.open_pause()
    with told.watcher() as watcher:
        told.look(watcher)
        known = told.log.identity()
        monkeypatch.setattr(SqliteLog, "identity", lambda _: known._replace(topic_id="another"))
        watcher.take(EVERY)
        with pytest.raises(LogChanged):
            watcher.step()


def test_without_partitions_there_is_nothing_to_do(told: Watched) -> None:
    """Another watcher has them."""
    told.open_pause(fresh_for="PT10M")
    told.at(11 * MINUTE)
    with told.watcher() as watcher:
        watcher.take(set())
        assert watcher.step() == 0
        assert kept(watcher) == []


def test_an_entry_recorded_after_the_ends_were_asked_for_is_for_the_next_sweep(told: Watched) -> None:
    """What others index in the middle of a sweep never makes a row disagree with what is told."""
    told.open_pause(heartbeat_timeout="PT10M")
    told.at(9 * MINUTE)
    told.say("note.added", text="x")
    told.at(11 * MINUTE)
    with told.watcher() as watcher:
        wrapped = Wrapped(watcher._ledger.log)
        wrapped.after_read = lambda: told.say("inputs.rechecked", fresh_for="PT1H")
        watcher._ledger.indexer.log = wrapped
        assert told.look(watcher) == [("09:10:00.000Z", "heartbeat", "T-1")]
        told.at(20 * MINUTE)
        assert told.look(watcher) == [("09:10:00.000Z", "heartbeat", "T-1")]
        told.at(22 * MINUTE)
        assert len(told.look(watcher)) == 2


def test_the_job_opens_by_its_settings(tmp_path: Path) -> None:
    """A ledger that is there, webhooks with a secret; what is missing is said before anything is sent."""
    with pytest.raises(UnusableLog):
        open_job(Settings.read(url(tmp_path / "none.db")))
    SqliteLog(tmp_path / "l.db").close()
    with pytest.raises(WrongUsage, match="PAUSELEDGER_WEBHOOK_SECRET"):
        open_job(Settings.read(url(tmp_path / "l.db"), webhooks="https://a.example/"))
    settings = Settings.read(url(tmp_path / "l.db"), webhooks="https://a.example/", webhook_secret=SECRET)
    with closing(open_job(settings)) as job:
        job.take(EVERY)
        assert job.step() == 0
        assert job.swept_at is not None
        assert datetime.now(UTC) - job.swept_at < timedelta(minutes=1)
