"""Lambda durable functions, on AWS' own in-process runner and a real boto3 client: what must not trip the adapter."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_durable_execution_sdk_python.config import CallbackConfig, Duration
from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.exceptions import (
    CallbackSubmitterError,
    RetryableSerDesError,
    StepError,
)
from aws_durable_execution_sdk_python_testing.executor import Executor
from botocore.exceptions import ClientError

from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.lambda_durable import Asked, create_callback, decides, wait_for_callback
from ledger.runtimes.shut import Shut
from ledger.sending import Unknown
from projections.answers import trail_answer
from tests.contract.runtimes import lambda_durable_server
from tests.contract.runtimes.scenes import Play, ledger_of, the_pause
from tests.contract.runtimes.worker import workers
from tests.faults.ledgers import opened, url
from tests.ledger.runtimes.durable_stage import ACTION, ANNA, CONFIG, MALLORY, TERMS, Stage, refunds, staged


def test_deadlines_become_fields_and_the_callback_id_stays_secret(tmp_path: Path) -> None:
    """Timeout and HeartbeatTimeout are the packet's, from when the callback was made; the ledger has only a hash."""
    with staged(tmp_path, refunds) as stage:
        asked = stage.begun()
        packet = stage.gate.packet(asked.paused)
        history = stage.runner.get_execution_history(stage.execution)
        (made,) = [one for one in history.events if one.callback_started_details]
        assert packet["heartbeat_timeout"] == "PT5M"
        fresh_until = datetime.fromisoformat(packet["fresh_until"])
        assert abs(fresh_until - made.event_timestamp - timedelta(minutes=15)) < timedelta(milliseconds=2)
        assert packet["execution"] == stage.execution
        assert len(packet["runtime"]["callback"]) == 64
        stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", "1")
        assert stage.gate.packet(asked.paused)["outcome"] == "executed"
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert asked.paused.pause.encode() in held
    assert asked.callback_id.encode() not in held
    assert Asked.from_json(asked.to_json()) == asked
    assert asked.callback_id not in repr(asked)


def test_a_success_of_somebody_else_is_not_sent(tmp_path: Path) -> None:
    """Who has no authority gets the refusal from boto3, the function goes on waiting, and others are not hindered."""
    with staged(tmp_path, lambda context, stage: refunds(context, stage, requires_review=True)) as stage:
        asked = stage.begun()
        with pytest.raises(Shut) as caught:
            stage.client(MALLORY).send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert caught.value.code == "no-authority"
        with pytest.raises(Shut, match="No pause"):
            decides(stage.client(gated=False), stage.gate).send_durable_execution_callback_success(
                CallbackId=asked.callback_id
            )
        assert not any(one.event_type == "CallbackSucceeded" for one in _events(stage))
        stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", "1")
    assert stage.done == [ACTION]


def _events(stage: Stage) -> list[Any]:
    return list(stage.runner.get_execution_history(stage.execution).events)


def test_a_callback_decided_past_the_gate_does_nothing(tmp_path: Path) -> None:
    """The service takes a success from any bearer; the step asks the ledger, which has no grant and gives none."""
    with staged(tmp_path, refunds) as stage:
        asked = stage.begun()
        stage.client(gated=False).send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", '"refused"')
        assert stage.done == []
        assert stage.gate.decision(asked.paused)["decision"] == "resume"


