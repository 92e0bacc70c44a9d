"""AWS Step Functions: a state waits for a task token, a worker refunds and answers the task. moto plays AWS.

The effect is the refund: a row that the worker writes just before it sends the task's success, both in one guard.
"""

from __future__ import annotations

import json
import time
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.shut import Shut
from ledger.runtimes.step_functions import Task, gate_client, open_pause, with_limits
from ledger.runtimes.task_tokens import TokenFolder
from tests.contract.runtimes.program import serve
from tests.contract.runtimes.scene import AMOUNT, SUBJECT, Approval, Scene

_WAIT_SECONDS = 10.0


@cache
def client(service: str, endpoint: str) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", config=config, **keys)


def machine(queue: str) -> str:
    """A state that sends its token to a queue, and waits for whoever answers."""
    context = {"token": "Task.Token", "execution": "Execution.Id", "state": "State.Name"}
    context |= {"entered": "State.EnteredTime", "retry": "State.RetryCount"}
    message = {f"{name}.$": f"$$.{path}" for name, path in context.items()}
    refund = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue, "MessageBody": message},
        "TimeoutSeconds": 3600,
        "End": True,
    }
    return json.dumps({"StartAt": "Refund", "States": {"Refund": refund}})


class StepFunctions:
    """The worker behind the queue. The message stays in a file, as it would stay in the queue until it is deleted."""

    def start(self, scene: Scene) -> Any:
        task = self._handed(scene)
        if scene.wired:
            with scene.gate() as gate:
                open_pause(
                    gate,
                    TokenFolder(scene.folder / "tokens"),
                    with_limits(self._states(scene), task),
                    subject=SUBJECT,
                    action=scene.action(),
                    effect="worker",
                    **scene.terms,
                )

    def resume(self, scene: Scene, approval: Approval) -> Any:
        task = Task.of(json.loads((scene.folder / "message.json").read_text()))
        if not scene.wired:
            return self._as_the_manual_says(scene, task, approval)
        with scene.gate() as gate:
            try:
                return self._through_the_gate(scene, gate, task, approval)
            except Shut as shut:
                return {"shut": shut.branch}

    def recover(self, scene: Scene) -> Any:
        return self.resume(scene, Approval())  # the queue hands the message out again

    def _through_the_gate(self, scene: Scene, gate: Gate, task: Task, approval: Approval) -> Any:
        paused, who = task.paused(SUBJECT, scene.action()), Who(approval.actor)
        states = client.__wrapped__("stepfunctions", scene.extra["endpoint"])  # one of its own: it is gated for good
        gated = gate_client(states, gate, TokenFolder(scene.folder / "tokens"))
        amount = AMOUNT if approval.amount is None else approval.amount
        edited = scene.action(amount) if approval.outcome == "edit" else None
        paused = gate.review(paused, approval.outcome, edited=edited, who=who)
        if approval.outcome == "reject":
            return states.send_task_failure(taskToken=task.token, error="rejected") and None
        with gated.acting(gate.request_resume(paused, who=who)) as permit:
            permit.evidence = {"row": scene.effect(amount, permit)}
            states.send_task_success(taskToken=task.token, output=json.dumps({"amount": amount}))
        return permit.evidence

    def _as_the_manual_says(self, scene: Scene, task: Task, approval: Approval) -> Any:
        """A worker that is told yes does its work and sends the success; a task that is over answers with an error."""
        states = self._states(scene)
        try:
            if approval.outcome == "reject":
                states.send_task_failure(taskToken=task.token, error="rejected")
                return None
            amount = AMOUNT if approval.amount is None else approval.amount
            row = scene.effect(amount)
            states.send_task_success(taskToken=task.token, output=json.dumps({"amount": amount}))
            return row
        except ClientError as error:
            return error.response["Error"]["Code"]

    def _states(self, scene: Scene) -> Any:
        return client("stepfunctions", scene.extra["endpoint"])

    def _handed(self, scene: Scene) -> Task:
        """Start an execution, and wait for its message."""
        name = f"{scene.folder.parent.name}-{scene.folder.name}"[-70:]
        queues, states = client("sqs", scene.extra["endpoint"]), self._states(scene)
        queue = queues.create_queue(QueueName=name)["QueueUrl"]
        arn = states.create_state_machine(
            name=name, definition=machine(queue), roleArn="arn:aws:iam::123456789012:role/states"
        )["stateMachineArn"]
        states.start_execution(stateMachineArn=arn, name=name, input="{}")
        deadline = time.monotonic() + _WAIT_SECONDS
        while not (messages := queues.receive_message(QueueUrl=queue).get("Messages")):
            assert time.monotonic() < deadline, "no message came"
            time.sleep(0.02)
        (scene.folder / "message.json").write_text(messages[0]["Body"])
        return Task.of(json.loads(messages[0]["Body"]))


if __name__ == "__main__":
    serve(StepFunctions())
