"""The indexer's job: what it takes over, what it loses to others, and what it counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.indexing import IndexerJob, open_job
from consumers.operations import metrics
from consumers.settings import Settings
from ledger.errors import LogChanged, LogUnavailable
from tests.broker import Broker
from tests.faults.ledgers import caught_up, dump, opened, put, url
from tests.faults.lines import day


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty log of each kind; of three partitions on Kafka."""
    if request.param == "sqlite":
        with opened(url(tmp_path / "log.db"), tmp_path / "unused.db"):
            return url(tmp_path / "log.db")
    broker: Broker = request.getfixturevalue("broker")
    return f"kafka://{broker.address}/{request.getfixturevalue('topic')}"


@pytest.fixture
def jobs(log_url: str, tmp_path: Path) -> Iterator[list[IndexerJob]]:
    """Two jobs on one index."""
    settings = Settings.read(log_url, url(tmp_path / "index.db"))
    made = [open_job(settings) for _ in range(2)]
    yield made
    for job in made:
        job.close()


def fill(log_url: str, folder: Path, values: list[bytes]) -> int:
    with opened(log_url, folder / "unused.db") as ledger:
        put(ledger.log, [(json.loads(value)["subject"], value) for value in values])
        return ledger.log.partitions


def exhausted(job: IndexerJob) -> int:
    """Step until nothing is left; how many entries it folded."""
    count = 0
    idle = 0
    while idle < 3:
        folded = job.step()
        count += folded
        idle = 0 if folded else idle + 1
    return count


def step_often(job: IndexerJob) -> None:
    for _ in range(40):
        job.step()


def check(log_url: str, folder: Path) -> None:
    caught_up(log_url, folder / "fresh.db")
    assert dump(folder / "index.db") == dump(folder / "fresh.db")


def test_partitions_go_to_and_fro(log_url: str, tmp_path: Path, jobs: list[IndexerJob]) -> None:
    """What one has folded the other goes on from, and back: states kept from the last time are not believed."""
    values = list(day(600, 10))
    every = set(range(fill(log_url, tmp_path, values[:150])))
    for turn in range(4):
        jobs[turn % 2].take(every)
        assert exhausted(jobs[turn % 2]) == 150
        jobs[turn % 2].take(set())
        assert jobs[turn % 2].step() == 0
        fill(log_url, tmp_path, values[150 * (turn + 1) : 150 * (turn + 2)])
    check(log_url, tmp_path)


def test_two_that_both_believe_they_have_them(log_url: str, tmp_path: Path, jobs: list[IndexerJob]) -> None:
    """One that missed all that the other did is fenced, counts that, and neither folds an entry twice."""
    values = list(day(400, 10))
    every = set(range(fill(log_url, tmp_path, values[:100])))
    for job in jobs:
        job.take(every)
    before = metrics.FENCED.labels("indexer")._value.get()
    assert exhausted(jobs[0]) == 100
    fill(log_url, tmp_path, values[100:200])
    assert exhausted(jobs[1]) == 100
    fill(log_url, tmp_path, values[200:])
    assert exhausted(jobs[0]) + exhausted(jobs[1]) == 200
    assert metrics.FENCED.labels("indexer")._value.get() > before
    check(log_url, tmp_path)


def test_a_share_that_could_not_be_taken_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log was away what is kept of a partition was not dropped: the next try does it."""
    fill(url(tmp_path / "log.db"), tmp_path, [])
    job = open_job(Settings.read(url(tmp_path / "log.db"), url(tmp_path / "index.db")))
    taken: list[set[int]] = []

    def away(partitions: set[int]) -> None:
        taken.append(partitions)
        if len(taken) == 1:
            raise LogUnavailable("The log is away.", "Wait.")

    monkeypatch.setattr(job._indexer, "take_over", away)
    with pytest.raises(LogUnavailable):
        job.take({0})
    for _ in range(2):
        job.take({0})
    assert taken == [{0}, {0}]
    job.close()


def test_an_idle_job_sees_another_log(tmp_path: Path) -> None:
    """A log that is replaced while nothing comes is noticed within seconds, and nothing is reset."""
    log = url(tmp_path / "log.db")
    fill(log, tmp_path, list(day(20)))
    job = open_job(Settings.read(log, url(tmp_path / "index.db")))
    job.take({0})
    assert exhausted(job) == 20
    for path in tmp_path.glob("log.db*"):
        path.unlink()
    (tmp_path / "other").mkdir()
    fill(log, tmp_path / "other", list(day(5)))
    with pytest.raises(LogChanged, match="made again"):
        step_often(job)
    job.close()
    with opened(log, tmp_path / "third.db") as ledger:
        assert ledger.log.bounds(0) == (0, 5)
    assert len(dump(tmp_path / "index.db", "trail")["trail"]) == 20
