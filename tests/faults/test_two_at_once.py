"""Two at once, on one file or one partition: the same verdicts as one after the other, and nothing counted twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumers import indexer as indexer_module
from consumers.indexer import Indexer
from ledger.errors import LogChanged
from tests.broker import Broker
from tests.faults.command import complete_lines, run, start
from tests.faults.ledgers import Wrapped, caught_up, dump, folded, opened, put, url
from tests.faults.lines import day, note

LINES = 2_000


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty log of each kind; of three partitions on Kafka."""
    if request.param == "sqlite":
        return url(tmp_path / "log.db")
    broker: Broker = request.getfixturevalue("broker")
    return f"kafka://{broker.address}/{request.getfixturevalue('topic')}"


def fill(log_url: str, index: Path, values: list[bytes]) -> None:
    """Record lines without indexing them."""
    with opened(log_url, index) as ledger:
        put(ledger.log, [(json.loads(value)["subject"], value) for value in values])


def test_two_publish_processes_at_once(log_url: str, tmp_path: Path) -> None:
    """Both get the fold's verdicts: of what both sent, one has the acceptance, the other its duplicate."""
    values = list(day(LINES))
    shared, halves = values[: LINES // 5], (values[LINES // 5 :: 2], values[LINES // 5 + 1 :: 2])
    addresses = ("--json", "--log", log_url, "--index", url(tmp_path / "index.db"))
    processes = []
    for number, own in enumerate(halves):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(b"\n".join(shared + own) + b"\n")
        processes.append(start("publish", str(path), *addresses, folder=tmp_path))
    printed = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, b"")
        printed.append(complete_lines(out))
    check_verdicts(printed, len(shared))
    tables = dump(tmp_path / "index.db")
    assert len(tables["trail"]) == LINES + len(shared)
    assert caught_up(log_url, tmp_path / "fresh.db") == len(tables["trail"])
    assert dump(tmp_path / "fresh.db") == tables
    with opened(log_url, tmp_path / "fresh.db") as ledger:
        assert sorted(folded(ledger.log)[1]) == sorted(row[6] for row in tables["trail"])


