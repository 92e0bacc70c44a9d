"""Step Functions behind the gate, against moto's server and its real interpreter: each trap, and where the token is."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

boto3 = pytest.importorskip("boto3")
pytest.importorskip("moto")

from botocore.config import Config  # noqa: E402

from consumers.gates import open_gate  # noqa: E402
from ledger.errors import WrongUsage  # noqa: E402
from ledger.runtimes.gate import Gate, Who  # noqa: E402
from ledger.runtimes.pauses import Paused  # noqa: E402
from ledger.runtimes.shut import Shut  # noqa: E402
from ledger.runtimes.step_functions import Task, TaskGate, gate_client, open_pause, with_limits  # noqa: E402
from ledger.runtimes.task_tokens import TokenFolder, token_hash  # noqa: E402
from tests.contract.runtimes import step_functions_server  # noqa: E402
from tests.faults.ledgers import url  # noqa: E402

ANNA = Who("user:anna")
ACTION = {"kind": "tool", "name": "refund", "arguments": {"amount": 20}}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with step_functions_server.running(tmp_path_factory.mktemp("moto")) as told:
        yield told["endpoint"]


class Deployment:
    """A folder with a ledger and tokens, a gated client, and a state machine that waits."""

    def __init__(self, folder: Path, endpoint: str, gate: Gate) -> None:
        self.gate = gate
        self.name = folder.name
        self.tokens = TokenFolder(folder / "tokens")
        self.plain = self._client("stepfunctions", endpoint)
        self.client = self._client("stepfunctions", endpoint)
        self.queues = self._client("sqs", endpoint)
        self.gated: TaskGate = gate_client(self.client, gate, self.tokens)

    def _client(self, kind: str, endpoint: str) -> Any:
        config = Config(retries={"total_max_attempts": 2, "mode": "standard"})
        return boto3.client(kind, endpoint_url=endpoint, config=config)

    def begin(self, **state: Any) -> str:
        """Start an execution of a state that waits; its ARN."""
        self.queue = self.queues.create_queue(QueueName=self.name)["QueueUrl"]
        paths = {"token": "Task.Token", "execution": "Execution.Id", "state": "State.Name"}
        paths |= {"entered": "State.EnteredTime", "retry": "State.RetryCount"}
        message = {f"{name}.$": f"$$.{path}" for name, path in paths.items()}
        refund = {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "Parameters": {"QueueUrl": self.queue, "MessageBody": message},
            "TimeoutSeconds": 600,
            "End": True,
        }
        definition = json.dumps({"StartAt": "Refund", "States": {"Refund": refund | state}})
        role = "arn:aws:iam::123456789012:role/r"
        made = self.plain.create_state_machine(name=self.name, definition=definition, roleArn=role)
        return str(self.plain.start_execution(stateMachineArn=made["stateMachineArn"], name=self.name)["executionArn"])

    def handed(self) -> Task:
        deadline = time.monotonic() + 60
        while not (found := self.queues.receive_message(QueueUrl=self.queue).get("Messages")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.queues.delete_message(QueueUrl=self.queue, ReceiptHandle=found[0]["ReceiptHandle"])
        return with_limits(self.plain, Task.of(json.loads(found[0]["Body"])))

    def opened(self, task: Task, subject: str = "T-1", **terms: Any) -> Paused:
        terms = {"owner": "user:anna", "side_effect": "not_happened", **terms}
        return open_pause(self.gate, self.tokens, task, subject=subject, action=ACTION, **terms)

    def status(self, execution: str) -> Any:
        deadline = time.monotonic() + 60
        while (told := self.plain.describe_execution(executionArn=execution))["status"] == "RUNNING":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return told


@pytest.fixture
def aws(tmp_path: Path, endpoint: str) -> Iterator[Deployment]:
    with open_gate(url(tmp_path / "log.db"), outbox=tmp_path / "outbox.db", source="urn:t", actor="user:anna") as gate:
        yield Deployment(tmp_path, endpoint, gate)


def test_limits_and_names_become_the_packet(aws: Deployment) -> None:
    """Execution, state, try and hash name the pause; timeout and heartbeat of the history are its deadlines."""
    execution = aws.begin(HeartbeatSeconds=30)
    task = aws.handed()
    paused = aws.opened(task)
    packet = aws.gate.packet(paused)
    assert (packet["execution"], packet["heartbeat_timeout"]) == (execution, "PT30S")
    assert packet["runtime"]["task"] == token_hash(task.token)
    assert (task.heartbeat_seconds, task.timeout_seconds) == (30, 600)
    assert task.scheduled is not None
    until = datetime.fromisoformat(packet["fresh_until"])
    assert abs(until - task.scheduled - timedelta(seconds=600)) < timedelta(milliseconds=2)
    assert aws.opened(task, fresh_for=timedelta(seconds=5)) == paused  # told again: one pause, its first deadline
    assert aws.gate.packet(paused)["fresh_until"] == packet["fresh_until"]
    assert (
        task.paused("T-1", ACTION).pause
        != Task(task.token, execution, "Refund", task.entered, 1).paused("T-1", ACTION).pause
    )


def test_a_success_goes_out_only_with_a_grant(aws: Deployment) -> None:
    """Without a grant the call raises before anything is sent; with one it is attempted, sent, observed and closed."""
    execution = aws.begin()
    task = aws.handed()
    paused = aws.opened(task)
    with pytest.raises(Shut, match="No grant"):
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert aws.plain.describe_execution(executionArn=execution)["status"] == "RUNNING"
    aws.gate.request_resume(paused, who=ANNA)
    aws.client.send_task_success(taskToken=task.token, output='{"done": true}')
    assert aws.status(execution)["output"] == '{"done": true}'
    assert aws.gate.packet(paused)["outcome"] == "executed"
    with pytest.raises(Shut) as caught:
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert caught.value.branch == "closed"


def test_an_unknown_token_is_not_let_through(aws: Deployment) -> None:
    """A token that nobody has kept: nothing is sent, and the error doesn't show it."""
    with pytest.raises(Shut) as caught:
        aws.client.send_task_heartbeat(taskToken="a-secret-token")
    assert "a-secret-token" not in str(caught.value)


