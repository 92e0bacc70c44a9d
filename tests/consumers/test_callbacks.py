"""The job ``callbacks`` against moto: what it sends, in which order, and that no death makes it act twice."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3")
pytest.importorskip("moto")

from consumers.callbacks import CallbacksJob, open_job
from consumers.settings import Settings
from ledger.runtimes.pauses import Paused
from ledger.runtimes.step_functions import Task
from tests.consumers.callbacks_process import MOMENTS
from tests.faults.command import environment
from tests.faults.ledgers import url
from tests.ledger.runtimes.test_step_functions import ANNA, Deployment, aws, endpoint

__all__ = ["aws", "endpoint"]  # fixtures
ROOT = Path(__file__).parents[2]


@pytest.fixture
def surroundings(tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a job: where the ledger, the tokens and AWS are."""
    told = {
        "PAUSELEDGER_LOG": url(tmp_path / "log.db"),
        "PAUSELEDGER_CALLBACKS_TOKENS": str(tmp_path / "tokens"),
        "PAUSELEDGER_CALLBACKS_OUTBOX": str(tmp_path / "callbacks.db"),
        "AWS_ENDPOINT_URL_SFN": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return told


@contextmanager
def job_at_work() -> Iterator[CallbacksJob]:
    job = open_job(Settings.read())
    job.take({0})
    try:
        yield job
    finally:
        job.close()


def rounds(job: CallbacksJob, count: int = 1) -> int:
    """So many rounds; how many calls were made."""
    done = 0
    for _ in range(count):
        job._next_round = 0.0
        done += job.step()
    return done


def paused_task(aws: Deployment, **state: Any) -> tuple[str, Task, Paused]:
    execution = aws.begin(**state)
    task = aws.handed()
    return execution, task, aws.opened(task)


def told_of(aws: Deployment) -> list[str]:
    """The types of the accepted entries of the work item, in order."""
    from projections.answers import trail_answer

    ledger = Settings.read().open()
    try:
        ledger.indexer.catch_up_partition(0)
        lines = trail_answer(ledger.index, 1, "T-1")
    finally:
        ledger.close()
    return [str(one["type"]).removeprefix("pauseledger.") for one in lines if one["verdict"] == "accepted"]


def test_a_grant_is_answered_once(aws: Deployment, surroundings: dict[str, str]) -> None:
    """Nothing without a grant; then attempt, call, observation and close, in this order, and the token is forgotten."""
    execution, task, paused = paused_task(aws)
    with job_at_work() as job:
        assert rounds(job, 2) == 0
        grant = aws.gate.request_resume(paused, who=ANNA)
        assert rounds(job, 3) == 1
    output = aws.status(execution)["output"]
    assert f'"fence": {grant.fence}' in output
    assert '"amount": 20' in output
    assert told_of(aws)[-3:] == ["side_effect.attempted", "side_effect.observed", "pause.closed"]
    assert aws.tokens.find(task.hash) is None


def test_a_grant_that_is_not_clear_any_more_is_not_attempted(aws: Deployment, surroundings: dict[str, str]) -> None:
    """Its owner was changed after the grant: rounds leave nothing on the ledger, and the task waits."""
    execution, _, paused = paused_task(aws)
    aws.gate.request_resume(paused, who=ANNA)
    aws.gate.ask("owner.changed", paused, {"from": ANNA.actor, "to": "user:bob"}, who=ANNA)
    before = aws.gate.work_item("T-1")["entries"]
    with job_at_work() as job:
        assert rounds(job, 3) == 0
    assert aws.gate.work_item("T-1")["entries"] == before
    assert aws.plain.describe_execution(executionArn=execution)["status"] == "RUNNING"


def test_a_stale_grant_is_attempted_once_it_is_rechecked(aws: Deployment, surroundings: dict[str, str]) -> None:
    """A grant whose time ran out waits, without a trace on the ledger, for a recheck, and is then answered."""
    execution, _, paused = paused_task(aws)
    aws.gate.recheck(paused, fresh_for=timedelta(seconds=3), who=ANNA)
    aws.gate.request_resume(paused, who=ANNA)
    time.sleep(3.1)  # the time itself is the case
    before = aws.gate.work_item("T-1")["entries"]
    with job_at_work() as job:
        assert rounds(job, 3) == 0
        assert aws.gate.work_item("T-1")["entries"] == before
        aws.gate.recheck(paused, fresh_for=timedelta(minutes=5), who=ANNA)
        assert rounds(job, 2) == 1
    assert aws.status(execution)["status"] == "SUCCEEDED"


def test_a_rejected_task_fails(aws: Deployment, surroundings: dict[str, str]) -> None:
    """A reject becomes a failure that names how it ended."""
    execution, task, paused = paused_task(aws)
    aws.gate.review(paused, "reject", who=ANNA)
    with job_at_work() as job:
        assert rounds(job, 3) == 1
    assert aws.status(execution)["error"] == "pauseledger.rejected"
    assert aws.tokens.find(task.hash) is None


def test_a_terminated_task_fails_once_nobody_may_act(
    aws: Deployment,
    surroundings: dict[str, str],
) -> None:
    """Taken over with a grant outstanding, its outcome is unknown: the task hears nothing until somebody has looked."""
    execution, _, paused = paused_task(aws)
    aws.gate.request_resume(paused, who=ANNA)
    claim = {"owner": "user:bob", "manual": True, "replaces": paused.execution}
    aws.gate.ask("execution.claimed", Paused("T-1", "by-hand", ""), claim)
    with job_at_work() as job:
        assert rounds(job, 2) == 0
        aws.gate.reconcile(paused, lambda _: "not_happened")
        assert rounds(job, 2) == 1
    assert aws.status(execution)["error"] == "pauseledger.terminated"


def test_accepted_heartbeats_keep_a_task_alive(aws: Deployment, surroundings: dict[str, str]) -> None:
    """Each beat that the ledger took is forwarded once; the task outlives its HeartbeatSeconds, and not without."""
    execution, _task, paused = paused_task(aws, HeartbeatSeconds=6)
    with job_at_work() as job:
        assert rounds(job) == 0
        for _ in range(4):
            time.sleep(1.9)
            assert aws.gate.heartbeat(paused).accepted
            assert rounds(job, 2) == 1
        assert aws.plain.describe_execution(executionArn=execution)["status"] == "RUNNING"
        assert aws.status(execution)["status"] in ("FAILED", "TIMED_OUT")
        assert not aws.gate.heartbeat(paused).accepted
        assert rounds(job, 2) == 0


def test_a_task_that_is_over_can_not_be_granted(aws: Deployment, surroundings: dict[str, str]) -> None:
    """Step Functions says that the task has ended: the plan goes stale on the ledger, and the token is forgotten."""
    execution = aws.begin(HeartbeatSeconds=1)
    task = aws.handed()
    paused = aws.opened(task, heartbeat_timeout=timedelta(hours=1))
    assert aws.status(execution)["status"] in ("FAILED", "TIMED_OUT")
    aws.gate.heartbeat(paused)
    with job_at_work() as job:
        assert rounds(job, 2) == 1
    assert aws.gate.decision(paused)["decision"] == "review"
    assert aws.tokens.find(task.hash) is None


def test_a_worker_that_acts_itself_is_not_forestalled(aws: Deployment, surroundings: dict[str, str]) -> None:
    """The effect is the worker's: its grant is left to it; once it is known to have happened the task hears of it."""
    execution = aws.begin()
    task = aws.handed()
    paused = aws.opened(task, effect="worker")
    grant = aws.gate.request_resume(paused, who=ANNA)
    with job_at_work() as job:
        assert rounds(job, 2) == 0
        aws.gate.guard(grant).__enter__()  # the worker refunds, and dies before the callback
        assert rounds(job, 2) == 0
        aws.gate.reconcile(paused, lambda _: "happened")
        assert rounds(job, 2) == 1
    assert aws.status(execution)["status"] == "SUCCEEDED"
    assert aws.gate.packet(paused)["outcome"] == "executed"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_job_that_is_killed_never_acts_twice(
    aws: Deployment,
    surroundings: dict[str, str],
    moment: str,
) -> None:
    """Killed between any two steps: one attempt, whatever follows; what is unknown waits for a person."""
    execution, task, paused = paused_task(aws)
    aws.gate.request_resume(paused, who=ANNA)
    command = [sys.executable, "-m", "tests.consumers.callbacks_process", moment]
    done = subprocess.run(
        command, cwd=ROOT, env=environment() | surroundings, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -9, done.stderr
    assert task.token not in done.stdout + done.stderr
    with job_at_work() as job:
        unknown = moment in ("before-call", "before-observation")
        assert rounds(job, 2) == (0 if unknown else 1)
        if unknown:
            assert aws.gate.decision(paused)["decision"] == "reconcile"
            running = aws.plain.describe_execution(executionArn=execution)["status"] == "RUNNING"
            assert running == (moment == "before-call")
            aws.gate.reconcile(paused, lambda _: "not_happened" if running else "happened")
            if running:
                aws.gate.request_resume(paused, who=ANNA)
            assert rounds(job, 3) == 1
    assert aws.status(execution)["status"] == "SUCCEEDED"
    assert aws.gate.packet(paused)["outcome"] == "executed"
    assert told_of(aws).count("side_effect.attempted") == (2 if moment == "before-call" else 1)
    assert aws.tokens.find(task.hash) is None


def test_a_damaged_token_keeps_no_other_waiting(aws: Deployment, surroundings: dict[str, str], tmp_path: Path) -> None:
    """A file that a disk has spoilt is told of once, and the tasks beside it are answered."""
    execution, task, paused = paused_task(aws)
    aws.gate.request_resume(paused, who=ANNA)
    damaged = tmp_path / "tokens" / ("0" * 64)
    damaged.write_text('{"token": "')
    with job_at_work() as job:
        assert rounds(job, 3) == 1
        assert job._damaged == {damaged.name}
    assert aws.status(execution)["status"] == "SUCCEEDED"
    assert aws.tokens.find(task.hash) is None


def test_what_happened_without_a_grant_is_forgotten_when_it_is_closed(
    aws: Deployment, surroundings: dict[str, str]
) -> None:
    """A person did it by hand, said so and closed the pause: its task is left alone, and no token stays behind."""
    _, task, paused = paused_task(aws)
    aws.gate.observe(paused, "happened")
    with job_at_work() as job:
        assert rounds(job, 2) == 0
        aws.gate.close(paused, "executed")
        rounds(job, 2)
    assert aws.tokens.find(task.hash) is None


def test_the_job_remembers_nothing_of_tokens_that_are_gone(aws: Deployment, surroundings: dict[str, str]) -> None:
    """A job that runs for years: what it knows of a token goes with it."""
    _, task, paused = paused_task(aws, HeartbeatSeconds=300)
    aws.gate.heartbeat(paused)
    with job_at_work() as job:
        assert rounds(job) == 1
        job._left_until[task.hash] = 0.0
        assert list(job._beaten) == [task.hash]
        aws.tokens.forget(task.hash)
        rounds(job)
        assert (job._beaten, job._left_until) == ({}, {})
