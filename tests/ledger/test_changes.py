"""What accepted entries change: one short ledger a rule (protocol, sections 4, 5 and 7)."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.actions import action_digest
from ledger.changes import CHANGES
from ledger.events import EVENT_TYPES
from tests.ledger.story import NINE, PAY, REFUND, Story, granted


@pytest.fixture
def story() -> Story:
    """One claimed work item with one clear pause."""
    story = Story()
    story.claim(route="r-1")
    story.open()
    return story


def state(story: Story, pause: str = "p-1") -> tuple[Any, ...]:
    packet = story.packet(pause)
    return packet["state"], packet["outcome"]


def test_every_type_has_its_change() -> None:
    """The table of changes names the types of the registry, and no other."""
    assert set(CHANGES) == set(EVENT_TYPES)


def test_a_pause_becomes_a_packet(story: Story) -> None:
    """The packet holds what the pause gave, what its execution has, and null for what was never given."""
    packet = story.packet()
    digest = action_digest(PAY)
    expected = {"execution": "run-1", "opened": "0:1", "route": "r-1", "owner": "user:ann", "pending_action": PAY}
    expected |= {"action_digest": digest, "resume_authority": ["user:ann"], "requires_review": False, "reviewed": None}
    expected |= {"fresh_until": "2026-03-28T09:15:00.000Z", "heartbeat_at": "2026-03-28T09:00:00.000Z"}
    expected |= {
        "side_effect": "not_happened",
        "side_effect_by": "0:1",
        "grant": "none",
        "fence": None,
        "trigger": None,
    }
    expected |= {"state": "open", "outcome": None, "stop_signals": [], "heartbeat_timeout": None}
    assert expected.items() <= packet.items()


def test_a_pause_of_which_nothing_is_given() -> None:
    """Nothing that is missing is made up, and each gap is a stop signal."""
    story = Story()
    story.tell("pause.opened", execution="run-1", pause="p-1")
    packet = story.packet()
    assert packet["side_effect"] == "indeterminate"
    assert packet["resume_authority"] == []
    gaps = ["no-freshness-deadline", "no-owner", "no-pending-action", "side-effect-unproven"]
    assert packet["stop_signals"] == gaps
    assert story.item.canonical == "run-1"


def test_a_first_owner_fills_what_is_empty() -> None:
    """It owns the pauses that had none, and their authority where that was not given; no owner was changed."""
    story = Story()
    story.open(owner=None)
    story.open("p-2", owner=None, resume_authority=["role:ops"])
    assert story.claim(owner="user:bob", route="r-2").accepted
    assert [story.packet(name)["owner"] for name in ("p-1", "p-2")] == ["user:bob", "user:bob"]
    authorities = [story.packet(name)["resume_authority"] for name in ("p-1", "p-2")]
    assert authorities == [["user:bob"], ["role:ops"]]
    assert story.decision()["decision"] == "resume"
    assert story.item.executions["run-1"].route == "r-2"


def test_a_first_owner_may_come_with_a_pause() -> None:
    """A later pause that gives an owner names the execution's first."""
    story = Story()
    story.open(owner=None)
    story.open("p-2", owner="user:bob")
    assert story.packet()["owner"] == "user:bob"


def test_a_takeover_retires_what_it_replaces(story: Story) -> None:
    """The canonical execution and the rivals named close their pauses and can't come back; the move ends."""
    story.tell("branch.started", execution="run-9", by="user:eve")
    story.tell("work.moved", to="T-2")
    moved = story.item.entry(story.item.moved or 0)
    assert story.claim("run-2", replaces=["run-1", "run-9"], acknowledges=moved).accepted
    assert state(story) == ("closed", "terminated")
    assert story.item.canonical == "run-2"
    assert story.item.moved is None
    assert story.item.rivals == {}
    assert [story.claim(name, replaces="run-2").code for name in ("run-1", "run-9")] == ["execution-retired"] * 2


