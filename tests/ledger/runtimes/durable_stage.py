"""A stage for durable functions: AWS' own in-process runner, its HTTP API on a port, boto3 clients and a gate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from aws_durable_execution_sdk_python import durable_execution
from aws_durable_execution_sdk_python.config import CallbackConfig, Duration
from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.exceptions import CallbackError
from aws_durable_execution_sdk_python_testing.runner import DurableFunctionTestRunner
from aws_durable_execution_sdk_python_testing.web.server import WebServer, WebServiceConfig

from consumers.gates import open_gate
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.lambda_durable import Asked, decides, wait_for_callback
from ledger.runtimes.shut import Shut
from projections.answers import trail_answer
from tests.faults.ledgers import opened, url
from tests.faults.waiting import until

ANNA, MALLORY = Who("user:anna"), Who("user:mallory")
ACTION = {"kind": "tool", "name": "refund", "arguments": {"amount": 20}}
CONFIG = CallbackConfig(timeout=Duration.from_minutes(15), heartbeat_timeout=Duration.from_minutes(5))
TERMS: dict[str, Any] = {
    "name": "refund",
    "subject": "T-1",
    "action": ACTION,
    "owner": "user:anna",
    "side_effect": "not_happened",
}


class Stage:
    """One durable execution of ``function(context, stage)``: what was asked, and what was done."""

    def __init__(self, folder: Path, gate: Gate, runner: DurableFunctionTestRunner, address: str) -> None:
        self.gate = gate
        self.runner = runner
        self.done: list[Any] = []
        self.asked: list[Asked] = []
        self._folder = folder
        self._address = address
        self.execution = ""
        self.clients: list[Any] = []

    def client(self, who: Who | None = ANNA, *, gated: bool = True) -> Any:
        """A boto3 client, of one who may decide all that was asked."""
        client = boto3.client(
            "lambda",
            endpoint_url=self._address,
            region_name="us-west-2",
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )
        self.clients.append(client)
        return decides(client, self.gate, *self.asked, who=who) if gated else client

    def begun(self, callbacks: int = 1) -> Asked:
        """Start, and wait until somebody was asked."""
        self.execution = self.runner.run_async()
        return self.asks(callbacks)

    def asks(self, callbacks: int) -> Asked:
        until(lambda: len(self.asked) >= callbacks)
        return self.asked[-1]

    def result(self) -> Any:
        """The execution's status and result, at its end."""
        ended = self.runner.wait_for_result(self.execution, 30)
        return ended.status.value, ended.result

    def trail(self, name: str) -> list[Any]:
        """The entries of one type on the ledger, with their events."""
        with opened(url(self._folder / "log.db"), self._folder / "log.db") as ledger:
            ledger.indexer.catch_up()
            lines = trail_answer(ledger.index, 1, "T-1")
        return [line for line in lines if line["type"] == f"pauseledger.{name}"]


@contextmanager
def staged(folder: Path, function: Callable[[DurableContext, Stage], Any], **runner: Any) -> Iterator[Stage]:
    """The runner in this process, its HTTP API on a free port, and a gate."""
    stages: list[Stage] = []
    handler = durable_execution(lambda event, context: function(context, stages[0]))
    with (
        open_gate(url(folder / "log.db"), outbox=folder / "outbox.db", source="urn:test", actor="service:fn") as gate,
        DurableFunctionTestRunner(handler, poll_interval=0.05, **runner) as running,
    ):
        server = WebServer(WebServiceConfig(host="127.0.0.1", port=0), running._executor)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stages.append(Stage(folder, gate, running, f"http://127.0.0.1:{server.server_address[1]}"))
        try:
            yield stages[0]
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            for client in stages[0].clients:
                client.close()
    running._scheduler._loop.close()  # its own close leaves it open


def refunds(context: DurableContext, stage: Stage, **terms: Any) -> Any:
    """The usual function: ask, wait, act; and as often as somebody must look in between."""
    paused = None
    while True:
        try:
            asks = {**TERMS, "config": CONFIG, "again": paused, **terms}
            paused = wait_for_callback(context, stage.gate, lambda asked, _: stage.asked.append(asked), **asks)
            return paused.guarded_step(lambda permit: stage.done.append(permit.action) or len(stage.done), "act")
        except CallbackError as error:
            return type(error).__name__
        except Shut as shut:
            if shut.branch != "reconcile":
                return shut.branch