def test_a_failure_is_a_rejection(tmp_path: Path) -> None:
    """It is on the ledger before it is sent; of somebody without authority it is neither."""
    with staged(tmp_path, refunds) as stage:
        asked = stage.begun()
        with pytest.raises(Shut):
            stage.client(MALLORY).send_durable_execution_callback_failure(CallbackId=asked.callback_id)
        stage.client().send_durable_execution_callback_failure(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", '"CallbackExternalError"')
        assert stage.gate.packet(asked.paused)["outcome"] == "rejected"


def test_a_closed_pause_lets_a_failure_through(tmp_path: Path) -> None:
    """After a takeover a success stays here, and a failure ends the function that waits."""
    with staged(tmp_path, refunds) as stage:
        asked = stage.begun()
        claim = {"owner": "user:bob", "manual": True, "replaces": asked.paused.execution}
        stage.gate.ask("execution.claimed", asked.paused._replace(execution="by-hand"), claim, who=Who("user:bob"))
        client = stage.client()
        with pytest.raises(Shut) as caught:
            client.send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert caught.value.branch == "closed"
        client.send_durable_execution_callback_failure(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", '"CallbackExternalError"')
    assert stage.done == []


def test_heartbeats_are_forwarded(tmp_path: Path) -> None:
    """The service forgets them; the ledger keeps them, and keeps away those of whoever is not the owner."""
    with staged(tmp_path, refunds, skip_time=False) as stage:
        asked = stage.begun()
        before = stage.gate.packet(asked.paused)["heartbeat_at"]
        stage.client().send_durable_execution_callback_heartbeat(CallbackId=asked.callback_id)
        assert stage.gate.packet(asked.paused)["heartbeat_at"] > before
        with pytest.raises(Shut) as caught:
            stage.client(MALLORY).send_durable_execution_callback_heartbeat(CallbackId=asked.callback_id)
        assert caught.value.code == "not-owner"
        assert [line["verdict"] for line in stage.trail("heartbeat.recorded")] == ["accepted", "refused"]


def test_a_late_success_leaves_no_grant_behind(tmp_path: Path) -> None:
    """The ledger would still allow it, the service does not take the callback any more: the grant is void, not owed."""

    def function(context: DurableContext, stage: Stage) -> Any:
        return refunds(
            context,
            stage,
            config=CallbackConfig(timeout=Duration.from_seconds(1)),
            fresh_for=timedelta(hours=1),
        )

    with staged(tmp_path, function, skip_time=False) as stage:
        asked = stage.begun()
        assert stage.result() == ("SUCCEEDED", '"CallbackTimeoutError"')
        with pytest.raises(ClientError) as caught:
            stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        packet = stage.gate.packet(asked.paused)
        assert (packet["grant"], packet["side_effect"]) == ("none", "not_happened")
        assert [line["verdict"] for line in stage.trail("resume.requested")] == ["accepted"]
    assert stage.done == []


def test_what_runs_again_tells_and_acts_once(tmp_path: Path) -> None:
    """The function's code runs anew with each invocation: one pause, one deadline, one act, and its result again."""

    def function(context: DurableContext, stage: Stage) -> Any:
        runs.append(1)
        result = refunds(context, stage)
        context.wait(Duration.from_seconds(1))
        return result

    runs: list[int] = []
    with staged(tmp_path, function) as stage:
        asked = stage.begun()
        stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", "1")
        assert [len(stage.trail(name)) for name in ("pause.opened", "side_effect.attempted")] == [1, 1]
    assert len(runs) >= 3
    assert stage.done == [ACTION]


def test_an_owner_who_stopped_beating_lets_it_lapse(tmp_path: Path) -> None:
    """HeartbeatTimeout passes at the service and on the ledger: no success any more, and no beat brings it back."""

    def function(context: DurableContext, stage: Stage) -> Any:
        config = CallbackConfig(heartbeat_timeout=Duration.from_seconds(1))
        return refunds(context, stage, config=config, fresh_for=timedelta(hours=1))

    with staged(tmp_path, function, skip_time=False) as stage:
        asked = stage.begun()
        assert stage.result() == ("SUCCEEDED", '"CallbackTimeoutError"')
        assert stage.gate.decision(asked.paused)["checks"]["ownership"]["result"] == "lapsed"
        client = stage.client()
        with pytest.raises(Shut) as caught:
            client.send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert caught.value.branch == "review"
        with pytest.raises(Shut) as caught:
            client.send_durable_execution_callback_heartbeat(CallbackId=asked.callback_id)
        assert caught.value.code == "lapsed"
    assert stage.done == []


def _lost(*_: Any, **__: Any) -> None:
    """What the SDK takes as an invocation that ended in the middle of a step: it began, and no more is known."""
    raise RetryableSerDesError("the process is gone")


def test_an_interrupted_step_is_asked_for_again_as_the_same_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new callback, no new pause; no grant before somebody looked, and then the act, in a step of its own."""

    def function(context: DurableContext, stage: Stage) -> Any:
        made = wait_for_callback(context, stage.gate, asks, config=CONFIG, **TERMS)
        with pytest.raises(Shut, match="interrupted") as caught:
            made.guarded_step(_lost, "act")
        assert caught.value.branch == "reconcile"
        again = wait_for_callback(context, stage.gate, asks, config=CONFIG, again=made, **TERMS)
        return again.guarded_step(lambda permit: stage.done.append(permit.fence), "act again")

    def asks(asked: Asked, _: Any) -> None:
        stage.asked.append(asked)

    monkeypatch.setattr(Executor, "RETRY_BACKOFF_SECONDS", 0.1)
    with staged(tmp_path, function) as stage:
        first = stage.begun()
        stage.client().send_durable_execution_callback_success(CallbackId=first.callback_id)
        second = stage.asks(2)
        assert (second.paused, second.callback_id == first.callback_id) == (first.paused, False)
        with pytest.raises(Shut) as caught:
            stage.client().send_durable_execution_callback_success(CallbackId=second.callback_id)
        assert caught.value.branch == "reconcile"
        stage.gate.reconcile(first.paused, lambda packet: "not_happened", who=ANNA)
        stage.client().send_durable_execution_callback_success(CallbackId=second.callback_id)
        assert stage.result()[0] == "SUCCEEDED"
        assert len(stage.gate.work_item("T-1")["pauses"]) == 1
    assert len(stage.done) == 1


def test_an_outcome_that_was_told_outlives_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The effect was done and told, the step's result was lost: the ledger's word stands, and nothing acts again."""
    monkeypatch.setattr(Executor, "RETRY_BACKOFF_SECONDS", 0.1)
    with staged(tmp_path, refunds) as stage:
        monkeypatch.setattr(stage.gate, "close", _lost)
        asked = stage.begun()
        stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert stage.result() == ("SUCCEEDED", '"settle"')
        assert [line["event"]["data"]["status"] for line in stage.trail("side_effect.observed")] == ["happened"]
    assert stage.done == [ACTION]


class Refused(Exception):
    """The target's word that it did nothing."""


@pytest.mark.parametrize(("error", "status"), [(Refused(), "not_happened"), (OSError("cut"), "indeterminate")])
def test_what_an_error_of_the_effect_proves(tmp_path: Path, error: Exception, status: str) -> None:
    """It comes as the SDK's own StepError, and is not tried again; only what was declared proves anything."""

    def function(context: DurableContext, stage: Stage) -> Any:
        def effect(_: Any) -> None:
            stage.done.append(1)
            raise error

        made = wait_for_callback(
            context, stage.gate, lambda asked, _: stage.asked.append(asked), config=CONFIG, **TERMS
        )
        try:
            made.guarded_step(effect, "act", proof=(Refused,))
        except StepError as failed:
            return failed.error_type

    with staged(tmp_path, function) as stage:
        asked = stage.begun()
        stage.client().send_durable_execution_callback_success(CallbackId=asked.callback_id)
        assert type(error).__name__ in stage.result()[1]
        assert stage.gate.packet(asked.paused)["side_effect"] == status
    assert stage.done == [1]


def test_nobody_is_asked_before_the_ledger_knows(tmp_path: Path) -> None:
    """While the pause can't be told of the step is tried again, and the callback id is given to nobody."""

    class Away:
        """A ledger that gives its first answer to the third question."""

        tries = 0

        def publish(self, event: Any, *, deadline_seconds: float | None = None) -> Any:
            self.tries += 1
            if self.tries < 3:
                return Unknown(event["subject"], event["id"], event["source"], event["type"])
            assert stage.asked == []
            return stage.gate._publisher.publish(event)

    def function(context: DurableContext, stage: Stage) -> Any:
        gate = Gate(away, stage.gate._reader, source="urn:test")
        made = create_callback(context, gate, config=CONFIG, **TERMS)
        context.step(lambda _: stage.asked.append(made.asked), name="ask")
        return made.result()

    away = Away()
    with staged(tmp_path, function) as stage:
        asked = stage.begun()
        assert away.tries == 3
        assert stage.gate.packet(asked.paused)["state"] == "open"


def test_a_submitter_that_fails_is_told_as_by_the_sdk(tmp_path: Path) -> None:
    """The error of whoever could not be asked is the one that the SDK's wait_for_callback raises."""

    def function(context: DurableContext, stage: Stage) -> Any:
        def broken(asked: Asked, _: Any) -> None:
            raise OSError("no mail today")

        with pytest.raises(CallbackSubmitterError, match="no mail"):
            wait_for_callback(context, stage.gate, broken, config=CONFIG, **TERMS)
        return "told"

    with staged(tmp_path, function) as stage:
        stage.execution = stage.runner.run_async()
        assert stage.result() == ("SUCCEEDED", '"told"')


def test_previously_interrupted_becomes_indeterminate(tmp_path: Path) -> None:
    """A process killed in the step: told once, however often the SDK raises it again; nothing acts before a look."""
    with (
        lambda_durable_server.running(tmp_path) as extra,
        workers("tests.contract.runtimes.lambda_durable_program", tmp_path) as pair,
    ):
        play = Play(pair, tmp_path, True, extra)
        play.do("start")
        assert play.do("resume", {"outcome": "approve"}, crash="attempt") == "killed"
        assert play.do("recover") == {"shut": "reconcile"}
        with ledger_of(tmp_path) as gate:
            paused = the_pause(gate)
            assert len(_interruptions(tmp_path)) == 1
            gate.reconcile(paused, lambda packet: "not_happened", who=ANNA)
            play.do("resume", {"outcome": "approve"})
            assert gate.packet(paused)["outcome"] == "executed"
    assert len(_interruptions(tmp_path)) == 1


def _interruptions(folder: Path) -> list[Any]:
    with opened(url(folder / "ledger.db"), folder / "ledger.db") as ledger:
        ledger.indexer.catch_up()
        lines = trail_answer(ledger.index, 1, "ORDER-1")
    told = [line["event"]["data"] for line in lines if line["type"] == "pauseledger.side_effect.observed"]
    return [one for one in told if "StepInterruptedError" in str(one.get("evidence"))]


def test_the_error_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever imports the adapter without the SDK reads the name of the extra."""
    monkeypatch.delitem(sys.modules, "ledger.runtimes.lambda_durable")
    for name in [one for one in sys.modules if one.startswith("aws_durable_execution_sdk_python")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Missing(), *sys.meta_path])
    with pytest.raises(ImportError, match=r"pauseledger\[lambda-durable\]"):
        __import__("ledger.runtimes.lambda_durable")


class _Missing:
    """An interpreter in which the SDK was never installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == "aws_durable_execution_sdk_python":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
