"""A Step Functions task behind the ledger: it waits for its token, a person approves, and it is answered once.

moto plays AWS here, with its real interpreter of state machines; against AWS leave the first lines out.
"""

import json
import logging
import os
import time
from datetime import timedelta

import boto3
from moto.core.config import default_user_config
from moto.server import ThreadedMotoServer

from consumers.gates import open_gate
from ledger.runtimes.gate import Who
from ledger.runtimes.shut import Shut
from ledger.runtimes.step_functions import Task, gate_client, open_pause, with_limits
from ledger.runtimes.task_tokens import TokenFolder

logging.getLogger("werkzeug").setLevel(logging.ERROR)
default_user_config["stepfunctions"]["execute_state_machine"] = True
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
port = server.get_host_and_port()[1]
os.environ |= {
    "MOTO_PORT": str(port),
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    "AWS_DEFAULT_REGION": "us-east-1",
}
os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

# The state machine: its state sends all that names the task to a queue, and waits.
queues, states = boto3.client("sqs"), boto3.client("stepfunctions")
queue = queues.create_queue(QueueName="refunds")["QueueUrl"]
message = {
    "token.$": "$$.Task.Token",
    "execution.$": "$$.Execution.Id",
    "state.$": "$$.State.Name",
    "entered.$": "$$.State.EnteredTime",
    "retry.$": "$$.State.RetryCount",
}
refund = {
    "Type": "Task",
    "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
    "Parameters": {"QueueUrl": queue, "MessageBody": message},
    "TimeoutSeconds": 900,
    "HeartbeatSeconds": 60,
    "End": True,
}
definition = json.dumps({"StartAt": "Refund", "States": {"Refund": refund}})
role = "arn:aws:iam::123456789012:role/states"
machine = states.create_state_machine(name="refunds", definition=definition, roleArn=role)["stateMachineArn"]
execution = states.start_execution(stateMachineArn=machine, name="ORDER-9", input="{}")["executionArn"]

# The worker: keeps the token, and tells of the pause. The limits come from the execution's history.
while not (received := queues.receive_message(QueueUrl=queue).get("Messages")):
    time.sleep(0.05)
task = with_limits(states, Task.of(json.loads(received[0]["Body"])))
tokens = TokenFolder("pauseledger.tokens")
with open_gate("sqlite:///pauseledger.db", source="urn:shop:refunds", actor="service:refunds") as gate:
    gated = gate_client(states, gate, tokens)
    action = {"kind": "tool", "name": "refund", "arguments": {"amount": 20}, "idempotency_key": "ORDER-9-refund"}
    paused = open_pause(
        gate,
        tokens,
        task,
        subject="ORDER-9",
        action=action,
        effect="worker",
        owner="user:anna",
        requires_review=True,
        fresh_for=timedelta(minutes=15),
        side_effect="not_happened",
    )
    print(gate.packet(paused)["heartbeat_timeout"])

    # Too early: nothing is sent.
    try:
        states.send_task_success(taskToken=task.token, output="{}")
    except Shut as shut:
        print(shut.branch, "-", shut.reason)

    # A person approves; the refund and the task's success are one act.
    anna = Who("user:anna")
    gate.review(paused, "approve", who=anna)
    with gated.acting(gate.request_resume(paused, who=anna)) as permit:
        permit.evidence = {"receipt": "R-7"}  # of the call of the payment provider
        states.send_task_success(taskToken=task.token, output=json.dumps({"amount": 20}))

    while (told := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(0.05)
    print(told["status"], told["output"], gate.packet(paused)["outcome"])
server.stop()
