"""DBOS with the ledger, on its own SQLite: its messages permit nothing, and what runs again acts no second time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dbos")

from dbos import DBOS, DBOSClient, SetWorkflowID

from consumers.gates import open_gate
from ledger.errors import LogUnavailable, NotFound, WrongUsage
from ledger.runtimes import dbos
from ledger.runtimes.dbos import DurableGate
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.guard import Permit, Unfinished
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from tests.faults.ledgers import url
from tests.faults.waiting import until

ANNA = Who("user:anna")


class Shop:
    """What the workflows act on: refunds in memory."""

    def __init__(self) -> None:
        self.durable: DurableGate
        self.database = ""
        self.refunds: list[int] = []
        self.fails: Exception | None = None
        self.later: Any = None

    def refund(self, permit: Permit) -> Any:
        if self.later is not None:
            later, self.later = self.later, None
            return later(permit)
        if self.fails is not None:
            raise self.fails
        self.refunds.append(permit.action["arguments"]["amount"])  # type: ignore[index]
        return len(self.refunds)


SHOP = Shop()


def asks(subject: str, amount: int, **terms: Any) -> Paused:
    action = {"kind": "tool", "name": "refund", "arguments": {"amount": amount}}
    given = {"owner": "user:anna", "side_effect": "not_happened", "fresh_for": timedelta(hours=1), **terms}
    return SHOP.durable.pause("refund", action, subject=subject, **given)


def acts(paused: Paused, timeout_seconds: float) -> Any:
    ended = SHOP.durable.perform(
        paused, SHOP.refund, name="refund", timeout_seconds=timeout_seconds, proof=(PermissionError,)
    )
    return list(ended)


@DBOS.workflow()
def refunds_once(subject: str, timeout_seconds: float) -> Any:
    return acts(asks(subject, 20), timeout_seconds)


@DBOS.workflow()
def refunds_twice(subject: str, timeout_seconds: float) -> Any:
    """The first pause is given up when nobody answers; the second asks the same once more."""
    first = asks(subject, 20)
    DBOS.set_event("first", list(first))
    given_up = acts(first, 0.2)
    return [given_up, acts(asks(subject, 20), timeout_seconds)]


@pytest.fixture(scope="module", autouse=True)
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder: Path = tmp_path_factory.mktemp("dbos")
    SHOP.database = f"sqlite:///{folder}/dbos.db"
    with open_gate(
        url(folder / "log.db"), outbox=folder / "outbox.db", source="urn:test", actor="service:agent"
    ) as opened:
        SHOP.durable = DurableGate(opened)
        DBOS(
            config={
                "name": "shop",
                "system_database_url": SHOP.database,
                "notification_listener_polling_interval_sec": 0.02,
                "log_level": "ERROR",
            }
        )
        DBOS.launch()
        yield opened
        DBOS.destroy()


@pytest.fixture
def workflow() -> str:
    SHOP.refunds.clear()
    SHOP.fails = None
    return f"w-{uuid.uuid4().hex[:8]}"


def begun(workflow: str, run: Callable[..., Any] = refunds_once, *more: Any) -> Paused:
    """Begin a workflow on a work item of its own; the pause that it comes to."""
    with SetWorkflowID(workflow):
        DBOS.start_workflow(run, f"ORDER-{workflow}", *(more or (20.0,)))
    return SHOP.durable.waiting(DBOS, workflow, "refund")


def result(workflow: str) -> Any:
    return DBOS.retrieve_workflow(workflow).get_result(polling_interval_sec=0.02)


def refused(workflow: str, paused: Paused) -> Any:
    """Why the step that acts stayed shut, as the workflow shows it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        shown = DBOS.get_event(workflow, "pauseledger/refund", 1)
        if shown["shut"] is not None:
            return shown["shut"]["branch"]
        time.sleep(0.02)
    raise AssertionError("it was not refused")


def test_an_answer_after_the_end_is_refused_aloud(workflow: str) -> None:
    """DBOS takes a message to a finished workflow without a word; the one who answers late is told here."""
    paused = begun(workflow)
    SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)
    assert result(workflow) == ["executed", 1, ""]
    DBOS.send(workflow, {"fence": 1}, paused.pause)  # no error
    with pytest.raises(Shut) as caught:
        SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)
    assert caught.value.branch == "closed"
    assert SHOP.refunds == [20]


def test_a_message_is_no_permission(workflow: str) -> None:
    """Whoever can write into DBOS, but was granted nothing, wakes the workflow and moves no money."""
    paused = begun(workflow)
    DBOS.send(workflow, {"fence": 0}, paused.pause)
    assert refused(workflow, paused) == "refused"
    assert SHOP.refunds == []
    SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)  # it still waits for the right one
    assert result(workflow)[0] == "executed"
    assert SHOP.refunds == [20]


