"""The wired graph is used as the graph was: streamed, async, on SQLite, by several threads; and with no ledger."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import StateGraph
from langgraph.types import Command, interrupt

from ledger.errors import LogUnavailable, WrongUsage
from ledger.runtimes.gate import Gate, Grant, Who
from ledger.runtimes.langgraph import Settings, Settled, aguarded, wire
from ledger.runtimes.langgraph_settings import actions_of, decisions_of
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from ledger.sending import Unknown
from tests.ledger.runtimes.langgraph_graphs import (
    ANNA,
    APPROVE,
    BELIEVING,
    CONFIG,
    TERMS,
    State,
    answer,
    asking,
    graph_of,
    refund,
    states,
    wired_on,
)


def test_streams(gate: Gate, effects: list[int]) -> None:
    """A stream gives what the graph's gives, and its interrupt is on the ledger when it ends."""
    wired = wired_on(gate, asking(effects))
    assert "__interrupt__" in next(iter(list(wired.stream({"amount": 20}, CONFIG, stream_mode="updates"))))
    assert states(gate) == ["open"]
    (question,) = wired.pending(CONFIG)
    told = list(wired.stream(Command(resume={question.id: APPROVE}), CONFIG, stream_mode="updates"))
    assert told == [{"node-0": {"done": ["refunded"]}}]
    assert (effects, states(gate)) == ([20], ["executed"])


def test_async_runs(gate: Gate, tmp_path: Path) -> None:
    """On an async saver and in async nodes: once, and adopted from the old checkpoint."""
    effects: list[int] = []

    async def node(state: State) -> State:
        interrupt({"action": refund(state["amount"])})

        async def act(_: Any) -> None:
            effects.append(state["amount"])

        done = await aguarded(refund(state["amount"]), act)
        return {"done": ["settled" if isinstance(done, Settled) else "refunded"]}

    async def run() -> list[Any]:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "graph.db")) as saver:
            wired = wired_on(gate, node, saver=saver)
            await wired.ainvoke({"amount": 20}, CONFIG)
            (question,) = await asyncio.to_thread(wired.pending, CONFIG)
            there = (await wired.graph.aget_state(CONFIG)).config
            resume: Command[Any] = Command(resume={question.id: APPROVE})
            told = [one async for one in wired.astream(resume, CONFIG, stream_mode="updates")]
            again = await wired.ainvoke(resume, there)
            await wired.aupdate_state(CONFIG, {"amount": 1})
            return [told[-1]["node-0"]["done"], again["done"]]

    assert asyncio.run(run()) == [["refunded"], ["settled"]]
    assert effects == [20]


def test_async_runs_stay_shut(gate: Gate) -> None:
    """An async node whose gate stays shut does nothing, and its run says why."""

    async def node(_: State) -> State:
        interrupt({"action": refund(20)})

        async def act(_: Any) -> None:
            raise AssertionError("acted on another plan")

        await aguarded(refund(21), act)
        return {}

    async def run() -> None:
        wired = wired_on(gate, node)
        await wired.ainvoke({"amount": 20}, CONFIG)
        (question,) = wired.pending(CONFIG)
        await wired.ainvoke(Command(resume={question.id: APPROVE}), CONFIG)

    with pytest.raises(Shut, match="Nobody was asked"):
        asyncio.run(run())


def test_another_process_goes_on(gate: Gate, effects: list[int], tmp_path: Path) -> None:
    """Everything is made anew from SQLite: the pause has the same names, and is told of once."""
    with closing(sqlite3.connect(tmp_path / "graph.db", check_same_thread=False)) as database:
        wired_on(gate, asking(effects), saver=SqliteSaver(database)).invoke({"amount": 20}, CONFIG)
    with closing(sqlite3.connect(tmp_path / "graph.db", check_same_thread=False)) as database:
        answer(wired_on(gate, asking(effects), saver=SqliteSaver(database)))
    assert (effects, states(gate)) == ([20], ["executed"])


