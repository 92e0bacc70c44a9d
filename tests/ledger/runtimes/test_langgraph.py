"""The LangGraph adapter on real graphs: each trap of its runtime; none acts twice, or on another plan."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from langgraph.graph import StateGraph
from langgraph.types import Command, interrupt

from ledger.errors import WrongUsage
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.langgraph import Settings, Wired, guarded, wire
from ledger.runtimes.shut import Shut
from tests.ledger.runtimes.langgraph_graphs import (
    ANNA,
    APPROVE,
    CONFIG,
    REJECT,
    TERMS,
    State,
    answer,
    asking,
    graph_of,
    refund,
    states,
    wired_on,
)


def paused_at(wired: Wired, amount: int = 20) -> Any:
    """A run that waits for its approval: the question."""
    wired.invoke({"amount": amount}, CONFIG)
    return wired.pending(CONFIG)[0]


def test_an_interrupt_is_a_packet(gate: Gate, effects: list[int]) -> None:
    """Owner, route, deadline and recheck come from the interrupt's value, else from the action's or all settings."""
    value = {
        "action": refund(20),
        "owner": "user:bob",
        "recheck": "read the order",
        "fresh_until": "2099-01-01T00:00:00Z",
    }
    settings = Settings(terms={**TERMS, "route": "all"}, by_action={"refund": {"route": "refunds"}})
    wired = wire(graph_of(lambda state: {"done": [interrupt(value)]}), gate, settings)
    packet = gate.packet(paused_at(wired).paused[0])
    assert (packet["owner"], packet["route"], packet["recheck"]) == ("user:bob", "refunds", "read the order")
    assert packet["fresh_until"].startswith("2099-01-01")
    assert packet["runtime"]["node"] == "node-0"
    assert (packet["subject"], packet["runtime"]["thread_id"]) == ("T-1", "T-1")
    assert packet["pending_action"] == {"kind": "tool", **refund(20)}


def test_an_approval_acts_once_and_ends_the_execution(gate: Gate, effects: list[int]) -> None:
    """The effect is done in the guard, with its fence; the pause is closed, and the work item is free again."""
    wired = wired_on(gate, asking(effects))
    question = paused_at(wired)
    assert answer(wired)["done"] == ["refunded"]
    assert effects == [20]
    assert gate.packet(question.paused[0])["outcome"] == "executed"
    assert gate.work_item("T-1")["canonical"] is None


def test_a_rejection_closes(gate: Gate, effects: list[int]) -> None:
    """A rejected pause is closed, and its node goes its other way."""
    wired = wired_on(gate, asking(effects))
    paused_at(wired)
    assert answer(wired, REJECT)["done"] == ["rejected"]
    assert (effects, states(gate)) == ([], ["rejected"])


def test_an_edit_is_done_as_edited(gate: Gate, effects: list[int]) -> None:
    """What is done is what the reviewer made of it, and nothing else."""
    wired = wired_on(gate, asking(effects))
    paused_at(wired)
    answer(wired, {"type": "edit", "actor": ANNA, "edited_action": {"name": "refund", "args": {"amount": 5}}})
    assert (effects, states(gate)) == ([5], ["executed"])


def test_new_input_ends_what_was_paused(gate: Gate, effects: list[int]) -> None:
    """An approval of the earlier input serves nothing of the later one: neither its answer nor its review."""
    wired = wired_on(gate, asking(effects))
    old = paused_at(wired)
    gate.review(old.paused[0], "approve", who=Who(ANNA))
    new = paused_at(wired, 500)
    assert states(gate) == ["finished", "open"]
    with pytest.raises(Shut, match="does not wait"):
        wired.invoke(Command(resume={old.id: APPROVE}), CONFIG)
    with pytest.raises(Shut):
        gate.request_resume(new.paused[0], who=Who(ANNA))
    assert effects == []
    answer(wired)
    assert effects == [500]


def test_new_input_past_the_wiring_is_noticed(gate: Gate, effects: list[int]) -> None:
    """Input that somebody gave to the bare graph ends the old execution at the next look."""
    wired = wired_on(gate, asking(effects))
    paused_at(wired)
    wired.graph.invoke({"amount": 500}, CONFIG)
    wired.observe(CONFIG)
    assert states(gate) == ["finished", "open"]


@pytest.mark.parametrize("past_the_wiring", [False, True])
def test_a_state_that_was_edited_is_approved_anew(gate: Gate, effects: list[int], past_the_wiring: bool) -> None:
    """``update_state`` hides an interrupt: what was approved before it is over, and its grant with it."""
    wired = wired_on(gate, asking(effects))
    old = paused_at(wired)
    gate.review(old.paused[0], "approve", who=Who(ANNA))
    (wired.graph if past_the_wiring else wired).update_state(CONFIG, {"amount": 500})
    wired.invoke(None, CONFIG)
    assert states(gate) == ["finished", "open"]
    with pytest.raises(Shut):
        wired.invoke(Command(resume={old.id: APPROVE}), CONFIG)
    assert effects == []
    answer(wired)
    assert effects == [500]


def test_a_step_that_update_state_skips_is_no_approval(gate: Gate, effects: list[int]) -> None:
    """Writing the state in the name of the asking node gets to the effect, which stays shut."""

    def ask(state: State) -> State:
        return {"done": [interrupt({"action": refund(state["amount"])})]}

    def act(state: State) -> State:
        guarded(refund(state["amount"]), lambda _: effects.append(state["amount"]))
        return {}

    wired = wired_on(gate, ask, act)
    paused_at(wired)
    wired.graph.update_state(CONFIG, {"done": [APPROVE]}, "node-0")
    with pytest.raises(Shut, match="Nobody was asked"):
        wired.invoke(None, CONFIG)
    assert effects == []


def test_an_old_checkpoint_does_not_act_again(gate: Gate, effects: list[int]) -> None:
    """Resumed from where it was paused, or forked there and approved once more, the effect is adopted."""
    wired = wired_on(gate, asking(effects))
    old = paused_at(wired)
    there = wired.get_state(CONFIG).config
    answer(wired)
    assert wired.invoke(Command(resume={old.id: APPROVE}), there)["done"] == ["settled"]
    wired.invoke(None, there)
    assert answer(wired)["done"] == ["settled"]
    assert effects == [20]


def test_a_stale_answer_serves_no_other_pause(gate: Gate, effects: list[int]) -> None:
    """A second click: by its id it is stale; without an id it would be the next pause's, and is refused."""
    wired = wired_on(gate, asking(effects), asking(effects, amount=lambda state: 500))
    old = paused_at(wired)
    answer(wired)
    with pytest.raises(Shut, match="does not wait") as caught:
        wired.invoke(Command(resume={old.id: APPROVE}), CONFIG)
    assert caught.value.branch == "closed"
    for plain in (APPROVE, True, {}):
        with pytest.raises(WrongUsage, match="names no interrupt"):
            wired.invoke(Command(resume=plain), CONFIG)
    assert (effects, states(gate)) == ([20], ["executed", "open"])