def test_failure_and_heartbeat_follow_the_ledger(aws: Deployment) -> None:
    """A heartbeat is on the ledger before it is sent; a failure is sent once the pause is rejected."""
    execution = aws.begin(HeartbeatSeconds=30)
    task = aws.handed()
    paused = aws.opened(task)
    before = aws.gate.packet(paused)["heartbeat_at"]
    time.sleep(0.01)
    aws.client.send_task_heartbeat(taskToken=task.token)
    assert aws.gate.packet(paused)["heartbeat_at"] > before
    with pytest.raises(Shut, match="may not be failed"):
        aws.client.send_task_failure(taskToken=task.token, error="no")
    aws.gate.review(paused, "reject", who=ANNA)
    aws.client.send_task_failure(taskToken=task.token, error="no")
    assert aws.status(execution)["status"] == "FAILED"
    with pytest.raises(Shut):
        aws.client.send_task_heartbeat(taskToken=task.token)


def test_a_lapsed_owner_is_not_kept_alive(aws: Deployment) -> None:
    """A heartbeat that the ledger refuses is not forwarded, though Step Functions would have taken it."""
    aws.begin()
    task = aws.handed()
    aws.opened(task, heartbeat_timeout=timedelta(milliseconds=1))
    time.sleep(0.01)
    with pytest.raises(Shut):
        aws.client.send_task_heartbeat(taskToken=task.token)


def test_the_token_is_nowhere_but_in_its_folder(
    aws: Deployment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After all that is done with a task, its token is in no file but one of mode 0600, and in no log line or repr."""
    caplog.set_level(logging.DEBUG, "pauseledger")
    aws.begin(HeartbeatSeconds=30)
    task = aws.handed()
    paused = aws.opened(task)
    aws.client.send_task_heartbeat(taskToken=task.token)
    aws.gate.request_resume(paused, who=ANNA)
    aws.client.send_task_success(taskToken=task.token, output="{}")
    with pytest.raises(Shut) as caught:
        aws.client.send_task_success(taskToken=task.token, output="{}")
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and task.token.encode() in path.read_bytes()]
    assert holding == [tmp_path / "tokens" / task.hash]
    assert holding[0].stat().st_mode & 0o777 == 0o600
    assert holding[0].parent.stat().st_mode & 0o777 == 0o700
    kept = aws.tokens.find(task.hash)
    said = [repr(task), repr(kept), str(caught.value), repr(caught.value), caplog.text]
    assert [one for one in said if task.token in one] == []


def test_a_message_without_its_parts_is_refused() -> None:
    """What the state machine doesn't pass on can't be made up; the message says what is missing, not what was there."""
    with pytest.raises(WrongUsage, match="lacks execution, state, entered") as caught:
        Task.of({"token": "secret"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("member", "value"),
    [("retry", "1"), ("retry", True), ("heartbeat_seconds", "30"), ("timeout_seconds", -1), ("entered", "yesterday")],
)
def test_a_message_with_other_parts_is_refused(member: str, value: Any) -> None:
    """A worker reads what any program may have put into its queue: it says so, and does not fail later."""
    message = {"token": "secret", "execution": "e", "state": "s", "entered": "2026-03-28T09:00:00Z"}
    assert Task.of(message).retry == 0
    with pytest.raises(WrongUsage, match=member) as caught:
        Task.of({**message, member: value})
    assert "secret" not in str(caught.value)
