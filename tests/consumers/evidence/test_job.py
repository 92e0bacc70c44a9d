"""The job ``notary`` on the embedded log: when it signs, when it waits, and when it halts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.evidence import job as job_module
from consumers.evidence.job import NotaryJob, open_job
from consumers.operations import metrics
from consumers.settings import Settings
from ledger.errors import LogChanged
from tests.consumers.evidence.acme import Acme


class Time:
    """A clock that is set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(job_module, "time", clock)
    monkeypatch.setattr(job_module, "_WAIT_SECONDS", 0.0)
    return clock


@pytest.fixture
def acme(tmp_path: Path) -> Acme:
    return Acme(tmp_path)


@pytest.fixture
def job(acme: Acme, clock: Time) -> Iterator[NotaryJob]:
    job = NotaryJob(acme.notary(), entries=100, seconds=30)
    job.take({0})
    yield job
    job._notary.close()


def sizes(acme: Acme) -> list[int]:
    return [one.checkpoint.size for one in acme.signed()]


def test_it_signs_after_so_many_entries(acme: Acme, job: NotaryJob) -> None:
    """As many as were told, without waiting for the time."""
    acme.append(98)
    assert job.step() == 98
    assert sizes(acme) == []
    acme.append(1)
    job.step()
    assert sizes(acme) == [100]
    acme.look_at_all()


def test_it_signs_so_long_after_the_first_entry(acme: Acme, job: NotaryJob, clock: Time) -> None:
    """A quiet ledger is signed too, once, and not again while nothing comes."""
    acme.append(3)
    for clock.now in (0, 10, 29.9):
        job.step()
        assert sizes(acme) == []
    for clock.now in (30, 60, 90):
        assert job.step() == 0
        assert sizes(acme) == [4]
    acme.append(1)
    for clock.now in (100, 129):
        job.step()
    assert sizes(acme) == [4]
    clock.now = 130
    job.step()
    assert sizes(acme) == [4, 5]
    assert metrics.REGISTRY.get_sample_value("pauseledger_checkpoint_leaves", {"partition": "0"}) == 5


def test_it_signs_what_it_has_read_when_it_is_told_to_stop(acme: Acme, job: NotaryJob) -> None:
    """A drained notary leaves nothing that was read unsigned."""
    acme.append(3)
    job.step()
    job.close()
    assert sizes(acme) == [4]


def test_it_halts_where_the_log_is_another(acme: Acme, job: NotaryJob, clock: Time) -> None:
    """Also while nothing comes; and closing signs nothing then."""
    acme.append(100)
    job.step()
    acme.append(5)
    job.step()
    acme.change_log("DELETE FROM log_records WHERE offset > 50")
    clock.now = 5
    with pytest.raises(LogChanged):
        job.step()
    job.close()
    assert sizes(acme) == [101]


def test_what_is_not_its_own_is_left(acme: Acme, job: NotaryJob, clock: Time) -> None:
    """Partitions that were taken away are another's, and are opened anew when they come back."""
    acme.append(3)
    job.step()
    job.take(set())
    clock.now = 100
    assert job.step() == 0
    assert sizes(acme) == []
    acme.checkpoint()
    job.take({0})
    acme.append(200)
    job.step()
    assert sizes(acme) == [4, 204]


def test_its_settings(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens by the settings alone, with tiles beside the keys unless told."""
    monkeypatch.setenv("PAUSELEDGER_LOG", f"sqlite:///{acme.log_path}")
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(acme.keys))
    monkeypatch.setenv("PAUSELEDGER_NOTARY_ENTRIES", "2")
    acme.append(1)
    job = open_job(Settings.read())
    job.take({0})
    job.step()
    job.close()
    assert (acme.folder / "pauseledger.tiles/acme/log/0/checkpoint").is_file()