def test_a_message_does_not_say_what_is_done(workflow: str) -> None:
    """The action is the one that the ledger granted: an edit's, and nothing that a message holds."""
    paused = begun(workflow)
    edited = {**(paused.action or {}), "arguments": {"amount": 5}}
    SHOP.durable.answer(DBOS, workflow, paused, "edit", edited=edited, who=ANNA)
    assert result(workflow)[0] == "executed"
    assert SHOP.refunds == [5]


def test_an_answer_for_one_pause_never_serves_the_next(workflow: str) -> None:
    """An approval that comes after its pause was given up is not taken by the next one, of the same action."""
    begun(workflow, refunds_twice)
    first = Paused(*DBOS.get_event(workflow, "first", 60))
    second = first
    while second.pause == first.pause:  # the first is given up after 0.2 seconds
        second = SHOP.durable.waiting(DBOS, workflow, "refund")
        time.sleep(0.02)
    DBOS.send(workflow, {"fence": 1}, first.pause)
    time.sleep(0.2)
    assert DBOS.get_event(workflow, "pauseledger/refund", 1)["shut"] is None
    SHOP.durable.answer(DBOS, workflow, second, who=ANNA)
    assert result(workflow) == [["timeout", None, "Nobody answered in time."], ["executed", 1, ""]]
    assert SHOP.refunds == [20]


def test_a_fork_acts_no_second_time(workflow: str, gate: Gate) -> None:
    """DBOS lets an operator run a workflow again from any step: from the effect or the start, it does not act."""
    paused = begun(workflow)
    SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)
    result(workflow)
    step = next(
        one["function_id"] for one in DBOS.list_workflow_steps(workflow) if one["function_name"].endswith("act")
    )
    assert DBOS.fork_workflow(workflow, step).get_result(polling_interval_sec=0.02)[0] == "closed"
    fork = DBOS.fork_workflow(workflow, 0).workflow_id
    again = SHOP.durable.waiting(DBOS, fork, "refund")
    assert again.execution == fork != paused.execution
    with pytest.raises(Shut):
        SHOP.durable.answer(DBOS, fork, again, who=ANNA)
    assert SHOP.refunds == [20]
    DBOS.cancel_workflow(fork)


def test_an_effect_that_failed_is_owed_until_somebody_looks(workflow: str, gate: Gate) -> None:
    """An error of the effect ends the workflow as DBOS does it, and leaves the ledger saying that nobody knows."""
    SHOP.fails = ConnectionError("cut off")
    paused = begun(workflow)
    SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)
    with pytest.raises(ConnectionError):
        result(workflow)
    assert gate.decision(paused)["decision"] == "reconcile"
    assert DBOS.resume_workflow(workflow).get_status().status == "ERROR"


def test_an_error_that_proves_it_opens_the_gate_again(workflow: str, gate: Gate) -> None:
    """An error named as proof says that nothing happened."""
    SHOP.fails = PermissionError("the provider said no")
    paused = begun(workflow)
    SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)
    with pytest.raises(PermissionError):
        result(workflow)
    assert gate.packet(paused)["side_effect"] == "not_happened"


def test_an_effect_that_has_yet_to_run_is_not_told_as_done(workflow: str, gate: Gate) -> None:
    """A step can't await: an effect that comes back with a coroutine has not happened, for all that anybody knows."""

    async def later(permit: Permit) -> Any:
        return SHOP.refund(permit)

    SHOP.later = later
    paused = begun(workflow)
    SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)
    with pytest.raises(Unfinished):
        result(workflow)
    assert (gate.packet(paused)["side_effect"], SHOP.refunds) == ("indeterminate", [])


def test_what_was_granted_and_not_sent_can_be_sent(workflow: str, gate: Gate) -> None:
    """The approver died between the grant and the message: the grant is found on the ledger, and used once."""
    paused = begun(workflow)
    assert not SHOP.durable.wake(DBOS, workflow, paused)
    gate.request_resume(paused, who=ANNA)
    client = DBOSClient(system_database_url=SHOP.database)
    try:
        assert SHOP.durable.wake(client, workflow, paused)
    finally:
        client.destroy()
    assert result(workflow)[0] == "executed"
    assert not SHOP.durable.wake(DBOS, workflow, paused)
    assert SHOP.refunds == [20]


def test_a_rejection_ends_the_workflow(workflow: str, gate: Gate) -> None:
    """A person says no: the pause is closed, the workflow ends, and nothing was done."""
    paused = begun(workflow)
    assert SHOP.durable.answer(DBOS, workflow, paused, "reject", who=ANNA) is None
    assert result(workflow)[0] == "closed"
    assert gate.packet(paused)["outcome"] == "rejected"
    assert SHOP.refunds == []


def test_pauses_are_told_of_in_workflows_only(workflow: str) -> None:
    """Outside a workflow there is no id to name the execution by; and a workflow that shows no pause is said not to."""
    with pytest.raises(WrongUsage, match="workflow"):
        asks("ORDER-1", 20)
    with pytest.raises(NotFound, match="shows no pause"):
        SHOP.durable.waiting(DBOS, "nobody", "refund", timeout_seconds=0.1)


