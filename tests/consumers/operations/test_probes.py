"""Probes: a process that hangs is not healthy, and one that waits is healthy but not ready."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumers import worker as worker_module
from consumers.operations import metrics
from consumers.operations import probes as probes_module
from consumers.operations.probes import Probes, address_of
from consumers.settings import Settings
from consumers.share import WholeShare
from consumers.worker import Worker
from ledger.errors import Fenced, LogChanged, LogUnavailable, WrongUsage
from tests.consumers.processes import asked
from tests.faults.ledgers import url
from tests.faults.waiting import until

HEALTH_SECONDS = 1.0


class Told:
    """A job that does in each step what it is told; it counts what happens to it."""

    def __init__(self, act: Callable[[], int]) -> None:
        self.act = act
        self.steps = self.closed = 0
        self.taken: list[set[int]] = []

    def take(self, partitions: Set[int]) -> None:
        self.taken.append(set(partitions))

    def step(self) -> int:
        self.steps += 1
        time.sleep(0.01)  # a job that has nothing to do waits a part of a second
        return self.act()

    def close(self) -> None:
        self.closed += 1


@contextmanager
def working(folder: Path, job: Told, opened: Callable[[], object] = bool) -> Iterator[tuple[Worker, int]]:
    """A worker of such a job on the embedded log, and the port of its probes. It opens when ``opened`` returns."""
    stopping = threading.Event()
    settings = Settings.read(url(folder / "log.db"), url(folder / "index.db"))

    def open_job(_: Settings) -> Told:
        opened()
        return job

    worker = Worker("told", open_job, settings, stopping)
    probes = Probes("0", [worker], HEALTH_SECONDS)
    worker.thread.start()
    try:
        yield worker, probes.port
    finally:
        stopping.set()
        worker.thread.join(60)
        probes.stop()


def failing(error: Exception) -> Callable[[], int]:
    def fail() -> int:
        raise error

    return fail


def test_a_job_that_works(tmp_path: Path) -> None:
    """Ready with its share, and healthy; told to stop it is closed once."""
    job = Told(lambda: 1)
    with working(tmp_path, job) as (_, port):
        until(lambda: asked(port, "/readyz")[0] == 200, what="readiness")
        told = json.loads(asked(port, "/readyz")[1])["jobs"]["told"]
        assert (told["phase"], told["partitions"], told["problem"]) == ("working", [0], "")
        assert asked(port, "/healthz")[0] == 200
    assert (job.taken, job.closed) == ([{0}], 1)


def test_a_job_that_waits(tmp_path: Path) -> None:
    """A log that is away: not ready, and why, yet healthy; the job is opened anew, and goes on when the log is back."""
    job = Told(failing(LogUnavailable("The broker is away.", "Wait.")))
    with working(tmp_path, job) as (worker, port):
        until(lambda: worker.standing.phase == "waiting", what="waiting")
        assert asked(port, "/readyz")[0] == 503
        assert "The broker is away." in json.loads(asked(port, "/readyz")[1])["jobs"]["told"]["problem"]
        until(lambda: job.closed > 0, what="a job that is opened anew")
        job.act = lambda: 0
        until(lambda: asked(port, "/readyz")[0] == 200, what="readiness")
        assert asked(port, "/healthz")[0] == 200
        assert worker.halted is None


def test_a_job_that_loses_races(tmp_path: Path) -> None:
    """Whoever is fenced goes on at once."""
    job = Told(failing(Fenced("Another was faster.")))
    with working(tmp_path, job) as (worker, _):
        until(lambda: job.steps > 20, what="steps")
        assert (worker.halted, job.closed) == (None, 0)


def test_a_job_that_hangs(tmp_path: Path) -> None:
    """Its thread lives, but does not come round: neither healthy nor ready."""
    released = threading.Event()
    job = Told(lambda: int(released.wait(30)))
    with working(tmp_path, job) as (_, port):
        until(lambda: asked(port, "/healthz")[0] == 503, what="an end to health")
        assert asked(port, "/readyz")[0] == 503
        released.set()


def test_a_job_that_opens_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes tables anew, maybe: healthy and not ready, for a bound of its own."""
    released = threading.Event()
    with working(tmp_path, Told(lambda: 1), lambda: released.wait(30)) as (worker, port):
        until(lambda: time.monotonic() - worker.beat > 2 * HEALTH_SECONDS, what="a long time")
        assert asked(port, "/healthz")[0] == 200
        told = json.loads(asked(port, "/readyz")[1])["jobs"]["told"]
        assert (told["ready"], told["phase"], told["problem"]) == (False, "opening", "")
        monkeypatch.setattr(probes_module, "OPENING_SECONDS", 1.5)
        assert asked(port, "/healthz")[0] == 503
        released.set()
        until(lambda: asked(port, "/readyz")[0] == 200, what="readiness")
        assert asked(port, "/healthz")[0] == 200


def test_a_spare_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More members than partitions: it has none, and yet is stepped, and doesn't wait for anything any more."""
    monkeypatch.setattr(worker_module, "open_share", lambda *_: WholeShare([]))
    job = Told(failing(LogUnavailable("The broker is away.", "Wait.")))
    with working(tmp_path, job) as (worker, port):
        until(lambda: worker.standing.phase == "waiting", what="waiting")
        assert metrics.WAITING.labels("told")._value.get() == 1
        job.act = lambda: 0
        until(lambda: asked(port, "/readyz")[0] == 200, what="readiness")
        until(lambda: metrics.WAITING.labels("told")._value.get() == 0, what="that it says so")
        assert (worker.standing.partitions, job.taken) == ((), [])


@pytest.mark.parametrize("error", [LogChanged("Made again.", "Rebuild."), ZeroDivisionError("a fault")])
def test_a_job_that_halts(tmp_path: Path, error: Exception) -> None:
    """What a person must mend, and a fault of the program, end the job and tell the others to stop."""
    job = Told(failing(error))
    with working(tmp_path, job) as (worker, port):
        until(lambda: not worker.thread.is_alive(), what="an end")
        assert worker.halted is error
        assert worker._stopping.is_set()
        assert asked(port, "/healthz")[0] == 503
        assert json.loads(asked(port, "/readyz")[1])["jobs"]["told"]["phase"] == "halted"
    assert job.closed == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9108", ("127.0.0.1", 9108)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:9108", ("::1", 9108)),
        (":0", ("127.0.0.1", 0)),
    ],
)
def test_addresses(text: str, found: tuple[str, int]) -> None:
    """A port alone is this machine's."""
    assert address_of(text) == found


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", "127.0.0.1:http", "127.0.0.1:70000", "1:-1"])
def test_no_addresses(text: str) -> None:
    """What names no port is refused."""
    with pytest.raises(WrongUsage, match="PAUSELEDGER_METRICS"):
        address_of(text)


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    """It is said before any job begins."""
    probes = Probes("0", [], 1.0)
    try:
        with pytest.raises(WrongUsage, match="can't be listened on"):
            Probes(str(probes.port), [], 1.0)
    finally:
        probes.stop()