def test_a_rival_that_claims_is_one_no_more(story: Story) -> None:
    """One ceases to be a rival when it claims; others stay."""
    for name in ("run-8", "run-9"):
        story.tell("branch.started", execution=name)
    assert story.claim("run-8", replaces="run-1").accepted
    assert set(story.item.rivals) == {"run-9"}


def test_a_claim_without_acknowledging_leaves_a_canonical_one_moved(story: Story) -> None:
    """The canonical execution claims again: nothing ends but the lack of an owner."""
    story.tell("work.moved", to="T-2")
    assert story.claim().accepted
    assert story.decision()["decision"] == "terminate"


def test_finishing_closes_and_unclaims(story: Story) -> None:
    """The canonical execution that finishes leaves its pauses closed, and the work item to whoever comes."""
    story.finish()
    assert state(story) == ("closed", "finished")
    assert story.item.canonical is None
    assert story.open("p-2", execution="run-2", owner="user:bob").accepted
    assert story.item.canonical == "run-2"


def test_a_rival_that_finishes_may_have_acted() -> None:
    """What the others knew expires, approvals fall, and an unused grant is void."""
    story, fence = granted()
    story.tell("branch.started", execution="run-9", by="user:eve")
    story.wait(minutes=1)
    story.finish("run-9")
    packet = story.packet()
    assert (packet["fresh_until"], packet["grant"]) == ("2026-03-28T09:01:00.000Z", "none")
    assert story.attempt(fence).code == "stale-fence"


def test_a_changed_owner_stays_changed(story: Story) -> None:
    """The branch ends also when the owner was given back; a pause opened later is not concerned."""
    story.tell("owner.changed", execution="run-1", to="user:bob", from_="user:ann")
    story.tell("owner.changed", execution="run-1", to="user:ann", from_="user:bob")
    story.open("p-2", pending_action=REFUND)
    assert [story.decision(name)["decision"] for name in ("p-1", "p-2")] == ["terminate", "resume"]


def test_an_owner_that_stays_is_no_change(story: Story) -> None:
    """Where the new owner is the old one nothing changes."""
    assert story.tell("owner.changed", execution="run-1", to="user:ann", from_="user:ann").accepted
    assert story.decision()["decision"] == "resume"


def test_a_branch_of_ones_own_is_no_rival(story: Story) -> None:
    """A branch of the canonical or of a retired execution changes nothing; another contests, by whom or not."""
    story.claim("run-2", replaces="run-1")
    before = story.item.rivals
    for name in ("run-1", "run-2"):
        assert story.tell("branch.started", execution=name).accepted
    assert story.item.rivals == before == {}
    story.open("p-2", execution="run-2")
    story.tell("branch.started", execution="run-9")
    assert story.packet("p-2")["stop_signals"] == ["unrecorded-takeover"]
    story.tell("branch.started", execution="run-9", by="user:eve")
    assert story.packet("p-2")["stop_signals"] == []
    assert story.decision("p-2")["checks"]["ownership"]["result"] == "contested"


def test_changed_inputs_reach_open_pauses(story: Story) -> None:
    """All of them, or the one named: approvals fall, deadlines come forward, never back."""
    story.open("p-2", pending_action=REFUND)
    story.review("approve")
    story.wait(minutes=1)
    story.tell("inputs.changed", pause="p-2")
    assert story.packet()["reviewed"] == action_digest(PAY)
    story.wait(minutes=1)
    story.tell("inputs.changed")
    assert story.packet()["reviewed"] is None
    deadlines = [story.packet(name)["fresh_until"] for name in ("p-1", "p-2")]
    assert deadlines == ["2026-03-28T09:02:00.000Z", "2026-03-28T09:01:00.000Z"]


def test_changed_inputs_give_no_deadline_where_there_was_none() -> None:
    """Freshness that was never known stays unknown."""
    story = Story()
    story.open(fresh_for=None)
    story.tell("inputs.changed")
    assert story.packet()["fresh_until"] is None


