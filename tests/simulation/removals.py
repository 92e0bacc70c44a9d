"""Rules taken out, one at a time: each must open a hole that the search finds. Rules are data, so a removal is an edit.

``apply`` takes a rule out by monkeypatching the core; ``letter`` is the property that breaks without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from ledger import changes, checks
from ledger.branch_table import SideEffectResult
from ledger.changes import CHANGES
from ledger.packet import Pause, WorkItem
from ledger.refusals import REFUSALS, Scene
from tests.simulation import people
from tests.simulation.people import Menu
from tests.simulation.scopes import OTHER, P1, PLAN, pause
from tests.simulation.search import Scope

Patch = pytest.MonkeyPatch
Apply = Callable[[Patch], None]
ACTING: tuple[Menu, ...] = (people.requests, people.attempts, people.target)


class Removal(NamedTuple):
    """A rule, how it is taken out, which property breaks, and a small world in which that shows."""

    rule: str
    letter: str
    apply: Apply
    scope: Scope


def refusing(kind: str, code: str) -> Apply:
    """Take a refusal out of its table."""
    name = f"pauseledger.{kind}"
    rules = REFUSALS[name]
    assert any(rule[0] == code for rule in rules)

    def apply(patch: Patch) -> None:
        patch.setitem(REFUSALS, name, tuple(rule for rule in rules if rule[0] != code))

    return apply


def changing(kind: str, change: Callable[[Scene], WorkItem]) -> Apply:
    """Put another change in place of an accepted event's."""
    name = f"pauseledger.{kind}"
    assert name in CHANGES
    return lambda patch: patch.setitem(CHANGES, name, change)


def checking(name: str, check: Callable[..., Any]) -> Apply:
    """Put another check in place of one of :mod:`ledger.checks`."""
    assert hasattr(checks, name)
    return lambda patch: patch.setattr(checks, name, check)


def _put(scene: Scene, **fields: Any) -> WorkItem:
    """What the real change makes of the pause, but for some fields."""
    after = CHANGES_AS_THEY_ARE[scene.event.type](scene)
    return after.with_pause(after.pauses[scene.data.pause].but(**fields))


CHANGES_AS_THEY_ARE = dict(CHANGES)
_holds_back = checks._holds_back
_side_effect = checks.side_effect


def _granted_but_known(scene: Scene) -> WorkItem:
    return _put(scene, side_effect=scene.found.side_effect)


def _observed_but_granted(scene: Scene) -> WorkItem:
    return _put(scene, grant=scene.found.grant)


def _inputs_changed_nothing(scene: Scene) -> WorkItem:
    return scene.item


def _inputs_changed_but_granted(scene: Scene) -> WorkItem:
    after = CHANGES_AS_THEY_ARE[scene.event.type](scene)
    for name in scene.item.open:
        after = after.with_pause(after.pauses[name].but(grant=scene.item.pauses[name].grant))
    return after


def _rival_finished_only(scene: Scene) -> WorkItem:
    item = scene.item
    if item.canonical == scene.data.execution:
        return changes.execution_finished(scene)
    return item.but(rivals={name: one for name, one in item.rivals.items() if name != scene.data.execution})


def _claimed_but_open(scene: Scene) -> WorkItem:
    after = CHANGES_AS_THEY_ARE[scene.event.type](scene)
    for name in scene.item.open:
        after = after.with_pause(scene.item.pauses[name])
    return after


def _claimed_but_moved(scene: Scene) -> WorkItem:
    return CHANGES_AS_THEY_ARE[scene.event.type](scene).but(moved=scene.item.moved)


def _claimed_but_contested(scene: Scene) -> WorkItem:
    return CHANGES_AS_THEY_ARE[scene.event.type](scene).but(rivals=scene.item.rivals)


def _first_owner_is_a_change(scene: Scene) -> WorkItem:
    after = CHANGES_AS_THEY_ARE[scene.event.type](scene)
    name = scene.data.execution
    changed = after.executions[name].but(owner_changed=scene.offset)
    return after.but(executions=after.executions | {name: changed})


def _first_owner_fills_nothing(scene: Scene) -> WorkItem:
    after = CHANGES_AS_THEY_ARE[scene.event.type](scene)
    return after.but(pauses=scene.item.pauses)


def _attempt_moves_nothing(scene: Scene) -> WorkItem:
    return _put(scene, side_effect_by=scene.found.side_effect_by)


