"""What a call of SendTaskSuccess proves, and who may make it: against moto's server, with requests that go astray."""

from __future__ import annotations

import contextvars
import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("boto3")
pytest.importorskip("moto")

from botocore.awsrequest import AWSResponse
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)

from ledger.errors import LedgerError
from ledger.runtimes import step_functions
from ledger.runtimes.botocore_requests import status_of
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from ledger.runtimes.step_functions import Task, gate_client
from ledger.runtimes.task_tokens import Kept
from tests.ledger.runtimes.test_step_functions import ANNA, Deployment, aws, endpoint

__all__ = ["aws", "endpoint"]  # fixtures


def granted(aws: Deployment) -> tuple[str, Task, Paused]:
    """An execution whose task waits, and is granted."""
    execution = aws.begin()
    task = aws.handed()
    paused = aws.opened(task)
    aws.gate.request_resume(paused, who=ANNA)
    return execution, task, paused


def outcome(aws: Deployment, paused: Paused) -> tuple[str, str]:
    return aws.gate.packet(paused)["side_effect"], aws.gate.decision(paused)["decision"]


def lose_answers(client: Any, losses: list[Exception | None], *, sent: bool) -> list[int]:
    """The next requests of SendTaskSuccess end with these errors (null: as they do); what was sent, counted."""
    real, count = client._endpoint.http_session.send, [0]

    def send(request: Any) -> Any:
        count[0] += 1
        loss = losses.pop(0) if losses else None
        answer = real(request) if sent or loss is None else None
        if loss is not None:
            raise loss
        return answer

    client._endpoint.http_session.send = send
    return count


def test_a_lost_answer_then_an_error_proves_nothing(aws: Deployment) -> None:
    """The first request landed and its answer was lost; botocore's second finds the token used: indeterminate."""
    aws.begin()
    task = aws.handed()
    paused = aws.opened(task)
    aws.gate.request_resume(paused, who=ANNA)
    count = lose_answers(aws.client, [ConnectionClosedError(endpoint_url="http://x")], sent=True)
    with pytest.raises(ClientError, match="InvalidToken"):
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert count == [2]
    assert aws.gate.packet(paused)["side_effect"] == "indeterminate"
    assert aws.gate.decision(paused)["decision"] == "reconcile"


def test_a_request_that_found_no_task_is_no_proof(aws: Deployment) -> None:
    """A task that doesn't wait may have timed out, or been answered by somebody without a gate: nobody knows."""
    execution = aws.begin(HeartbeatSeconds=1)
    task = aws.handed()
    paused = aws.opened(task, heartbeat_timeout=timedelta(hours=1))
    aws.gate.request_resume(paused, who=ANNA)
    assert aws.status(execution)["status"] in ("TIMED_OUT", "FAILED")
    count = lose_answers(aws.client, [], sent=True)
    with pytest.raises(ClientError):
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert count == [1]
    assert aws.gate.packet(paused)["side_effect"] == "indeterminate"


@pytest.mark.parametrize("error", [EndpointConnectionError, ConnectTimeoutError])
def test_requests_that_never_left_are_a_proof(aws: Deployment, error: type[Exception]) -> None:
    """Nobody listens, twice: nothing happened, and the next grant may act."""
    execution = aws.begin()
    task = aws.handed()
    paused = aws.opened(task)
    aws.gate.request_resume(paused, who=ANNA)
    losses: list[Exception | None] = [error(endpoint_url="http://x") for _ in range(2)]  # type: ignore[call-arg]
    lose_answers(aws.client, losses, sent=False)
    with pytest.raises(error):
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert aws.gate.packet(paused)["side_effect"] == "not_happened"
    aws.gate.request_resume(paused, who=ANNA)
    aws.client.send_task_success(taskToken=task.token, output="{}")
    assert aws.status(execution)["status"] == "SUCCEEDED"


def test_an_effect_and_its_callback_are_one_attempt(aws: Deployment) -> None:
    """Inside ``acting`` the task's success is let through, no other task's; the effect's error leaves it unknown."""
    aws.begin()
    task = aws.handed()
    paused = aws.opened(task)
    other = Kept(Paused("T-1", paused.execution, "other"), "another-token")
    aws.tokens.keep(other)
    with aws.gated.acting(aws.gate.request_resume(paused, who=ANNA)):
        with pytest.raises(Shut, match="another task"):
            aws.client.send_task_success(taskToken=other.token, output="{}")
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert aws.gate.packet(paused)["outcome"] == "executed"