def test_an_interrupt_emitted_again_keeps_its_first_deadline(gate: Gate) -> None:
    """A node that runs its beginning again says a later deadline each time: the first one stands."""

    def node(state: State) -> State:
        later = datetime.now(UTC) + timedelta(hours=1)
        return {"done": [interrupt({"action": refund(20), "fresh_until": later.isoformat()})]}

    wired = wired_on(gate, node, terms={"owner": ANNA})
    question = paused_at(wired)
    before = gate.packet(question.paused[0])["fresh_until"]
    time.sleep(0.01)
    wired.graph.invoke(Command(resume={"0" * 32: APPROVE}), CONFIG)  # a stale id, past the wiring
    assert wired.pending(CONFIG)[0].value != question.value
    again = wire(wired.graph, gate, Settings(terms={"owner": ANNA}))  # another process
    again.observe(CONFIG)
    assert gate.packet(question.paused[0])["fresh_until"] == before
    assert states(gate) == ["open"]


def test_an_interrupt_that_asks_about_another_action_now(gate: Gate, effects: list[int]) -> None:
    """An answer to what was shown first is none to what waits now: it must name the action by its digest."""
    price = count(1)
    wired = wired_on(gate, asking([]), asking(effects, amount=lambda state: next(price)), parallel=True)
    wired.invoke({"amount": 20}, CONFIG)
    before = next(one for one in wired.pending(CONFIG) if one.node == "node-1")
    gate.review(before.paused[0], "approve", who=Who(ANNA))
    other = next(one for one in wired.pending(CONFIG) if one.node == "node-0")
    wired.invoke(Command(resume={other.id: APPROVE}), CONFIG)
    (now,) = wired.pending(CONFIG)
    assert now.id == before.id
    assert now.paused != before.paused
    assert gate.decision(before.paused[0])["decision"] == "review"  # its approval is void
    with pytest.raises(Shut, match="several actions"):
        answer(wired)
    with pytest.raises(Shut, match="another action"):
        answer(wired, {**APPROVE, "action_digest": before.paused[0].action_digest})
    with pytest.raises(Shut, match="Nobody was asked"):  # the node computes a third price when it runs again
        answer(wired, {**APPROVE, "action_digest": now.paused[0].action_digest})
    assert effects == []


