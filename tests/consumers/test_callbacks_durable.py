"""The job ``callbacks`` on durable functions' callbacks, on AWS' own runner: the ledger decides, the job tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("boto3")
pytest.importorskip("aws_durable_execution_sdk_python_testing")

from consumers.callbacks import CallbacksJob, open_job
from consumers.settings import Settings
from ledger.runtimes.lambda_durable import Asked
from ledger.runtimes.task_tokens import TokenFolder
from tests.consumers.test_callbacks import rounds
from tests.faults.ledgers import url
from tests.ledger.runtimes.durable_stage import ACTION, ANNA, Stage, refunds, staged


@contextmanager
def begun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stage, Asked, CallbacksJob]]:
    """A function that waits for its callback, whose id is kept, and the job beside it."""
    told = {
        "PAUSELEDGER_LOG": url(folder / "log.db"),
        "PAUSELEDGER_CALLBACKS_TOKENS": str(folder / "tokens"),
        "PAUSELEDGER_CALLBACKS_OUTBOX": str(folder / "callbacks.db"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-west-2",
    }
    with staged(folder, refunds, skip_time=False) as stage:
        asked = stage.begun()
        for name, value in (told | {"AWS_ENDPOINT_URL_LAMBDA": stage._address}).items():
            monkeypatch.setenv(name, value)
        TokenFolder(folder / "tokens").keep(asked.kept)
        job = open_job(Settings.read())
        job.take({0})
        try:
            yield stage, asked, job
        finally:
            job.close()


def test_a_grant_wakes_the_function_which_acts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing without a grant; then one success, whose attempt is the function's own; sent again it does nothing."""
    with begun(tmp_path, monkeypatch) as (stage, asked, job):
        assert rounds(job, 2) == 0
        stage.gate.request_resume(asked.paused, who=ANNA)
        assert rounds(job) == 1
        TokenFolder(tmp_path / "tokens").keep(asked.kept)  # it died before it could forget
        assert rounds(job, 2) >= 1
        assert stage.result() == ("SUCCEEDED", "1")
        rounds(job, 2)
        assert list(TokenFolder(tmp_path / "tokens").hashes()) == []
        assert stage.gate.packet(asked.paused)["outcome"] == "executed"
    assert stage.done == [ACTION]


def test_a_rejected_callback_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function gets an error that names how its pause ended."""
    with begun(tmp_path, monkeypatch) as (stage, asked, job):
        stage.gate.review(asked.paused, "reject", who=ANNA)
        assert rounds(job, 2) == 1
        assert stage.result() == ("SUCCEEDED", '"CallbackExternalError"')
        assert list(TokenFolder(tmp_path / "tokens").hashes()) == []
    assert stage.done == []


def test_accepted_heartbeats_are_forwarded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each beat that the ledger took is one call; one that it refused is none."""
    with begun(tmp_path, monkeypatch) as (stage, asked, job):
        stage.gate.heartbeat(asked.paused)  # not the owner's
        assert rounds(job) == 0
        stage.gate.heartbeat(asked.paused, who=ANNA)
        assert rounds(job, 3) == 1
        stage.gate.review(asked.paused, "reject", who=ANNA)
        rounds(job)
        stage.result()