def check_verdicts(printed: list[list[dict[str, Any]]], shared: int) -> None:
    """Each printed a verdict a line, no entry is printed twice, and what both sent counts once."""
    assert [len(one) for one in printed] == [(LINES - shared) // 2 + shared] * 2
    entries = {(one["partition"], one["offset"]) for lines in printed for one in lines}
    assert len(entries) == LINES + shared
    for first, second in zip(printed[0][:shared], printed[1][:shared], strict=True):
        assert "duplicate" in (first["verdict"], second["verdict"])
        again, once = (first, second) if first["verdict"] == "duplicate" else (second, first)
        assert once["verdict"] != "duplicate"
        assert again["first"] == {name: once[name] for name in again["first"] if name not in ("reason", "first")} | (
            {"reason": once["reason"]} if "reason" in again["first"] else {}
        )


def raced(log_url: str, index: str, happens: Callable[[Indexer], object], batch: int = 100) -> int:
    """Catch up while, after the first batch was read and before it is written, something else happens to the index."""
    with opened(log_url, index) as ledger:
        wrapped = Wrapped(ledger.log)
        indexer = Indexer(wrapped, ledger.index)
        with opened(log_url, index) as other:
            wrapped.after_read = lambda: happens(other.indexer)
            return indexer.catch_up()


def test_an_indexer_that_loses_every_race_still_ends_right(
    log_url: str, new_index: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever another indexer does between a read and its write, nothing is folded twice and nothing left out."""
    monkeypatch.setattr(indexer_module, "BATCH_ENTRIES", 100)
    fill(log_url, tmp_path / "unused.db", list(day(1_000)))
    caught_up(log_url, tmp_path / "alone.db")
    expected = dump(tmp_path / "alone.db")

    def one_batch(other: Indexer) -> None:
        assert sum(len(other.step(partition, wait_seconds=5.0)) for partition in range(other.log.partitions)) >= 100

    happenings: dict[str, Callable[[Indexer], object]] = {
        "a batch": one_batch,
        "all": lambda other: other.catch_up(),
        "a rebuild begun": lambda other: other.index.start_over(),
        "a rebuild done": lambda other: (other.index.start_over(), other.index.remember(other.identity)),
    }
    folded_here = {}
    for name, happens in happenings.items():
        index = new_index()
        folded_here[name] = raced(log_url, index, happens)
        if name.startswith("a rebuild"):
            caught_up(log_url, index)
        assert dump(index) == expected, name
    assert folded_here["all"] == 0
    assert folded_here["a batch"] <= 900


def test_an_old_indexer_comes_back_after_a_rebuild(
    log_url: str, new_index: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood at the end when the index was emptied: it finds that out, and folds from the start."""
    monkeypatch.setattr(indexer_module, "BATCH_ENTRIES", 100)
    index = new_index()
    fill(log_url, tmp_path / "unused.db", list(day(500)))
    with opened(log_url, index) as ledger:
        ledger.indexer.catch_up()
        with opened(log_url, index) as other:
            other.index.start_over()
            other.index.remember(other.log.identity())
        fill(log_url, tmp_path / "unused.db", [note(n, f"T-{n}") for n in range(1_000, 1_200)])
        assert ledger.indexer.catch_up() == 700
    caught_up(log_url, tmp_path / "alone.db")
    assert dump(index) == dump(tmp_path / "alone.db")


def test_four_indexers_at_once(
    log_url: str, new_index: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four threads catch up into one new file: together they fold each entry once."""
    monkeypatch.setattr(indexer_module, "BATCH_ENTRIES", 50)
    fill(log_url, tmp_path / "unused.db", list(day(LINES)))
    index = new_index()
    caught_up(log_url, tmp_path / "alone.db")
    counts: list[int] = []
    begin = threading.Barrier(4)

    def catch_up() -> None:
        with opened(log_url, index) as ledger:
            begin.wait(30)
            counts.append(ledger.indexer.catch_up())

    threads = [threading.Thread(target=catch_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == LINES
    assert dump(index) == dump(tmp_path / "alone.db")


def test_two_processes_catch_up_into_one_index(log_url: str, new_index: Callable[[], str], tmp_path: Path) -> None:
    """Two commands that index what they need, at the same moment: both end well, and the index is whole."""
    fill(log_url, tmp_path / "unused.db", list(day(LINES)))
    index = new_index()
    addresses = ("--json", "--log", log_url, "--index", index)
    processes = [start("trail", f"T-{n}", *addresses, folder=tmp_path) for n in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, b"")
        assert len(json.loads(out)) == LINES // 200
    caught_up(log_url, tmp_path / "alone.db")
    assert dump(index) == dump(tmp_path / "alone.db")


def test_two_rebuilds_at_once_leave_one_whole_index(log_url: str, new_index: Callable[[], str], tmp_path: Path) -> None:
    """Each empties what the other has begun; whoever is fenced reads on, and the result is whole."""
    fill(log_url, tmp_path / "unused.db", list(day(LINES)))
    index = new_index()
    caught_up(log_url, index)
    expected = dump(index)
    addresses = ("--json", "--log", log_url, "--index", index)
    processes = [start("rebuild", *addresses, folder=tmp_path) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, b"")
    assert run("trail", "T-0", *addresses, folder=tmp_path).code == 0
    assert dump(index) == expected


def test_two_new_indexes_of_different_logs_in_one_file(tmp_path: Path) -> None:
    """The first log to be remembered has the index; the other halts."""
    index = tmp_path / "index.db"
    for name in ("a", "b"):
        fill(url(tmp_path / f"{name}.db"), tmp_path / f"unused-{name}.db", [note(1)])
    assert caught_up(url(tmp_path / "a.db"), index) == 1
    with pytest.raises(LogChanged, match="rebuild"):
        caught_up(url(tmp_path / "b.db"), index)
