"""Every refusal of the protocol's section 7, each in the shortest ledger that shows it, through the public fold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ledger.refusals import REFUSALS
from ledger.verdict import REASONS, Verdict
from tests.ledger.story import CLEAR, PAY, REFUND, Story, granted

OTHER = "sha256:other"


def claimed() -> Story:
    story = Story()
    story.claim()
    return story


def paused(**data: object) -> Story:
    """A claimed work item with one clear pause."""
    story = claimed()
    story.open(**data)
    return story


def moved() -> Story:
    story = claimed()
    story.tell("work.moved", to="T-2")
    return story


def moved_and_left() -> Story:
    story = moved()
    story.finish()
    return story


def replaced() -> Story:
    story = claimed()
    story.claim("run-2", replaces="run-1")
    return story


def closed() -> Story:
    story = paused()
    story.close("abandoned")
    return story


def stale(**data: object) -> Story:
    story = paused(**data)
    story.wait(minutes=15)
    return story


def requested() -> Story:
    story = paused()
    story.request()
    return story


def happened() -> Story:
    story = paused()
    story.observe("happened")
    return story


def contested() -> Story:
    story = paused()
    story.tell("branch.started", execution="run-2")
    return story


def attempted_late() -> Verdict:
    story, fence = granted()
    story.wait(minutes=15)
    return story.attempt(fence)


def attempted_when_closed() -> Verdict:
    story, fence = granted()
    story.finish()
    return story.attempt(fence)


def attempted_twice() -> Verdict:
    story, fence = granted()
    assert story.attempt(fence).accepted
    return story.attempt(fence)


def observed_early() -> Verdict:
    story = paused()
    read = story.item.entry(story.item.pauses["p-1"].side_effect_by)
    story.request()
    return story.observe("not_happened", settles=read)


Told = Callable[[], Verdict]

# type code -> the last entry of a story
SHOWN: dict[str, Told] = {
    "execution.claimed execution-retired": lambda: replaced().claim(),
    "execution.claimed already-canonical": lambda: claimed().claim(replaces=["run-0"]),
    "execution.claimed stale-owner": lambda: claimed().claim(owner="user:bob"),
    "execution.claimed already-claimed": lambda: claimed().claim("run-2", replaces="run-0"),
    "execution.claimed work-moved": lambda: moved().claim("run-2", replaces="run-1", acknowledges="0:0"),
    "execution.finished not-canonical": lambda: claimed().finish("run-2"),
    "owner.changed not-canonical": lambda: claimed().tell("owner.changed", execution="run-2", to="user:bob"),
    "owner.changed stale-owner": lambda: claimed().tell("owner.changed", execution="run-1", to="user:bob"),
    "pause.opened execution-retired": lambda: replaced().open(),
    "pause.opened not-canonical": lambda: claimed().open(execution="run-2"),
    "pause.opened work-moved": lambda: moved_and_left().open(execution="run-2"),
    "pause.opened pause-exists": lambda: closed().open(),
    "pause.opened stale-owner": lambda: claimed().open(owner="user:bob"),
    "heartbeat.recorded no-such-pause": lambda: paused().beat("p-2"),
    "heartbeat.recorded pause-closed": lambda: closed().beat(),
    "heartbeat.recorded not-owner": lambda: paused(heartbeat_by="service:w").beat(actor="user:eve"),
    "heartbeat.recorded lapsed": lambda: stale(heartbeat_timeout="PT15M").beat(),
    "inputs.changed no-such-pause": lambda: paused().tell("inputs.changed", pause="p-2"),
    "inputs.changed pause-closed": lambda: closed().tell("inputs.changed", pause="p-1"),
    "inputs.rechecked no-such-pause": lambda: paused().recheck(execution="run-2"),
    "inputs.rechecked pause-closed": lambda: closed().recheck(),
    "inputs.rechecked no-authority": lambda: paused().recheck(actor="user:eve"),
    "inputs.rechecked still-stale": lambda: paused().recheck(fresh_for=None, fresh_until="2026-03-28T09:00:00Z"),
    "review.decided no-such-pause": lambda: paused().review("approve", "p-2"),
    "review.decided pause-closed": lambda: closed().review("approve"),
    "review.decided no-authority": lambda: paused().review("approve", actor="user:eve"),
    "review.decided action-changed": lambda: paused().review("reject", action_digest=OTHER),
    "review.decided side-effect-open": lambda: requested().review("edit", pending_action=REFUND),
    "review.decided still-stale": lambda: stale().review("approve"),
    "resume.requested no-such-pause": lambda: paused().request("p-2"),
    "resume.requested pause-closed": lambda: closed().request(),
    "resume.requested no-authority": lambda: paused().request(actor="user:eve"),
    "resume.requested action-changed": lambda: paused().request(action_digest=None),
    "resume.requested decision-review": lambda: stale().request(),
    "resume.requested decision-reconcile": lambda: requested().request(),
    "resume.requested decision-settle": lambda: happened().request(),
    "resume.requested decision-terminate": lambda: contested().request(),
    "side_effect.attempted no-such-pause": lambda: paused().attempt(pause="p-2"),
    "side_effect.attempted pause-closed": attempted_when_closed,
    "side_effect.attempted stale-fence": attempted_twice,
    "side_effect.attempted no-longer-clear": attempted_late,
    "side_effect.observed no-such-pause": lambda: paused().observe("happened", "p-2"),
    "side_effect.observed action-changed": lambda: paused().observe("happened", action_digest=OTHER),
    "side_effect.observed contradicts": lambda: happened().observe("not_happened", actor="user:eve"),
    "side_effect.observed stale-observation": observed_early,
    "debt.waived no-such-pause": lambda: paused().waive("p-2"),
    "debt.waived no-authority": lambda: requested().waive(actor="user:eve"),
    "debt.waived no-debt": lambda: paused().waive(),
    "pause.closed no-such-pause": lambda: paused().close("abandoned", "p-2"),
    "pause.closed pause-closed": lambda: closed().close("abandoned"),
    "pause.closed side-effect-open": lambda: paused().close("executed"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_each_refusal_is_given(name: str) -> None:
    """The last entry of the story is refused with that code, in a sentence that says why."""
    kind, code = name.split()
    verdict = SHOWN[name]()
    assert (verdict.type, verdict.verdict, verdict.code) == (f"pauseledger.{kind}", "refused", code)
    assert verdict.as_dict()["reason"].endswith(".")
    assert "{" not in verdict.as_dict()["reason"]


def test_every_refusal_is_shown() -> None:
    """The stories above are those of the rules' table, none left out."""
    rules = {f"{kind.removeprefix('pauseledger.')} {rule[0]}" for kind, told in REFUSALS.items() for rule in told}
    assert rules == set(SHOWN)