def test_parallel_interrupts(gate: Gate, effects: list[int]) -> None:
    """Each is a pause of its own; answered one by one or together, each acts once."""
    nodes = [asking(effects, amount=lambda _, amount=amount: amount) for amount in (1, 2, 3)]
    wired = wired_on(gate, *nodes, parallel=True)
    wired.invoke({}, CONFIG)
    assert states(gate) == ["open"] * 3
    answer(wired)
    assert effects == [1]
    rest = wired.pending(CONFIG)
    assert [one.node for one in rest] == ["node-1", "node-2"]
    wired.invoke(Command(resume={one.id: APPROVE for one in rest}), CONFIG)
    assert sorted(effects) == [1, 2, 3]
    assert states(gate) == ["executed"] * 3


def test_parallel_interrupts_about_the_same_action(gate: Gate, effects: list[int]) -> None:
    """The same action twice is one effect; the answers come one after the other, the second adopts the first."""
    wired = wired_on(gate, asking(effects), asking(effects), parallel=True)
    paused_at(wired)
    both = wired.pending(CONFIG)
    with pytest.raises(Shut):
        wired.invoke(Command(resume={one.id: APPROVE for one in both}), CONFIG)
    assert effects == []
    answer(wired)
    assert sorted(answer(wired)["done"]) == ["refunded", "settled"]
    assert (effects, states(gate)) == ([20], ["executed", "settled"])


def test_one_wrong_answer_leaves_no_grant_behind(gate: Gate, effects: list[int]) -> None:
    """Where one of several answers is refused nothing runs, and what was granted for the others is void."""
    nodes = [asking(effects, amount=lambda _, amount=amount: amount) for amount in (1, 2)]
    wired = wired_on(gate, *nodes, parallel=True)
    wired.invoke({}, CONFIG)
    one, other = wired.pending(CONFIG)
    with pytest.raises(Shut) as caught:
        wired.invoke(Command(resume={one.id: APPROVE, other.id: {"type": "approve", "actor": "user:eve"}}), CONFIG)
    assert (caught.value.code, effects) == ("no-authority", [])
    assert gate.decision(one.paused[0])["decision"] == "resume"
    wired.invoke(Command(resume={one.id: APPROVE, other.id: APPROVE}), CONFIG)
    assert sorted(effects) == [1, 2]


def test_a_grant_that_came_to_no_effect_is_given_back(gate: Gate, effects: list[int]) -> None:
    """A node that was approved and then does nothing owes nothing: it reads not_happened, and not reconcile."""
    wired = wired_on(gate, lambda _: {"done": [interrupt({"action": refund(20)})]})
    question = paused_at(wired)
    answer(wired)
    packet = gate.packet(question.paused[0])
    assert (packet["side_effect"], packet["grant"], packet["outcome"]) == ("not_happened", "none", "finished")


def test_an_effect_in_a_later_step(gate: Gate, effects: list[int]) -> None:
    """Asked in one node and done in another, behind a second pause: each is asked for when it is to be done."""

    def act(state: State) -> State:
        guarded(refund(20), lambda _: effects.append(20))
        return {}

    def ask(state: State) -> State:
        return {"done": [interrupt({"action": refund(20)})]}

    wired = wired_on(gate, ask, asking(effects, amount=lambda _: 1), act)
    paused_at(wired)
    answer(wired)
    assert effects == []
    answer(wired)
    assert (effects, states(gate)) == ([1, 20], ["executed", "executed"])