def test_two_approvals_at_once(gate: Gate, effects: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both come to the gate before either goes through: one acts, and the other is told so."""
    wired, barrier, told = wired_on(gate, asking(effects)), Barrier(2), []
    wired.invoke({"amount": 20}, CONFIG)
    ask = gate.request_resume

    def together(paused: Paused, *, who: Who | None = None) -> Grant:
        barrier.wait(60)
        return ask(paused, who=who)

    monkeypatch.setattr(gate, "request_resume", together)
    question = wired.pending(CONFIG)[0]

    def click() -> None:
        try:
            told.append(wired.invoke(Command(resume={question.id: APPROVE}), CONFIG)["done"])
        except Shut as shut:
            told.append(shut.branch)

    clicks = [Thread(target=click) for _ in range(2)]
    for one in clicks:
        one.start()
    for one in clicks:
        one.join()
    assert effects == [20]
    assert ["refunded"] in told
    assert len(told) == 2


def test_a_pause_that_was_told_of_late_is_as_old_as_its_checkpoint(gate: Gate, effects: list[int]) -> None:
    """The process died before it told of the pause: found later, its deadline counts from when it was paused."""
    wired = wired_on(gate, asking(effects), terms={"owner": ANNA, "fresh_for": "PT0.05S"})
    wired.graph.invoke({"amount": 20}, CONFIG)
    time.sleep(0.1)
    with pytest.raises(Shut):
        answer(wired)
    assert (effects, states(gate)) == ([], ["open"])


class Away:
    """A ledger that neither answers nor can be read."""

    def publish(self, event: Any, *, deadline_seconds: float | None = None) -> Unknown:
        return Unknown(event["subject"], event["id"], event["source"], event["type"])

    def packet(self, *_: str) -> Any:
        raise LogUnavailable("It is away.", "Wait.")

    decision = work_item = packet


def test_without_a_ledger_the_graph_pauses_and_does_not_act(gate: Gate, effects: list[int]) -> None:
    """Where it can't be reached a run goes on to its interrupt, no answer is taken, and no grant is used."""
    away = Away()
    wired = wired_on(Gate(away, away, source="urn:test"), asking(effects))
    assert "__interrupt__" in wired.invoke({"amount": 20}, CONFIG)
    assert wired.invoke(None, CONFIG)["__interrupt__"]
    with pytest.raises(Shut) as caught:
        answer(wired)
    assert caught.value.branch == "unknown"
    assert effects == []
    answer(wire(wired.graph, gate, BELIEVING))
    assert effects == [20]


def test_a_ledger_that_goes_away_in_between(gate: Gate, effects: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """It was granted, and then nobody answers: the effect is not done, and its outcome is not made up."""
    wired = wired_on(gate, asking(effects))
    wired.invoke({"amount": 20}, CONFIG)
    (question,) = wired.pending(CONFIG)
    ask, publisher = gate.request_resume, gate._publisher

    def request_resume(paused: Paused, *, who: Who | None = None) -> Grant:
        grant = ask(paused, who=who)
        monkeypatch.setattr(gate, "_publisher", Away())
        return grant

    monkeypatch.setattr(gate, "request_resume", request_resume)
    with pytest.raises(Shut) as caught:
        answer(wired)
    assert (caught.value.branch, effects) == ("unknown", [])
    monkeypatch.setattr(gate, "_publisher", publisher)
    assert gate.decision(question.paused[0])["decision"] == "reconcile"


def test_questions_about_no_action(gate: Gate) -> None:
    """An interrupt that asks for a name is a pause, too; its answer permits nothing, and closes it."""
    wired = wired_on(gate, lambda _: {"done": [interrupt("what is your name?")]})
    wired.invoke({"amount": 20}, CONFIG)
    assert answer(wired, "Anna")["done"] == ["Anna"]
    assert states(gate) == ["abandoned"]


def test_who_answers_stands_in_the_config(gate: Gate, effects: list[int]) -> None:
    """The actor and the roles of the config count, else the gate's own: an answer need not name anybody."""
    wired = wired_on(gate, asking(effects), terms={**TERMS, "resume_authority": ["role:refunds"]})
    wired.invoke({"amount": 20}, CONFIG)
    with pytest.raises(Shut) as caught:
        answer(wired, {"type": "approve"})
    assert caught.value.code == "no-authority"
    configurable = {"thread_id": "T-1", "pauseledger_actor": "user:bob", "pauseledger_roles": "staff, role:refunds"}
    answer(wired, {"type": "approve"}, config={"configurable": configurable})
    assert effects == [20]


@pytest.mark.parametrize("believed", [False, True])
def test_an_answer_cannot_name_another_than_the_server_does(gate: Gate, effects: list[int], believed: bool) -> None:
    """Mallory is who the server says; her answer says that she is Anna, and holds Anna's roles: it stays shut."""
    settings = Settings(terms={**TERMS, "resume_authority": [ANNA, "role:refunds"]}, answers_name_actor=believed)
    wired = wire(graph_of(asking(effects)), gate, settings)
    wired.invoke({"amount": 20}, CONFIG)
    mallory: Any = {"configurable": {"thread_id": "T-1", "pauseledger_actor": "user:mallory"}}
    with pytest.raises(Shut, match="user:anna") as caught:
        answer(wired, config=mallory)
    assert caught.value.branch == "refused"
    with pytest.raises(Shut) as caught:
        answer(wired, {"type": "approve", "actor": "user:mallory", "roles": ["role:refunds"]}, config=mallory)
    assert caught.value.code == "no-authority"
    anna: Any = {"configurable": {"thread_id": "T-1", "pauseledger_actor": ANNA}}
    answer(wired, config=anna)
    assert effects == [20]


def test_an_answers_actor_is_read_only_where_the_settings_say_so(gate: Gate, effects: list[int]) -> None:
    """Whoever brings an answer can write any name into it: unless told to believe it, the gate stays shut."""
    wired = wire(graph_of(asking(effects)), gate, Settings(terms=TERMS))
    wired.invoke({"amount": 20}, CONFIG)
    with pytest.raises(Shut, match="answers_name_actor"):
        answer(wired)
    answer(wire(wired.graph, gate, BELIEVING))
    assert effects == [20]


def test_the_work_item_may_come_from_the_state(gate: Gate, effects: list[int]) -> None:
    """Two threads on one work item: the second is another execution, and may not while the first works on it."""
    settings = BELIEVING._replace(subject=lambda state: f"ORDER-{state['amount']}")
    wired = wire(graph_of(asking(effects)), gate, settings)
    other: Any = {"configurable": {"thread_id": "T-2"}}
    for config in (CONFIG, other):
        wired.invoke({"amount": 7}, config)
    with pytest.raises(Shut):
        answer(wired, config=other)
    answer(wired)
    assert (effects, states(gate, "ORDER-7")) == ([7], ["executed"])


def test_an_edit_told_twice_is_one(gate: Gate, effects: list[int]) -> None:
    """The process dies between an edit and its resume: the same answer again is taken, another edit is not."""
    wired = wired_on(gate, asking(effects))
    wired.invoke({"amount": 20}, CONFIG)
    (question,) = wired.pending(CONFIG)
    gate.review(question.paused[0], "edit", edited={"kind": "tool", **refund(5)}, who=Who(ANNA))
    for amount, right in ((6, False), (5, True)):
        edit = {"type": "edit", "actor": ANNA, "edited_action": {"name": "refund", "args": {"amount": amount}}}
        if right:
            answer(wired, edit)
            continue
        with pytest.raises(Shut) as caught:
            answer(wired, edit)
        assert caught.value.code == "action-changed"
    assert effects == [5]


def test_a_rejection_told_twice_is_one(gate: Gate, effects: list[int]) -> None:
    """The process dies between the rejection and the run: the same answer is taken, an approval is not."""
    wired = wired_on(gate, asking(effects))
    wired.invoke({"amount": 20}, CONFIG)
    gate.review(wired.pending(CONFIG)[0].paused[0], "reject", who=Who(ANNA))
    with pytest.raises(Shut) as caught:
        answer(wired)
    assert caught.value.branch == "closed"
    assert answer(wired, {"type": "reject", "actor": ANNA})["done"] == ["rejected"]
    assert effects == []


def test_what_cannot_be_meant(gate: Gate) -> None:
    """A graph without a saver can't pause, and an answer that nobody understands approves nothing."""
    with pytest.raises(WrongUsage, match="checkpointer"):
        wire(StateGraph(State).add_sequence([asking([])]).set_entry_point("node").compile(), gate)
    actions = actions_of({"actions": [refund(1), refund(2)]})
    assert [one.outcome for one in decisions_of({"decisions": [True, "reject"]}, actions)] == ["approve", "reject"]
    for answered in ("perhaps", {"type": "edit"}, {"type": "later"}, None):
        with pytest.raises(WrongUsage, match="approves"):
            decisions_of(answered, actions[:1])
    with pytest.raises(WrongUsage, match="1 decisions for 2"):
        decisions_of(True, actions)


def test_a_thread_with_a_long_name(gate: Gate, effects: list[int]) -> None:
    """Its execution still fits, and its generations are told apart."""
    config: Any = {"configurable": {"thread_id": "t" * 1_000}}
    wired = wire(graph_of(asking(effects)), gate, BELIEVING._replace(subject=lambda _: "T-1"))
    for amount in (1, 2):
        wired.invoke({"amount": amount}, config)
    answer(wired, config=config)
    assert (effects, states(gate)) == ([2], ["finished", "executed"])


def test_new_input_ends_the_old_execution_before_it_runs(gate: Gate, effects: list[int]) -> None:
    """While the new run is on its way, the old pause can't be approved any more."""
    seen: list[list[str]] = []

    def look(_: State) -> State:
        seen.append(states(gate) if effects else [])
        return {}

    wired = wired_on(gate, look, asking([]))
    wired.invoke({"amount": 20}, CONFIG)
    effects.append(0)
    wired.invoke({"amount": 500}, CONFIG)
    assert seen == [[], ["finished"]]


@pytest.mark.parametrize("named", [{"durability": "exit"}, {"checkpoint_during": False}])
def test_a_run_without_checkpoints_is_refused(gate: Gate, named: dict[str, Any]) -> None:
    """Where only the end is saved, nobody can tell this input's run from the last one's."""
    with pytest.raises(WrongUsage, match="durability"):
        wired_on(gate, asking([])).invoke({"amount": 20}, CONFIG, **named)


def test_a_deadline_of_a_higher_place_replaces_the_other() -> None:
    """The settings say until when, the interrupt says for how long: only what the interrupt says is told."""
    settings = Settings(terms={"owner": ANNA, "fresh_until": "2099-01-01T00:00:00Z"})
    terms = settings.terms_of({"fresh_for": "PT5M", "unknown": 1}, refund(1))
    assert terms == {"owner": ANNA, "fresh_for": "PT5M", "requires_review": True, "side_effect": "not_happened"}


def test_a_command_that_updates_the_state_as_well(gate: Gate, effects: list[int]) -> None:
    """With the answer, or without one, another amount is another action: what was approved was not that."""
    wired = wired_on(gate, asking(effects))
    wired.invoke({"amount": 20}, CONFIG)
    (question,) = wired.pending(CONFIG)
    both: Command[Any] = Command(resume={question.id: APPROVE}, update={"amount": 500})
    with pytest.raises(Shut, match="Nobody was asked"):
        wired.invoke(both, CONFIG)
    assert gate.packet(question.paused[0])["side_effect"] == "not_happened"
    assert effects == []


def test_a_command_that_only_updates_the_state(gate: Gate, effects: list[int]) -> None:
    """The node asks about the new amount; what was approved before is void, and its answer refused."""
    wired = wired_on(gate, asking(effects))
    wired.invoke({"amount": 20}, CONFIG)
    (question,) = wired.pending(CONFIG)
    gate.review(question.paused[0], "approve", who=Who(ANNA))
    wired.invoke(Command(update={"amount": 700}), CONFIG)
    (now,) = wired.pending(CONFIG)
    assert now.actions == [{"kind": "tool", **refund(700)}]
    assert gate.packet(question.paused[0])["reviewed"] is None
    with pytest.raises(Shut):
        answer(wired, {**APPROVE, "action_digest": question.paused[0].action_digest})
    answer(wired, {**APPROVE, "action_digest": now.paused[0].action_digest})
    assert effects == [700]


def test_without_its_extra_the_import_says_so() -> None:
    """Who has no LangGraph is told what brings it."""
    code = "import sys; sys.modules['langgraph'] = None; import ledger.runtimes.langgraph"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'pauseledger[langgraph]'" in done.stderr