def _recorded_only(scene: Scene) -> WorkItem:
    return _put(scene, side_effect=scene.found.side_effect)


def _no_same_digest(item: WorkItem, pause: Pause, *, own: SideEffectResult | None = None) -> SideEffectResult:
    return _side_effect(item.but(landed={}), pause, own=own)


def _holds_back_itself_or_bound(other: Pause, pause: Pause) -> bool:
    return _holds_back(other, pause.but(pending_action=None))


def _holds_back_same_only(other: Pause, pause: Pause) -> bool:
    return _holds_back(other.but(binds=False), pause)


def _holds_back_unless_waived(other: Pause, pause: Pause) -> bool:
    return not other.waived and _holds_back(other, pause)


def _without_the_same_digest(patch: Patch) -> None:
    patch.setattr(checks, "_holds_back", _holds_back_itself_or_bound)
    patch.setattr(checks, "side_effect", _no_same_digest)


def _hasty(patch: Patch) -> None:
    """No rule is taken out: the scope's observers read what stands after they looked, against the protocol."""


def small(name: str, *menus: Menu, depth: int = 12, **more: Any) -> Scope:
    return Scope(name, (*ACTING, *menus), depth, **({"setup": (P1,), "recovers": False} | more))


TWO = {"setup": (P1, pause("P2", "E1", OTHER | {"action": "A"}))}
TAKEOVER = (people.takeovers, people.openers)
SECOND = {"openings": (pause("P2", "E2", PLAN),)}
SECOND_OTHER = {"openings": (pause("P2", "E2", OTHER),)}
PLAIN = {"action": "A", "side_effect": "not_happened", "fresh_for": 2}

