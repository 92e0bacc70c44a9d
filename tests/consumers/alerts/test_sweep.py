"""A sweep: where it looks, whom it waits for, and what may happen under it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from consumers.alerts import sweep as sweep_module
from consumers.alerts.store import AlertStore
from consumers.operations import metrics
from tests.consumers.alerts.watching import EVERY, START, Watched, ids, kept, watched
from tests.faults.ledgers import put
from tests.faults.lines import DANA, line

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def hardly_any_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else indexes here, and to wait for nobody takes two seconds."""
    monkeypatch.setattr(sweep_module, "PATIENCE_SECONDS", 0.02)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as made:
        yield made


def test_nothing_is_told_while_the_index_is_behind(told: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where folding takes longer than a step may, the next one goes on."""
    monkeypatch.setattr(sweep_module, "FOLDING_SECONDS", 0.0)
    monkeypatch.setattr(sweep_module, "PATIENCE_SECONDS", 0.1)
    told.open_pause(heartbeat_timeout="PT10M")
    with told.watcher() as watcher:
        told.at(11 * MINUTE)
        watcher.step()
        assert (watcher.swept_at, kept(watcher)) == (None, [])
        monkeypatch.setattr(sweep_module, "FOLDING_SECONDS", 5.0)
        assert told.look(watcher) == [("09:10:00.000Z", "heartbeat", "T-1")]


def test_others_that_index_are_waited_for(told: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process folds in time is not folded here; a watcher that is alone soon waits for nobody."""
    monkeypatch.setattr(sweep_module, "PATIENCE_SECONDS", 1.0)
    naps = []
    with told.watcher() as watcher, closing(told.ledger()) as other:
        with pytest.MonkeyPatch.context() as patched:

            def others_turn(seconds: float) -> None:
                naps.append(seconds)
                other.indexer.catch_up()

            patched.setattr(sweep_module.time, "sleep", others_turn)
            patched.setattr(watcher._ledger.indexer, "step", None)
            told.open_pause(fresh_for="PT10M")
            told.at(11 * MINUTE)
            assert len(told.look(watcher)) == 1
            told.say("note.added", text="x")
            told.look(watcher)
            assert naps.count(sweep_module._LOOK_AGAIN_SECONDS) == 2
        monkeypatch.setattr(sweep_module, "PATIENCE_SECONDS", 0.1)
        sleep = time.sleep
        monkeypatch.setattr(sweep_module.time, "sleep", lambda seconds: (naps.append(seconds), sleep(seconds)))
        waited = []
        for number in range(3):
            naps.clear()
            told.say("note.added", text=f"{number}")
            told.look(watcher)
            waited.append(sweep_module._LOOK_AGAIN_SECONDS in naps)
        assert waited == [True, False, False]


def test_an_index_that_is_emptied_under_a_sweep_tells_nothing(told: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a history has the pause and not its heartbeat: what was read of it is dropped."""
    told.open_pause(heartbeat_timeout="PT10M")
    told.at(9 * MINUTE)
    told.say("heartbeat.recorded")
    told.at(11 * MINUTE)
    with told.watcher() as watcher, closing(told.ledger()) as other:
        assert told.look(watcher) == []
        untold = AlertStore.untold

        def emptied(store: AlertStore, *asked: Any) -> Any:
            monkeypatch.setattr(AlertStore, "untold", untold)
            monkeypatch.setattr("consumers.indexer.BATCH_ENTRIES", 1)
            other.index.start_over()
            other.indexer.position(0)
            with pytest.MonkeyPatch.context() as first_only:
                first_only.setattr(other.indexer, "_known", None)
                other.indexer.step(0)
            return untold(store, *asked)

        monkeypatch.setattr(AlertStore, "untold", emptied)
        watcher.take(EVERY)
        watcher.step()
        assert kept(watcher) == []
        assert told.look(watcher) == []
        told.at(20 * MINUTE)
        assert told.look(watcher) == [("09:19:00.000Z", "heartbeat", "T-1")]


def test_an_alert_is_counted_by_who_keeps_it(told: Watched) -> None:
    """Two that watch the same find the same: the metric counts it once."""
    counted = metrics.ALERTS.labels("heartbeat")._value
    before = counted.get()
    told.open_pause(heartbeat_timeout="PT10M")
    told.at(11 * MINUTE)
    with told.watcher() as one, told.watcher() as other:
        assert told.look(one) == told.look(other) == [("09:10:00.000Z", "heartbeat", "T-1")]
    assert counted.get() - before == 1


def test_many_at_once_come_page_by_page(told: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page and more than a step may tell: none is left out, none comes twice, none of the living."""
    monkeypatch.setattr(sweep_module, "PAGE", 7)
    monkeypatch.setattr(sweep_module, "MOST_ALERTS", 20)
    data = {"execution": "run-1", "pause": "p1", "owner": DANA}
    terms = [{"fresh_for": f"PT{1 + n % 5}M", "heartbeat_timeout": "PT10M"} for n in range(60)] + [
        {"fresh_for": "PT3H"}
    ]
    put(
        told.log,
        [(f"T-{n}", line("pause.opened", data | one, subject=f"T-{n}", id="o")) for n, one in enumerate(terms)],
    )
    told.at(20 * MINUTE)
    with told.watcher() as watcher:
        steps = 0
        while watcher.swept_at is None:
            watcher.step()
            steps += 1
        assert steps >= 6
        assert len(kept(watcher)) == len(ids(watcher)) == 120
        assert watcher.counts == {"freshness": 60, "heartbeat": 60}


def test_most_sweeps_look_at_what_passed_lately(told: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that was set when it was past already is told by the next one that looks at all, each minute."""
    told.open_pause("T-1", fresh_for="PT10M")
    told.at(60 * MINUTE)
    with told.watcher() as watcher:

        def swept() -> list[str]:
            watcher._next_sweep = 0.0
            watcher.step()
            return [subject for _, _, subject in kept(watcher)]

        assert swept() == ["T-1"]
        told.open_pause("T-long-past", fresh_for=None, fresh_until="2026-03-28T09:20:00Z")
        told.open_pause("T-just-past", fresh_for=None, fresh_until="2026-03-28T09:59:30Z")
        told.open_pause("T-soon", fresh_for="PT1M")
        assert swept() == ["T-1", "T-just-past"]
        told.at(62 * MINUTE)
        assert swept() == ["T-1", "T-just-past", "T-soon"]
        clock = time.monotonic
        monkeypatch.setattr(sweep_module.time, "monotonic", lambda: clock() + sweep_module.WHOLE_SECONDS)
        assert swept() == ["T-1", "T-long-past", "T-just-past", "T-soon"]
        told.open_pause("T-as-old", fresh_for=None, fresh_until="2026-03-28T09:21:00Z")
        assert "T-as-old" not in swept()
        watcher.take(EVERY)  # as after another watcher, which may have left anything undone
        assert "T-as-old" in swept()


def test_time_that_goes_back_is_looked_at_again(told: Watched) -> None:
    """A sweep that was too early must not hide what is set, and passes, before that time comes again."""
    with told.watcher() as watcher:
        told.our_time.now = START + 365 * 24 * 60 * MINUTE
        told.look(watcher)
        told.our_time.now = START
        told.open_pause(fresh_for="PT10M")
        told.our_time.now = START + 20 * MINUTE
        watcher._next_sweep = 0.0
        watcher.step()
        assert len(kept(watcher)) == 1
