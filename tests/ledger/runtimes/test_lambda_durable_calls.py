"""Durable functions' callbacks when requests go astray, and effects that are none: what is told, and what is sent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.exceptions import StepError
from aws_durable_execution_sdk_python_testing.executor import Executor
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from ledger.errors import LogUnavailable, WrongUsage
from ledger.runtimes.lambda_durable import wait_for_callback
from ledger.runtimes.shut import Shut
from ledger.sending import Unknown
from tests.ledger.runtimes.durable_stage import ACTION, CONFIG, TERMS, Stage, refunds, staged
from tests.ledger.runtimes.test_lambda_durable import _lost
from tests.ledger.runtimes.test_step_functions_calls import lose_answers


def waits(context: DurableContext, stage: Stage) -> Any:
    return wait_for_callback(context, stage.gate, lambda asked, _: stage.asked.append(asked), config=CONFIG, **TERMS)


def test_a_lost_answer_leaves_the_grant_to_the_function(tmp_path: Path) -> None:
    """The first request was taken, its answer lost, the second refused: the function went on, and may act."""
    with staged(tmp_path, refunds) as stage:
        asked = stage.begun()
        client = stage.client()
        lose_answers(client, [ConnectionClosedError(endpoint_url="http://x")], sent=True)
        with pytest.raises(ClientError):
            client.send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", "1")
        assert stage.trail("side_effect.observed")[0]["event"]["data"]["status"] == "happened"
    assert stage.done == [ACTION]


def test_a_request_that_never_left_voids_its_grant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listened: the function waits on, nothing is owed, and the next success is granted anew."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))  # between its tries
    with staged(tmp_path, refunds) as stage:
        asked = stage.begun()
        client = stage.client()
        lost: list[Exception | None] = [EndpointConnectionError(endpoint_url="http://x") for _ in range(9)]
        lose_answers(client, lost, sent=False)
        with pytest.raises(EndpointConnectionError):
            client.send_durable_execution_callback_success(CallbackId=asked.callback_id)
        packet = stage.gate.packet(asked.paused)
        assert (packet["grant"], packet["side_effect"]) == ("none", "not_happened")
        stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", "1")


def test_a_heartbeat_that_the_ledger_has_not_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody can say whose pause it is nobody keeps it alive."""
    with staged(tmp_path, refunds, skip_time=False) as stage:
        asked = stage.begun()
        client = stage.client()
        count = lose_answers(client, [], sent=True)
        monkeypatch.setattr(stage.gate, "heartbeat", lambda *_, **__: Unknown("T-1", "i", "s", "t"))
        with pytest.raises(Shut) as caught:
            client.send_durable_execution_callback_heartbeat(CallbackId=asked.callback_id)
        assert (caught.value.branch, count) == ("unknown", [0])
        client.send_durable_execution_callback_failure(CallbackId=asked.callback_id)
        stage.result()


def test_the_token_that_is_sent_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    """Somebody's hook puts another callback's id into the call: the gate knows no such pause."""
    with staged(tmp_path, refunds) as stage:
        asked = stage.begun()
        client = stage.client()
        client.meta.events.register(
            "before-parameter-build.lambda", lambda params, **_: params.update(CallbackId="another")
        )
        with pytest.raises(Shut, match="No pause"):
            client.send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.gate.packet(asked.paused)["grant"] == "none"
        stage.client().send_durable_execution_callback_failure(CallbackId=asked.callback_id)
        stage.result()


def test_nobody_refuses_after_the_grant(tmp_path: Path) -> None:
    """Whatever else stands in the client says no before the ledger is asked."""

    def refuses(**_: Any) -> None:
        raise PermissionError("not today")

    with staged(tmp_path, refunds) as stage:
        asked = stage.begun()
        client = stage.client()
        client.meta.events.register_last("before-call.lambda", refuses)
        with pytest.raises(PermissionError):
            client.send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.gate.packet(asked.paused)["grant"] == "none"
        stage.client().send_durable_execution_callback_failure(CallbackId=asked.callback_id)
        stage.result()


def test_an_effect_that_has_yet_to_run_has_not_happened(tmp_path: Path) -> None:
    """A step can't await: what comes back as a coroutine is told as indeterminate, and nothing is closed."""

    async def later(stage: Stage) -> None:
        stage.done.append(1)

    def function(context: DurableContext, stage: Stage) -> Any:
        try:
            waits(context, stage).guarded_step(lambda _: later(stage), "act")
        except StepError as failed:
            return failed.error_type

    with staged(tmp_path, function) as stage:
        asked = stage.begun()
        stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert "Unfinished" in stage.result()[1]
        packet = stage.gate.packet(asked.paused)
        assert (packet["side_effect"], packet["state"]) == ("indeterminate", "open")
    assert stage.done == []


def test_a_generator_is_no_effect(tmp_path: Path) -> None:
    """It is refused before anything is attempted."""

    def rows(_: Any) -> Any:
        yield 1

    def function(context: DurableContext, stage: Stage) -> Any:
        with pytest.raises(WrongUsage, match="generator"):
            waits(context, stage).guarded_step(rows, "act")
        return "refused"

    with staged(tmp_path, function) as stage:
        asked = stage.begun()
        stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", '"refused"')
        assert stage.trail("side_effect.attempted") == []


class MyStepInterruptedError(Exception):
    """An error of the effect's own that is called like the SDK's."""


def test_an_error_of_the_effect_is_no_interruption(tmp_path: Path) -> None:
    """The SDK's own sign is known by its whole name: another error comes as it is, and is told of once."""

    def function(context: DurableContext, stage: Stage) -> Any:
        def fails(_: Any) -> None:
            raise MyStepInterruptedError

        with pytest.raises(StepError):
            waits(context, stage).guarded_step(fails, "act")
        return "failed"

    with staged(tmp_path, function) as stage:
        asked = stage.begun()
        stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", '"failed"')
        (told,) = stage.trail("side_effect.observed")
        assert told["event"]["data"]["evidence"]["error"] == "MyStepInterruptedError"


def test_an_interruption_that_can_not_be_told_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is away after a crash: the function reads that nobody knows, not an error of the SDK's."""

    def away(*_: Any, **__: Any) -> Any:
        raise LogUnavailable("away", "wait")

    def function(context: DurableContext, stage: Stage) -> Any:
        made = waits(context, stage)
        try:
            made.guarded_step(_lost, "act")
        except Shut as shut:
            return shut.branch

    monkeypatch.setattr(Executor, "RETRY_BACKOFF_SECONDS", 0.1)
    with staged(tmp_path, function) as stage:
        asked = stage.begun()
        stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        monkeypatch.setattr(stage.gate, "observe", away)
        assert stage.result() == ("SUCCEEDED", '"unknown"')
        assert stage.gate.decision(asked.paused)["decision"] == "reconcile"