STRANGERS = [
    {"branch": "terminate", "reason": "says who?"},
    {"fence": "7"},
    {"fence": True},
    {"fence": None},
    {},
    [],
    "go",
    7,
    None,
]


def test_a_stranger_ends_no_workflow(workflow: str) -> None:
    """Whatever anybody sends to a pause's topic: the workflow waits for the ledger's word, and gets it."""
    paused = begun(workflow)
    for message in STRANGERS:
        DBOS.send(workflow, message, paused.pause)
    until(lambda: acted(workflow) == len(STRANGERS), seconds=60.0)
    assert DBOS.get_workflow_status(workflow).status == "PENDING"  # type: ignore[union-attr]
    assert SHOP.refunds == []
    SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)
    assert result(workflow) == ["executed", 1, ""]


def acted(workflow: str) -> int:
    """How often the step that acts was run."""
    return [step["function_name"] for step in DBOS.list_workflow_steps(workflow)].count("pauseledger.act")


def test_a_stranger_can_not_make_it_wait_for_longer(workflow: str) -> None:
    """Messages that the ledger knows nothing of are no answers: the time to answer runs on."""
    paused = begun(workflow, refunds_once, 1.0)
    begins = time.monotonic()
    while DBOS.get_workflow_status(workflow).status == "PENDING":  # type: ignore[union-attr]
        DBOS.send(workflow, {"fence": 3}, paused.pause)
        assert time.monotonic() < begins + 60
        time.sleep(0.1)
    assert result(workflow)[0] == "timeout"


def test_a_stranger_can_not_use_up_an_answer(workflow: str) -> None:
    """Who knows the pause can guess all that an answer is called by: the answer is heard all the same."""
    paused = begun(workflow)
    for fence in range(9):
        DBOS.send(workflow, "first!", paused.pause, idempotency_key=f"{paused.pause}/{fence}")
    until(lambda: acted(workflow) == 9, seconds=60.0)
    SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)
    assert result(workflow)[0] == "executed"


def test_what_the_ledger_says_ends_it(workflow: str, gate: Gate) -> None:
    """A takeover ends the pause on the ledger; any message wakes the workflow, which sees that by itself."""
    paused = begun(workflow)
    claim = {"owner": "user:bob", "manual": True, "replaces": paused.execution}
    gate.ask("execution.claimed", paused._replace(execution="by-hand"), claim, who=Who("user:bob"))
    DBOS.send(workflow, "hello?", paused.pause)
    assert result(workflow)[0] == "closed"
    assert SHOP.refunds == []


def test_an_answer_that_met_no_ledger_is_sent_again(workflow: str, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger was away when the workflow asked: its grant is unused, and is sent once more, under the same fence."""

    def away(*_: Any) -> Any:
        raise LogUnavailable("away", "wait")

    paused = begun(workflow)
    with monkeypatch.context() as cut:
        cut.setattr(gate, "outstanding", away)
        SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)
        assert refused(workflow, paused) == "unknown"
    assert SHOP.durable.wake(DBOS, workflow, paused)
    assert result(workflow)[0] == "executed"


def test_a_grant_that_did_not_lead_to_the_act_gives_time_again(
    workflow: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash the one who looks has as long as the first who answered, counted from then."""
    spans: list[float] = []
    real = dbos._until
    monkeypatch.setattr(dbos, "_until", lambda seconds: spans.append(seconds) or real(seconds))
    paused = begun(workflow)
    grant = gate.request_resume(paused, who=ANNA)
    with suppress(TimeoutError), gate.guard(grant):
        raise TimeoutError  # by hand, in another process
    for _ in range(2):
        DBOS.send(workflow, {"fence": grant.fence}, paused.pause)
    assert refused(workflow, paused) == "reconcile"
    until(lambda: acted(workflow) == 2, seconds=60.0)
    gate.reconcile(paused, lambda _: "not_happened", who=ANNA)
    SHOP.durable.answer(DBOS, workflow, paused, who=ANNA)
    assert result(workflow)[0] == "executed"
    assert spans == [20.0, 20.0]


def test_deadlines_count_from_when_the_workflow_came_to_its_pause(
    workflow: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first telling failed, the second came later: the plan is not fresh for longer because of that."""
    times: list[Any] = []
    real = gate.tell_pause

    def late(paused: Paused, **terms: Any) -> Any:
        times.append(terms["time"])
        time.sleep(0.05)
        return real(paused, **terms)

    monkeypatch.setattr(gate, "tell_pause", late)
    paused = begun(workflow)
    fresh_until = datetime.fromisoformat(gate.packet(paused)["fresh_until"])
    assert abs(fresh_until - times[0] - timedelta(hours=1)) < timedelta(milliseconds=2)
    steps = [step["function_name"] for step in DBOS.list_workflow_steps(workflow)]
    assert steps.index("pauseledger.time") < steps.index("pauseledger.pause")
    SHOP.durable.answer(DBOS, workflow, paused, "reject", who=ANNA)
    result(workflow)
