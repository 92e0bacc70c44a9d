"""A durable function with the ledger: it pauses before a refund, a person approves with boto3, and it refunds once."""

import threading
from typing import Any

import boto3
from aws_durable_execution_sdk_python import durable_execution
from aws_durable_execution_sdk_python.config import CallbackConfig, Duration
from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.exceptions import CallbackError
from aws_durable_execution_sdk_python_testing.runner import DurableFunctionTestRunner
from aws_durable_execution_sdk_python_testing.web.server import WebServer, WebServiceConfig

from consumers.gates import open_gate
from ledger.runtimes.gate import Who
from ledger.runtimes.guard import Permit
from ledger.runtimes.lambda_durable import Asked, decides, wait_for_callback
from ledger.runtimes.shut import Shut

messages = []
refunds = []


def refund(permit: Permit) -> int:
    refunds.append(permit.action["arguments"]["amount"])  # the call of the payment provider
    permit.evidence = {"receipt": len(refunds)}
    return len(refunds)


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> Any:
    paused = None
    while True:
        try:
            paused = wait_for_callback(
                context,
                gate,
                lambda asked, _: messages.append(asked.to_json()),  # send it to whoever decides
                name="refund",
                config=CallbackConfig(timeout=Duration.from_minutes(15), heartbeat_timeout=Duration.from_minutes(10)),
                again=paused,
                subject=event["order"],
                action={"kind": "tool", "name": "refund", "arguments": {"amount": event["amount"]}},
                owner="user:anna",
                requires_review=True,
                side_effect="not_happened",
            )
            return paused.guarded_step(refund, "pay")
        except CallbackError as error:
            return f"not approved: {error}"
        except Shut as shut:
            if shut.branch != "reconcile":
                return f"{shut.branch}: {shut.reason}"
            # The step was interrupted, and nobody knows. Ask again: who looked at the world first may say go on.


def client_of(who: str, asked: Asked) -> Any:
    client = boto3.client("lambda", endpoint_url=endpoint, region_name="us-west-2", **keys)
    return decides(client, gate, asked, who=Who(who))


with (
    open_gate("sqlite:///pauseledger.db", source="urn:shop:refunds", actor="service:refunds") as gate,
    # AWS' own runner, in this process, with its API on a port. A deployed function needs none of these lines.
    DurableFunctionTestRunner(handler, poll_interval=0.05, skip_time=False) as runner,
):
    server = WebServer(WebServiceConfig(host="127.0.0.1", port=0), runner._executor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    execution = runner.run_async(input='{"order": "ORDER-3", "amount": 20}')
    while not messages:
        threading.Event().wait(0.05)

    # Minutes later, in the program of whoever decides.
    asked = Asked.from_json(messages[0])
    try:
        client_of("user:mallory", asked).send_durable_execution_callback_success(CallbackId=asked.callback_id)
    except Shut as shut:
        print("mallory:", shut.branch, "-", shut.reason)
    client_of("user:anna", asked).send_durable_execution_callback_heartbeat(CallbackId=asked.callback_id)
    client_of("user:anna", asked).send_durable_execution_callback_success(CallbackId=asked.callback_id)
    print("the function:", runner.wait_for_result(execution).result)

    # Anna clicks a second time.
    try:
        client_of("user:anna", asked).send_durable_execution_callback_success(CallbackId=asked.callback_id)
    except Shut as shut:
        print("anna again:", shut.branch, "-", shut.reason)
    print(gate.packet(asked.paused)["outcome"], refunds)
    server.shutdown()