def test_every_code_has_its_sentence() -> None:
    """A code that is given has words, and there are no words for codes that are never given."""
    refused = {rule[0] for rules in REFUSALS.values() for rule in rules}
    others = {
        "ok",
        "duplicate",
        "id-reused",
        "not-cloudevent",
        "key-mismatch",
        "wrong-partition",
        "unknown-type",
        "bad-data",
    }
    assert set(REASONS) == refused | others


# The order in which codes are asked, as the protocol's table lists them.
ORDER = {
    "execution.claimed": "execution-retired already-canonical stale-owner already-claimed work-moved",
    "execution.finished": "not-canonical",
    "owner.changed": "not-canonical stale-owner",
    "pause.opened": "execution-retired not-canonical work-moved pause-exists stale-owner",
    "heartbeat.recorded": "no-such-pause pause-closed not-owner lapsed",
    "work.moved": "",
    "branch.started": "",
    "inputs.changed": "no-such-pause pause-closed",
    "inputs.rechecked": "no-such-pause pause-closed no-authority still-stale",
    "review.decided": "no-such-pause pause-closed no-authority action-changed side-effect-open still-stale",
    "resume.requested": "no-such-pause pause-closed no-authority action-changed decision-review decision-reconcile "
    "decision-settle decision-terminate",
    "side_effect.attempted": "no-such-pause pause-closed stale-fence no-longer-clear",
    "side_effect.observed": "no-such-pause action-changed contradicts stale-observation",
    "debt.waived": "no-such-pause no-authority no-debt",
    "pause.closed": "no-such-pause pause-closed side-effect-open",
    "note.added": "",
}