def test_a_recheck_counts_as_a_heartbeat(story: Story) -> None:
    """It sets the deadline, and the heart of the pause beats at its instant, also after a lapse."""
    story.open("p-2", heartbeat_timeout="PT5M", pending_action=REFUND)
    story.wait(minutes=20)
    assert story.decision("p-2")["decision"] == "review"
    story.recheck("p-2")
    assert story.decision("p-2")["decision"] == "resume"
    assert story.decision("p-2")["valid_until"] == "2026-03-28T09:25:00.000Z"


@pytest.mark.parametrize(("outcome", "reviewed"), [("approve", PAY), ("edit", REFUND)])
def test_an_approval_is_of_one_action(outcome: str, reviewed: dict[str, Any]) -> None:
    """An approval holds for the action seen, an edit makes and approves its own; both may bring a deadline."""
    story = Story()
    story.open(requires_review=True)
    assert story.decision()["rule"] == "unreviewed"
    story.wait(minutes=5)
    story.review(outcome, pending_action=REFUND, fresh_for="PT15M")
    packet = story.packet()
    assert packet["reviewed"] == packet["action_digest"] == action_digest(reviewed)
    assert packet["fresh_until"] == "2026-03-28T09:20:00.000Z"
    assert story.decision()["decision"] == "resume"


def test_a_rejection_closes(story: Story) -> None:
    """A rejected pause is over, also where it was stale."""
    story.wait(hours=1)
    assert story.review("reject").accepted
    assert state(story) == ("closed", "rejected")


def test_a_grant_is_out_until_somebody_observes() -> None:
    """Granted and attempted read reconcile; not_happened clears the way again, with a larger fence."""
    story, fence = granted()
    assert (story.packet()["grant"], story.packet()["fence"], story.decision()["decision"]) == (
        "granted",
        1,
        "reconcile",
    )
    story.attempt(fence)
    assert (story.packet()["grant"], story.packet()["side_effect_by"]) == ("attempted", "0:2")
    story.observe("indeterminate")
    assert (story.packet()["grant"], story.packet()["side_effect_by"]) == ("attempted", "0:2")
    story.observe("not_happened")
    assert (story.packet()["grant"], story.packet()["side_effect_by"]) == ("none", "0:4")
    verdict = story.request()
    assert verdict.fence == 5
    assert verdict.action_digest == action_digest(PAY)


def test_an_observation_of_the_same_status_moves_nothing(story: Story) -> None:
    """Since when, and by which entry, stay with the entry that gave the value."""
    story.wait(minutes=1)
    story.observe("happened")
    before = story.packet()
    story.wait(minutes=1)
    story.observe("happened")
    assert story.packet() == before
    assert before["side_effect_since"] == "2026-03-28T09:01:00.000Z"


def test_an_act_without_a_grant_is_remembered(story: Story) -> None:
    """It makes the outcome unknown unless it is known to have happened; the signal stays."""
    story.attempt()
    assert story.packet()["stop_signals"] == ["acted-without-grant", "side-effect-unproven"]
    story.observe("happened")
    story.attempt()
    packet = story.packet()
    assert (packet["side_effect"], packet["stop_signals"]) == ("happened", ["acted-without-grant"])
    assert packet["side_effect_by"] == "0:4"


def test_facts_reach_a_closed_pause() -> None:
    """What happens after the end is recorded: an act without a grant, an observation, a waiver."""
    story, _ = granted()
    story.finish()
    assert story.waive().accepted
    assert story.packet()["stop_signals"] == ["debt-waived", "side-effect-unproven"]
    assert story.attempt().accepted
    assert "debt-waived" not in story.packet()["stop_signals"]
    assert story.observe("happened").accepted
    assert state(story) == ("closed", "finished")