def test_an_answer_that_can_not_be_read_proves_nothing(aws: Deployment) -> None:
    """No connection, then an answer that botocore can't parse: the second request may have landed."""
    execution, task, paused = granted(aws)
    real, losses = aws.client._endpoint.http_session.send, [ConnectTimeoutError(endpoint_url="http://x")]

    def send(request: Any) -> Any:
        if losses:
            raise losses.pop()
        answer = real(request)
        garbled = AWSResponse(answer.url, answer.status_code, answer.headers, answer.raw)
        garbled._content = b"\xff\xfe"
        return garbled

    aws.client._endpoint.http_session.send = send
    with pytest.raises(UnicodeDecodeError):
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert aws.status(execution)["status"] == "SUCCEEDED"
    assert outcome(aws, paused) == ("indeterminate", "reconcile")


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (400, "AccessDeniedException", "not_happened"),
        (503, "ThrottlingException", "indeterminate"),  # by whatever stands in between
        (400, "KmsThrottlingException", "indeterminate"),
        (302, "AccessDeniedException", "indeterminate"),
    ],
)
def test_what_an_error_of_the_service_proves(aws: Deployment, status: int, code: str, told: str) -> None:
    """Only the errors that the service gives before it looks at the task, with the status that they have there."""
    _, task, paused = granted(aws)

    def send(request: Any) -> Any:
        answer = AWSResponse(request.url, status, {}, None)
        answer._content = json.dumps({"__type": code, "message": "no"}).encode()
        return answer

    aws.client._endpoint.http_session.send = send
    with pytest.raises(ClientError):
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert outcome(aws, paused)[0] == told


def test_a_call_without_a_request_is_a_proof(aws: Deployment) -> None:
    """The request could not even be signed: nothing left, whatever the grant was."""
    _, task, paused = granted(aws)

    def unsigned(**_: Any) -> None:
        raise NoCredentialsError

    aws.client.meta.events.register("request-created.sfn", unsigned)
    with pytest.raises(NoCredentialsError):
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert outcome(aws, paused) == ("not_happened", "resume")


def test_a_later_request_that_can_not_be_signed_proves_nothing_of_the_first(aws: Deployment) -> None:
    """The first request's answer was lost, and the credentials had run out at the second."""
    _, task, paused = granted(aws)
    signed: list[int] = []

    def once(**_: Any) -> None:
        signed.append(1)
        if len(signed) > 1:
            raise NoCredentialsError

    aws.client.meta.events.register("request-created.sfn", once)
    lose_answers(aws.client, [ConnectionClosedError(endpoint_url="http://x")], sent=True)
    with pytest.raises(NoCredentialsError):
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert outcome(aws, paused)[0] == "indeterminate"


def test_the_gate_judges_what_is_sent(aws: Deployment) -> None:
    """Somebody's hook puts another task's token into the request: that task has no grant, and hears nothing."""
    _, task, paused = granted(aws)
    other = Kept(Paused("T-1", paused.execution, "other"), "another-token")
    aws.tokens.keep(other)

    def swapped(params: dict[str, Any], **_: Any) -> None:
        params["body"] = json.dumps({**json.loads(params["body"]), "taskToken": other.token})

    aws.client.meta.events.register("before-call.sfn", swapped)
    count = lose_answers(aws.client, [], sent=True)
    with pytest.raises(LedgerError):
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert count == [0]
    assert aws.gate.packet(paused)["grant"] == "granted"  # and nothing was attempted for it


@pytest.mark.parametrize(
    "where", ["before-call.sfn.SendTaskSuccess", "before-call.sfn", "before-call.*.*", "before-call"]
)
def test_nobody_refuses_after_the_attempt(aws: Deployment, where: str) -> None:
    """Whatever else stands in the client says no before the ledger is asked: the grant stays as it was."""
    _, task, paused = granted(aws)

    def refuses(**_: Any) -> None:
        raise PermissionError("not today")

    aws.client.meta.events.register(where, refuses)
    with pytest.raises(PermissionError):
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert aws.gate.packet(paused)["grant"] == "granted"


@pytest.mark.parametrize("body", ["[]", "{}", "no json"])
def test_a_request_without_a_token_is_not_let_through(aws: Deployment, body: str) -> None:
    """What can't be read can't be judged."""
    aws.client.meta.events.register("before-call.sfn", lambda params, **_: params.update(body=body))
    with pytest.raises(Shut, match="no task token"):
        aws.client.send_task_success(taskToken="t", output="{}")


def test_what_outlives_the_block_has_no_permission(aws: Deployment) -> None:
    """A task begun in ``acting`` keeps its context; once the block has ended its call is judged as any other."""
    execution, task, paused = granted(aws)
    grant = aws.gate.outstanding(paused)
    assert grant is not None
    with suppress(TimeoutError), aws.gated.acting(grant):
        begun = contextvars.copy_context()
        raise TimeoutError
    count = lose_answers(aws.client, [], sent=True)
    with pytest.raises(Shut):
        begun.run(aws.client.send_task_success, taskToken=task.token, output="{}")
    assert count == [0]
    assert aws.plain.describe_execution(executionArn=execution)["status"] == "RUNNING"