REMOVALS = [
    Removal(
        "a second grant is refused while the first is unsettled (decision-reconcile)",
        "a",
        refusing("resume.requested", "decision-reconcile"),
        small("one pause"),
    ),
    Removal(
        "a fence is good once (stale-fence)", "b", refusing("side_effect.attempted", "stale-fence"), small("one pause")
    ),
    Removal(
        "an attempt needs the way to be clear (no-longer-clear)",
        "b",
        refusing("side_effect.attempted", "no-longer-clear"),
        small("one pause", people.clock),
    ),
    Removal(
        "a grant makes the side effect indeterminate",
        "a",
        changing("resume.requested", _granted_but_known),
        small("one pause"),
    ),
    Removal(
        "an observation makes an unused fence void",
        "b",
        changing("side_effect.observed", _observed_but_granted),
        small("one pause", people.observers, observers=1),
    ),
    Removal(
        "an attempt is a new entry that an observer must have read",
        "a",
        changing("side_effect.attempted", _attempt_moves_nothing),
        small("one pause", people.observers, observers=1),
    ),
    Removal(
        "an edit is refused while the action may have happened (side-effect-open)",
        "b",
        refusing("review.decided", "side-effect-open"),
        small("two actions", people.reviewers, people.observers, actions=("A", "B"), observers=1),
    ),
    Removal(
        "not_happened must settle the entry that stands (stale-observation)",
        "a",
        refusing("side_effect.observed", "stale-observation"),
        small("one pause", people.observers, observers=1),
    ),
    Removal(
        "what happened is not unsaid by just anybody (contradicts)",
        "d",
        refusing("side_effect.observed", "contradicts"),
        small("one pause", people.observers, observers=2),
    ),
    Removal(
        "an observation names the action it looked for (action-changed)",
        "d",
        refusing("side_effect.observed", "action-changed"),
        small(
            "two actions", people.reviewers, people.observers, people.closers, observers=1, actions=("A", "B"), **TWO
        ),
    ),
    Removal(
        "an observer reads side_effect_by before it looks at the world",
        "a",
        _hasty,
        small("hasty observers", people.observers, observers=1, hasty=True),
    ),
    Removal(
        "the same action in another pause is the same action", "a", _without_the_same_digest, small("two pauses", **TWO)
    ),
    Removal(
        "an unknown outcome binds every later pause",
        "b",
        checking("_holds_back", _holds_back_same_only),
        small("takeover", *TAKEOVER, actions=("A", "B"), **SECOND_OTHER),
    ),
    Removal(
        "what was written off is never granted again",
        "a",
        checking("_holds_back", _holds_back_unless_waived),
        small("waiver", people.waivers, **TWO),
    ),
    Removal(
        "what happened is never granted again (decision-settle)",
        "a",
        refusing("resume.requested", "decision-settle"),
        small("one pause", people.observers, observers=1),
    ),
    Removal(
        "changed inputs make an unused grant void",
        "b",
        changing("inputs.changed", _inputs_changed_but_granted),
        small("one pause", people.inputs, people.rechecks),
    ),
    Removal(
        "changed inputs make the plan stale",
        "b",
        changing("inputs.changed", _inputs_changed_nothing),
        small("one pause", people.inputs, people.rechecks),
    ),
    Removal(
        "a rival that finishes may have acted: what was known expires",
        "b",
        changing("execution.finished", _rival_finished_only),
        small("rival", people.rivals, people.finishers),
    ),
    Removal(
        "a claim closes the pauses of the branch it replaces",
        "b",
        changing("execution.claimed", _claimed_but_open),
        small("takeover", *TAKEOVER, **SECOND),
    ),
    Removal(
        "the first claim wins (already-claimed)",
        "b",
        refusing("execution.claimed", "already-claimed"),
        small("takeover", *TAKEOVER, **SECOND),
    ),
    Removal(
        "a claim acknowledges the move (work-moved)",
        "b",
        refusing("execution.claimed", "work-moved"),
        small("takeover", *TAKEOVER, people.movers, **SECOND),
    ),
    Removal(
        "nobody claims a canonical execution for another owner (stale-owner)",
        "b",
        refusing("execution.claimed", "stale-owner"),
        small("takeover", *TAKEOVER),
    ),
    Removal(
        "who was replaced can't come back (execution-retired)",
        "b",
        refusing("execution.claimed", "execution-retired"),
        small("takeover", *TAKEOVER, openings=(pause("P2", "E1", PLAN),)),
    ),
    Removal(
        "a pause id is used once (pause-exists)",
        "a",
        refusing("pause.opened", "pause-exists"),
        small("restart", people.openers, openings=(P1,)),
    ),
    Removal(
        "a pause whose owner changed is not resumed",
        "b",
        checking("owner_was_changed", lambda item, pause: False),
        small("owners", people.owners),
    ),
    Removal(
        "a grant is of the action that was asked for (action-changed)",
        "b",
        refusing("resume.requested", "action-changed"),
        small("two actions", people.reviewers, actions=("A", "B")),
    ),
    Removal(
        "an approval is of the action that was seen (action-changed)",
        "b",
        refusing("review.decided", "action-changed"),
        small(
            "two actions",
            people.reviewers,
            actions=("A", "B"),
            setup=(pause("P1", "E1", PLAN | {"requires_review": True}),),
        ),
    ),
    Removal(
        "only the authorised get a grant (no-authority)",
        "f",
        refusing("resume.requested", "no-authority"),
        small("outsider", askers=("ann", "mallory")),
    ),
    Removal(
        "a heartbeat that comes too late brings nobody back (lapsed)",
        "b",
        refusing("heartbeat.recorded", "lapsed"),
        small("hearts", people.hearts, people.clock, setup=(pause("P1", "E1", PLAN | {"heartbeat_timeout": 1}),)),
    ),
    Removal(
        "a pause is closed with an outcome that is known (side-effect-open)",
        "d",
        refusing("pause.closed", "side-effect-open"),
        small("one pause", people.closers),
    ),
    Removal(
        "an act without a grant makes the side effect indeterminate",
        "b",
        changing("side_effect.attempted", _recorded_only),
        small("rogue", people.rogues),
    ),
    Removal(
        "a first owner is no change of owner",
        "c",
        changing("owner.changed", _first_owner_is_a_change),
        small("owners", people.owners, owned=False, setup=(pause("P1", "E1", PLAIN),), recovers=True),
    ),
    Removal(
        "a first owner fills the pauses that have none",
        "c",
        changing("owner.changed", _first_owner_fills_nothing),
        small("owners", people.owners, owned=False, setup=(pause("P1", "E1", PLAIN),), recovers=True),
    ),
    Removal(
        "a claim ends the move that it acknowledges",
        "c",
        changing("execution.claimed", _claimed_but_moved),
        small("takeover", people.movers, recovers=True),
    ),
    Removal(
        "a claim ends the rivals that it names",
        "c",
        changing("execution.claimed", _claimed_but_contested),
        small("takeover", people.rivals, recovers=True),
    ),
]
