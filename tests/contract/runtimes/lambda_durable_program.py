"""A durable function that pauses on a callback, and the person who decides it with boto3.

The runner is the service, and outlives the program: ``lambda_durable_server.py``. It invokes the function here.
"""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import boto3
from aws_durable_execution_sdk_python import durable_execution
from aws_durable_execution_sdk_python.config import (
    CallbackConfig,
    Duration,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
)
from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.exceptions import CallbackError
from aws_durable_execution_sdk_python.retries import RetryPresets
from botocore.exceptions import ClientError

from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.lambda_durable import Asked, PausedCallback, decides, wait_for_callback
from ledger.runtimes.shut import Shut
from tests.contract.runtimes.lambda_durable_endpoint import Endpoint
from tests.contract.runtimes.program import serve
from tests.contract.runtimes.scene import AMOUNT, OWNER, SUBJECT, Approval, Scene

_PATIENCE_SECONDS = 40.0
_OVER = ("closed", "settle", "terminate")
"""What the function need not wait for any more."""
_DECIDED = ("CallbackSucceeded", "CallbackFailed", "CallbackTimedOut")


class LambdaDurable:
    """The function, its deployment and the person."""

    def __init__(self) -> None:
        self._scenes: dict[str, Scene] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._looking: Any = None  # a client takes longer to make than to ask

    def start(self, scene: Scene) -> Any:
        self._deployed(scene, port=0)
        told = self._begin(scene)
        (scene.folder / "execution").write_text(told)
        self._until(lambda: (scene.folder / "asked.json").exists() and self._idle(scene))
        return None

    def resume(self, scene: Scene, approval: Approval) -> Any:
        self._deployed(scene)
        try:
            told = self._decided(scene, approval) if scene.wired else self._sent(scene, approval)
        except Shut as shut:
            return {"shut": shut.branch}
        self._until(lambda: self._ended(scene))
        return told

    def recover(self, scene: Scene) -> Any:
        self._deployed(scene)
        self._until(lambda: self._ended(scene) or (scene.wired and self._asks(scene)))
        return None if self._ended(scene) else self.resume(scene, Approval())

    # -- the person ---------------------------------------------------------------------------------

    def _decided(self, scene: Scene, approval: Approval) -> Any:
        who = Who(approval.actor)
        callback, paused = Asked.from_json((scene.folder / "asked.json").read_text())
        with scene.gate() as gate:
            if approval.outcome == "edit":
                paused = gate.review(paused, "edit", edited=scene.action(approval.amount or 0), who=who)
            client = decides(_client(scene), gate, Asked(callback, paused), who=who)
            if approval.outcome == "reject":
                return _failed(client, callback)
            try:
                client.send_durable_execution_callback_success(CallbackId=callback)
            except Shut as shut:
                if shut.branch == "settle":
                    gate.close(paused, "settled", who=who)
                if shut.branch in _OVER and not self._ended(scene):
                    return {"shut": shut.branch, "failed": _failed(client, callback)}
                raise
        return None

    def _sent(self, scene: Scene, approval: Approval) -> Any:
        callback = json.loads((scene.folder / "asked.json").read_text())
        scene._wait_for_the_other()
        amount = AMOUNT if approval.amount is None else approval.amount
        try:
            if approval.outcome == "reject":
                return _failed(_client(scene), callback)
            told = json.dumps({"amount": amount})
            _client(scene).send_durable_execution_callback_success(CallbackId=callback, Result=told)
        except ClientError as error:
            return {"error": error.response["Error"]["Code"]}
        return None

    # -- the function -------------------------------------------------------------------------------

    def _wired(self, context: DurableContext, scene: Scene, gate: Gate) -> Any:
        paused: PausedCallback | None = None
        while True:
            try:
                paused = wait_for_callback(
                    context,
                    gate,
                    lambda asked, _: _write(scene, asked.to_json()),
                    name="refund",
                    config=CallbackConfig(timeout=_timeout(scene)),
                    again=paused,
                    subject=SUBJECT,
                    action=scene.action(),
                    owner=OWNER,
                    requires_review=True,
                    side_effect="not_happened",
                )
                return paused.guarded_step(
                    lambda permit: scene.effect((permit.action or {})["arguments"]["amount"], permit), "act"
                )
            except CallbackError as error:
                return {"ended": type(error).__name__}
            except Shut as shut:
                if shut.branch != "reconcile":
                    return {"shut": shut.branch}

    def _bare(self, context: DurableContext, scene: Scene) -> Any:
        told = context.wait_for_callback(
            lambda callback, _: _write(scene, json.dumps(callback)),
            name="refund",
            config=WaitForCallbackConfig(timeout=_timeout(scene)),
        )
        amount = json.loads(told)["amount"]
        once = StepConfig(retry_strategy=RetryPresets.none(), step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)
        return context.step(lambda _: scene.effect(amount), name="act", config=once)

    # -- its deployment -----------------------------------------------------------------------------

    def _deployed(self, scene: Scene, port: int | None = None) -> None:
        """The function answers in this process, unless the other one has it."""
        name = str(scene.folder)
        self._scenes[name] = scene
        self._looking = self._looking or _client(scene)
        if name in self._endpoints:
            return

        def function(event: Any, context: DurableContext) -> Any:
            now = self._scenes[name]
            if not now.wired:
                return self._bare(context, now)
            with now.gate() as gate:
                return self._wired(context, now, gate)

        handler = durable_execution(function, boto3_client=self._looking)
        kept = scene.folder / "port"
        try:
            self._endpoints[name] = Endpoint(handler, int(kept.read_text()) if port is None else port)
        except OSError:
            return
        kept.write_text(str(self._endpoints[name].port))

    def _begin(self, scene: Scene) -> str:
        name = uuid.uuid4().hex
        asked = {
            "AccountId": "123456789012",
            "FunctionName": "refunds",
            "FunctionQualifier": "$LATEST",
            "ExecutionName": name,
            "ExecutionTimeoutSeconds": 7200,
            "ExecutionRetentionPeriodDays": 1,
            "InvocationId": name,
            "Input": "{}",
            "LambdaEndpoint": f"http://127.0.0.1:{self._endpoints[str(scene.folder)].port}",
        }
        request = urllib.request.Request(
            f"{scene.extra['runner']}/start-durable-execution",
            data=json.dumps(asked).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(json.loads(response.read())["ExecutionArn"])

    def _idle(self, scene: Scene) -> bool:
        return self._endpoints[str(scene.folder)].idle()

    def _ended(self, scene: Scene) -> bool:
        arn = (scene.folder / "execution").read_text()
        return str(self._looking.get_durable_execution(DurableExecutionArn=arn)["Status"]) != "RUNNING"

    def _asks(self, scene: Scene) -> bool:
        """Whether the function waits for the callback that somebody was asked last."""
        arn = (scene.folder / "execution").read_text()
        events = self._looking.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        callback = Asked.from_json((scene.folder / "asked.json").read_text()).callback_id
        made = {one["Id"] for one in events if one.get("CallbackStartedDetails", {}).get("CallbackId") == callback}
        over = {one["Id"] for one in events if one["EventType"] in _DECIDED}
        return bool(made - over)

    def _until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError("The durable execution did not get there.")
            time.sleep(0.05)


def _client(scene: Scene) -> Any:
    """A client on the runner; one a caller, for what stands in one must not stand in another's."""
    return boto3.client(
        "lambda",
        endpoint_url=scene.extra["runner"],
        region_name="us-west-2",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


def _failed(client: Any, callback: str) -> Any:
    client.send_durable_execution_callback_failure(CallbackId=callback, Error={"ErrorMessage": "rejected"})
    return None


def _timeout(scene: Scene) -> Duration:
    return Duration.from_seconds(max(1.0, scene.fresh_seconds))


def _write(scene: Scene, text: str) -> None:
    (scene.folder / "asked.new").write_text(text)
    (scene.folder / "asked.new").replace(scene.folder / "asked.json")


if __name__ == "__main__":
    serve(LambdaDurable())