def test_a_task_is_told_once_in_its_block(aws: Deployment) -> None:
    """One success to a permit: a call that failed may be made again, one that was taken may not."""
    _, task, paused = granted(aws)
    grant = aws.gate.outstanding(paused)
    assert grant is not None
    count = lose_answers(aws.client, [EndpointConnectionError(endpoint_url="http://x") for _ in range(2)], sent=False)
    with aws.gated.acting(grant):
        with pytest.raises(EndpointConnectionError):
            aws.client.send_task_success(taskToken=task.token, output="{}")
        aws.client.send_task_success(taskToken=task.token, output="{}")
        with pytest.raises(Shut, match="has been told"):
            aws.client.send_task_success(taskToken=task.token, output="{}")
    assert count == [3]
    assert aws.gate.packet(paused)["outcome"] == "executed"
    assert step_functions._HELD.get() is None  # nothing is held on to by a thread that goes on


def test_a_call_that_was_refused_may_be_made_again_in_its_block(aws: Deployment) -> None:
    """The service was too busy: the task has not been told yet, and the permit is still there."""
    execution, task, paused = granted(aws)
    grant, real = aws.gate.outstanding(paused), aws.client._endpoint.http_session.send
    assert grant is not None

    def busy(request: Any) -> Any:
        answer = AWSResponse(request.url, 400, {}, None)
        answer._content = b'{"__type": "AccessDeniedException"}'
        return answer

    with aws.gated.acting(grant):
        aws.client._endpoint.http_session.send = busy
        with pytest.raises(ClientError):
            aws.client.send_task_success(taskToken=task.token, output="{}")
        aws.client._endpoint.http_session.send = real
        aws.client.send_task_success(taskToken=task.token, output="{}")
    assert aws.status(execution)["status"] == "SUCCEEDED"


def test_a_success_is_sent_with_just_this_grant(aws: Deployment) -> None:
    """As the job sends it: attempt, call, observation; with a grant that was used, or of another task, nothing is."""
    execution, task, paused = granted(aws)
    grant, kept = aws.gate.outstanding(paused), aws.tokens.find(task.hash)
    assert grant is not None
    assert kept is not None
    count = lose_answers(aws.client, [], sent=True)
    for wrong in (grant._replace(fence=grant.fence - 1), grant._replace(paused=paused._replace(pause="other"))):
        with pytest.raises(Shut):
            aws.gated.send_success(wrong, kept, "{}")
    aws.gated.send_success(grant, kept, '{"sent": 1}')
    with pytest.raises(Shut) as caught:
        aws.gated.send_success(grant, kept, "{}")
    assert (caught.value.branch, count) == ("closed", [1])
    assert aws.status(execution)["output"] == '{"sent": 1}'
    packet = aws.gate.packet(paused)
    assert (packet["side_effect"], packet["outcome"]) == ("happened", "executed")


def test_a_block_is_of_its_own_gate(aws: Deployment) -> None:
    """A permit of one gate lets nothing through another's client; an outer block is found through an inner one."""
    execution, task, paused = granted(aws)
    grant = aws.gate.outstanding(paused)
    assert grant is not None
    second = gate_client(aws.plain, aws.gate, aws.tokens)
    with aws.gated.acting(grant):
        with pytest.raises(Shut, match="No grant"):
            aws.plain.send_task_success(taskToken=task.token, output="{}")
        with second._holding(grant, open=True):
            aws.client.send_task_success(taskToken=task.token, output="{}")
    assert aws.status(execution)["status"] == "SUCCEEDED"


def test_a_block_may_be_left_in_another_context(aws: Deployment) -> None:
    """As an async fixture's is: the effect is told as what it was, and the context that entered it holds nothing."""
    _, task, paused = granted(aws)
    grant = aws.gate.outstanding(paused)
    assert grant is not None
    entered, block = contextvars.copy_context(), aws.gated.acting(grant)
    entered.run(block.__enter__)
    block.__exit__(None, None, None)
    assert aws.gate.packet(paused)["outcome"] == "executed"
    with pytest.raises(Shut) as caught:
        entered.run(aws.client.send_task_success, taskToken=task.token, output="{}")
    assert caught.value.branch == "closed"


def test_an_answer_without_a_status_is_no_success() -> None:
    """Whoever stands in between may answer with anything: it counts as the service's own failure, no proof."""
    assert status_of({}) == status_of({"ResponseMetadata": {}}) == 500
