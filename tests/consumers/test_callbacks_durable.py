"""The job ``callbacks`` on durable functions' callbacks, on AWS' own runner: the ledger decides, the job tells."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("boto3")
pytest.importorskip("aws_durable_execution_sdk_python_testing")

from botocore.exceptions import ClientError, EndpointConnectionError

from consumers.callbacks import CallbacksJob, open_job
from consumers.durable_calls import DurableCalls
from consumers.settings import Settings
from ledger.runtimes.gate import Who
from ledger.runtimes.lambda_durable import Asked
from ledger.runtimes.task_tokens import TokenFolder
from tests.consumers.test_callbacks import rounds
from tests.faults.ledgers import url
from tests.ledger.runtimes.durable_stage import ACTION, ANNA, Stage, refunds, staged
from tests.ledger.runtimes.test_lambda_durable import _events


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


def test_a_terminated_callback_waits_for_whoever_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken over with a grant outstanding: its token is kept while nobody knows, and then the function hears of it."""
    with begun(tmp_path, monkeypatch) as (stage, asked, job):
        stage.gate.request_resume(asked.paused, who=ANNA)
        claim = {"owner": "user:bob", "manual": True, "replaces": asked.paused.execution}
        stage.gate.ask("execution.claimed", asked.paused._replace(execution="by-hand"), claim, who=Who("user:bob"))
        assert rounds(job, 3) == 0
        assert list(TokenFolder(tmp_path / "tokens").hashes()) == [asked.kept.hash]
        stage.gate.reconcile(asked.paused, lambda _: "not_happened")
        assert rounds(job, 2) == 1
        assert stage.result() == ("SUCCEEDED", '"CallbackExternalError"')
        assert list(TokenFolder(tmp_path / "tokens").hashes()) == []
    assert stage.done == []


def test_an_attempt_by_another_leaves_the_callback_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody used the grant by hand and did nothing with it: after a new grant the function is woken all the same."""
    with begun(tmp_path, monkeypatch) as (stage, asked, job):
        grant = stage.gate.request_resume(asked.paused, who=ANNA)
        with suppress(TimeoutError), stage.gate.guard(grant):
            raise TimeoutError
        assert rounds(job, 2) == 0
        stage.gate.reconcile(asked.paused, lambda _: "not_happened")
        stage.gate.request_resume(asked.paused, who=ANNA)
        assert rounds(job, 2) == 1
        assert stage.result() == ("SUCCEEDED", "1")
    assert stage.done == [ACTION]


def test_a_grant_that_is_not_clear_any_more_wakes_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan went stale after the grant: the function sleeps until it was rechecked, and acts then."""
    with begun(tmp_path, monkeypatch) as (stage, asked, job):
        stage.gate.recheck(asked.paused, fresh_for=timedelta(seconds=3), who=ANNA)
        stage.gate.request_resume(asked.paused, who=ANNA)
        time.sleep(3.1)  # the time itself is the case
        rounds(job, 3)  # who rechecks is alive: that much is forwarded
        assert not [one for one in _events(stage) if one.event_type == "CallbackSucceeded"]
        stage.gate.recheck(asked.paused, fresh_for=timedelta(minutes=5), who=ANNA)
        rounds(job, 2)
        assert stage.result() == ("SUCCEEDED", "1")


@pytest.mark.parametrize(
    ("status", "code", "over"),
    [
        (404, "ResourceNotFoundException", True),
        (408, "408", True),  # the local runner's, which gives no name
        (400, "CallbackTimeoutException", True),
        (400, "InvalidParameterValueException", False),
        (429, "TooManyRequestsException", False),
        (500, "ServiceException", False),
    ],
)
def test_what_says_that_nobody_waits(tmp_path: Path, status: int, code: str, over: bool) -> None:
    """A request that was wrong in itself is no word about the callback: its token is not thrown away."""
    error = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Success")
    assert DurableCalls(None, TokenFolder(tmp_path), None, "grant").is_over(error) == over  # type: ignore[arg-type]


def test_other_errors_say_nothing_of_the_callback(tmp_path: Path) -> None:
    """No answer is no end."""
    calls = DurableCalls(None, TokenFolder(tmp_path), None, "grant")  # type: ignore[arg-type]
    assert not calls.is_over(EndpointConnectionError(endpoint_url="http://x"))