def test_a_subgraph_speaks_as_its_root(gate: Gate, effects: list[int]) -> None:
    """Two interrupts in a subgraph are pauses of the root's execution, on the root's thread."""
    inner = StateGraph(State)
    inner.add_sequence([("first", asking(effects)), ("second", asking(effects, amount=lambda _: 1))])
    inner.set_entry_point("first")
    wired = wired_on(gate, inner.compile())
    paused_at(wired)
    answer(wired)
    answer(wired)
    pauses = gate.work_item("T-1")["pauses"]
    assert len({one["execution"] for one in pauses}) == 1
    assert (effects, states(gate)) == ([20, 1], ["executed", "executed"])


def test_past_the_wiring_the_effect_stays_shut(gate: Gate, effects: list[int]) -> None:
    """Resumed on the bare graph, also with a review and a grant on the ledger, the effect is not done."""
    wired = wired_on(gate, asking(effects))
    question = paused_at(wired)
    gate.review(question.paused[0], "approve", who=Who(ANNA))
    gate.request_resume(question.paused[0], who=Who(ANNA))
    with pytest.raises(Shut, match="not run through wire"):
        wired.graph.invoke(Command(resume={question.id: APPROVE}), CONFIG)
    assert effects == []


def test_a_node_that_does_something_else_stays_shut(gate: Gate, effects: list[int]) -> None:
    """What was approved is what may be done: another amount is another action."""

    def node(state: State) -> State:
        interrupt({"action": refund(20)})
        guarded(refund(21), lambda _: effects.append(21))
        return {}

    wired = wired_on(gate, node)
    paused_at(wired)
    with pytest.raises(Shut, match="Nobody was asked"):
        answer(wired)
    assert effects == []


def test_a_late_answer_is_not_stored(gate: Gate, effects: list[int]) -> None:
    """A stale plan keeps the gate shut before the graph runs; rechecked, the same answer is taken."""
    wired = wired_on(gate, asking(effects), terms={"owner": ANNA, "fresh_for": "PT0.01S"})
    question = paused_at(wired)
    time.sleep(0.02)
    with pytest.raises(Shut):
        answer(wired)
    wired.invoke(None, CONFIG)  # which acts where an approval was stored
    assert effects == []
    gate.recheck(question.paused[0], fresh_for=timedelta(hours=1), who=Who(ANNA))
    answer(wired)
    assert effects == [20]


def test_a_grant_that_came_too_late_is_given_back(gate: Gate, effects: list[int]) -> None:
    """The plan went stale while the node got ready: it is not done, and it is known that it was not."""

    def node(state: State) -> State:
        interrupt({"action": refund(20)})
        time.sleep(3)
        guarded(refund(20), lambda _: effects.append(20))
        return {}

    wired = wired_on(gate, node, terms={"owner": ANNA, "fresh_for": "PT3S"})
    question = paused_at(wired)
    with pytest.raises(Shut):
        answer(wired)
    assert (effects, gate.packet(question.paused[0])["side_effect"]) == ([], "not_happened")
    assert gate.decision(question.paused[0])["decision"] == "review"


def test_an_effect_that_failed_is_looked_after(gate: Gate) -> None:
    """Nobody knows what an error leaves behind: no second try before somebody has looked."""
    tries = []

    def fail(amount: int) -> None:
        tries.append(amount)
        if len(tries) == 1:
            raise OSError("cut off")

    def node(state: State) -> State:
        interrupt({"action": refund(20)})
        guarded(refund(20), lambda _: fail(20))
        return {}

    wired = wired_on(gate, node)
    question = paused_at(wired)
    with pytest.raises(OSError, match="cut off"):
        answer(wired)
    with pytest.raises(Shut) as caught:
        answer(wired)
    assert (caught.value.branch, tries) == ("reconcile", [20])
    gate.reconcile(question.paused[0], lambda _: "not_happened", who=Who(ANNA))
    answer(wired)
    assert tries == [20, 20]