@pytest.mark.parametrize("kind", ORDER)
def test_codes_are_asked_in_the_protocols_order(kind: str) -> None:
    """Where two refusals hold the first is given: the order is part of the protocol."""
    assert [rule[0] for rule in REFUSALS[f"pauseledger.{kind}"]] == ORDER[kind].split()


@pytest.mark.parametrize("fence", [0, -1, 99, 2**63, None])
def test_only_the_outstanding_fence_is_good(fence: int | None) -> None:
    """Another number than the grant's is stale; no number at all is no request, but a fact."""
    story, _ = granted()
    assert story.attempt(fence).code == ("ok" if fence is None else "stale-fence")


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"actor": "user:ann"}, "ok"),
        ({"actorroles": "role:ops"}, "ok"),
        ({"actorroles": "role:dev , role:ops ,"}, "ok"),
        ({"actor": "user:eve", "actorroles": "role:ops"}, "ok"),
        ({"actor": "role:ops"}, "ok"),
        ({"actor": "user:eve", "actorroles": "role:dev"}, "no-authority"),
        ({"actorroles": "role:opsx,xrole:ops"}, "no-authority"),
        ({"actorroles": " , ,"}, "no-authority"),
        ({"actorroles": "role: ops"}, "no-authority"),
        ({}, "no-authority"),
    ],
)
def test_authority_is_the_actors_or_one_of_its_roles(attributes: dict[str, str], code: str) -> None:
    """Roles are separated by commas, spaces around them ignored; an empty role is nobody."""
    story = paused(resume_authority=["user:ann", "role:ops"])
    data = {"execution": "run-1", "pause": "p-1", "action_digest": story.digest()}
    assert story.tell("resume.requested", attributes=attributes, **data).code == code


def test_an_empty_authority_is_nobodys() -> None:
    """A list that is given and empty is kept: nobody resumes, not even the owner."""
    assert paused(resume_authority=[]).request().code == "no-authority"


def test_the_owner_of_the_canonical_execution_may_waive() -> None:
    """Who owns the work item now may write off what an earlier branch left."""
    story = requested()
    story.claim("run-2", owner="user:bob", replaces="run-1")
    assert story.waive(actor="user:bob").code == "ok"


def test_who_may_resume_may_correct_what_happened() -> None:
    """With authority, and with what stands, even a known outcome is corrected; with either alone it is not."""
    story = happened()
    assert story.observe("indeterminate", actor="user:ann", settles="0:0").code == "contradicts"
    assert story.observe("indeterminate", actor="user:eve").code == "contradicts"
    assert story.observe("not_happened", actor="user:ann").code == "ok"
    assert story.packet()["side_effect"] == "not_happened"


def test_an_attempt_is_judged_as_if_its_own_grant_were_not() -> None:
    """The grant makes its own pause indeterminate, which must not stop it; another pause of the action does."""
    story, fence = granted()
    story.open("p-2", pending_action=PAY, side_effect="happened")
    assert story.attempt(fence).code == "no-longer-clear"
    story, fence = granted()
    story.open("p-2", **(CLEAR | {"pending_action": REFUND, "side_effect": "happened"}))
    verdict = story.attempt(fence)
    assert verdict.as_dict()["valid_until"] == "2026-03-28T09:15:00.000Z"