def test_a_debt_is_owed_until_it_is_settled_or_waived() -> None:
    """An unknown outcome is owed by the pause's owner, with a date, on a closed pause too."""
    story = Story()
    story.open(reconcile_within="PT1H")
    assert story.decision()["debt"] is None
    story.wait(minutes=1)
    story.request()
    owed = {"owner": "user:ann", "since": "2026-03-28T09:01:00.000Z", "due": "2026-03-28T10:01:00.000Z"}
    assert story.decision()["debt"] == owed
    story.finish()
    assert story.decision()["debt"] == owed
    story.waive()
    assert story.decision()["debt"] is None


def test_a_waiver_closes_an_open_pause() -> None:
    """What was written off binds no other action, and the same action is never granted again."""
    story, _ = granted()
    story.waive()
    assert state(story) == ("closed", "waived")
    story.open("p-2", pending_action=REFUND)
    story.open("p-3")
    assert [story.decision(name)["decision"] for name in ("p-2", "p-3")] == ["resume", "reconcile"]


@pytest.mark.parametrize(
    ("given", "binds"),
    [("not_happened", False), ("indeterminate", True), (None, False)],
    ids=["not", "unknown", "never given"],
)
def test_an_unknown_outcome_binds_later_pauses(given: str | None, binds: bool) -> None:
    """One that was given binds every later pause; one that nobody gave binds only its own action."""
    story = Story()
    story.open(side_effect=given)
    story.open("p-2", pending_action=REFUND)
    assert story.decision("p-2")["decision"] == ("reconcile" if binds else "resume")
    story.open("p-3", pending_action=PAY)
    assert story.decision("p-3")["decision"] == ("resume" if given == "not_happened" else "reconcile")


def test_parallel_pauses_do_not_hold_each_other_up() -> None:
    """A pause that was open before the other's outcome became unknown goes on, until the other is closed."""
    story = Story()
    story.open()
    story.open("p-2", pending_action=REFUND)
    story.request()
    assert story.decision("p-2")["decision"] == "resume"
    story.review("reject")
    assert story.decision("p-2")["decision"] == "reconcile"


def test_a_terminated_branch_leaves_its_duties(story: Story) -> None:
    """Who takes over is told to reconcile the old branch, or to adopt its outcome."""
    story.request()
    story.tell("work.moved", to="T-2")
    assert story.decision()["obligations"] == ["reconcile-old-branch"]
    story.observe("happened")
    assert story.decision()["obligations"] == ["adopt-outcome"]


@pytest.mark.parametrize(
    ("status", "outcome"), [("happened", "executed"), ("happened", "settled"), ("not_happened", "abandoned")]
)
def test_a_pause_closes_with_what_is_known(story: Story, status: str, outcome: str) -> None:
    """A closed pause has its outcome, the decision closed, and nothing that time could change."""
    story.observe(status)
    assert story.close(outcome).accepted
    decision = story.decision()
    assert (decision["decision"], decision["rule"], decision["valid_until"]) == ("closed", "closed", None)
    assert state(story) == ("closed", outcome)


def test_a_pause_is_settled_by_anothers_outcome(story: Story) -> None:
    """The same action happened elsewhere: settled, and not executed."""
    story.open("p-2", side_effect="happened")
    assert story.close("executed").code == "side-effect-open"
    assert story.close("settled").accepted


def test_a_note_changes_nothing(story: Story) -> None:
    """A note is there to be read, and does no more than move the instant."""
    before = story.item
    story.wait(minutes=1)
    assert story.tell("note.added", text="looks fine", pause="nowhere").accepted
    assert story.item == before.but(version=before.version + 1, instant=story.clock)
    assert story.clock > NINE


def test_two_work_items_share_nothing() -> None:
    """What is on one ticket says nothing about another."""
    story = Story()
    story.open()
    before = story.item
    elsewhere = story.event("work.moved", {"to": "T-3"}, subject="T-2")
    assert story.put(elsewhere, key=b"T-2").accepted
    assert story.item == before
