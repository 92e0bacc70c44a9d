"""The benchmarks run: each measurement with tiny sizes, and what is written has the shape that readers expect."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.__main__ import MEASUREMENTS, measured
from bench.rounds import Figure, Reported, in_turns
from bench.sizes import FULL, SMALL
from bench.workload import Workload, one_long_life, records
from ledger.fold import Replay
from ledger.record import Record


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAUSELEDGER_BENCH_FOLDER", str(tmp_path))
    return tmp_path


START = datetime(2026, 3, 28, 9, tzinfo=UTC)


ON_KAFKA = ["kafka-index", "latency", "databases", "following"]


def shape_is_right(figure: dict[str, Any]) -> bool:
    if "reported" in figure:
        # What is added to something is a difference: of a few runs it may be noise on either side.
        right = (one["unit"] and (one["value"] > 0 or one["what"].startswith("added")) for one in figure["reported"])
        return all(right) and bool(figure["title"])
    assert {"name", "title", "unit", "target", "ours", "theirs", "notes"} <= figure.keys()
    assert figure["target"].keys() in ({"at_least"}, {"at_most"})
    if "skipped" in figure:
        return True
    assert figure["ratio"]["min"] <= figure["ratio"]["of_medians"] <= figure["ratio"]["max"]
    assert all(len(figure[side]["each"]) == SMALL.rounds for side in ("ours", "theirs"))
    return isinstance(figure["met"], bool)


@pytest.mark.parametrize("name", [name for name in MEASUREMENTS if name not in ON_KAFKA])
def test_each_measurement_runs(name: str, here: Path) -> None:
    """Every measurement on the embedded log gives figures, with the ratio, its spread and the target."""
    figures = [figure.as_dict() for figure in measured([name], SMALL)]
    assert figures
    assert all(shape_is_right(figure) for figure in figures)
    assert list(here.iterdir()) == []


@pytest.mark.kafka
@pytest.mark.parametrize("name", ON_KAFKA)
def test_the_kafka_measurements_run(name: str, here: Path) -> None:
    """The figures of the Kafka index are measured on a real broker, or say why they were not."""
    figures = [figure.as_dict() for figure in measured([name], SMALL)]
    assert figures
    assert all(shape_is_right(figure) for figure in figures)


def made_up(name: str, **more: Any) -> Figure:
    return Figure(name, name.title(), "entries/s", "ours", "theirs", 0.5, True, **more)


def test_a_run_is_written_as_numbers_table_and_picture(tmp_path: Path) -> None:
    """All three files come from the same figures, and a figure that was skipped says why in the table."""
    met, missed = made_up("met", ours_each=[6.0], theirs_each=[10.0]), made_up("missed", ours_each=[1], theirs_each=[9])
    lag = Reported("lag", "Lag", [("median", 3.0, "ms")])
    run = report.as_dict([met, missed, made_up("gone", skipped="no broker"), lag], seconds=1.0)
    report.write(run, tmp_path)
    assert json.loads((tmp_path / "bench.json").read_text()) == json.loads(json.dumps(run))
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| met |" in page
    assert "| **not met** |" in page
    assert "not measured: no broker" in page
    assert "| **Lag** | median: 3 ms |" in page
    assert "<svg" in (tmp_path / "bench.svg").read_text()


def test_a_run_names_no_host() -> None:
    """What is said of the machine is what a reader needs to compare, and not whose machine it is."""
    assert not {"host", "node", "user", "path"} & report.machine().keys()


def test_the_two_sides_take_turns() -> None:
    """One turn of each goes before and is not counted, and then they alternate."""
    calls: list[str] = []

    def side(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    assert in_turns("it", lambda: side("A"), lambda: side("B"), 2) == ([3.0, 5.0], [4.0, 6.0])
    assert calls == ["A", "B"] * 3


def test_full_runs_have_enough_rounds() -> None:
    """A median of fewer than five rounds is none."""
    assert FULL.rounds >= 5


def test_the_same_seed_gives_the_same_entries() -> None:
    """The workload is the same, byte for byte, whenever it is made."""
    assert records(Workload(6), 500) == records(Workload(6), 500)
    assert records(Workload(6, seed=2), 500) != records(Workload(6), 500)


@pytest.mark.parametrize("partitions", [1, 6])
def test_the_workload_is_like_life(partitions: int) -> None:
    """Most entries are accepted, pauses are executed among them, and there are a few of every other verdict."""
    replay = Replay(partitions)
    verdicts = replay.take_all(records(Workload(partitions, active=50), 6_000))
    shares = {name: count / len(verdicts) for name, count in Counter(one.verdict for one in verdicts).items()}
    assert shares["accepted"] > 0.9
    assert {"refused", "duplicate", "malformed"} < shares.keys()
    assert max(shares["duplicate"], shares["malformed"]) < 0.02
    assert any(pause.outcome == "executed" for item in replay.items.values() for pause in item.pauses.values())
    assert 15 < len(verdicts) / len(replay.items) < 25


def test_a_long_life_is_of_one_work_item() -> None:
    """The long work item goes on and on, and everything it says is accepted but what a visitor says."""
    drafts = list(islice(one_long_life("T", 700, START), 700))
    replay = Replay(1)
    placed = [Record(0, at, 1_774_688_400_000 + at, *draft[1:]) for at, draft in enumerate(drafts)]
    assert {one.code for one in replay.take_all(placed)} <= {
        "ok",
        "not-owner",
        "decision-review",
        "decision-reconcile",
        "stale-fence",
    }
    assert replay.items["T"].version == 700
