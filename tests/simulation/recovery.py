"""Property (c): from a state of the world, honest and authorised people can always go on.

The strategy is what `docs` tell people to do: let workers land or die; observe what is owed; then each pause whose
branch is still in force is brought to its end in place (a first owner, a recheck, an approval, a grant, an attempt, an
observation, a close), and a new canonical execution can always be claimed, and granted an action: a new one, and the
same one too where it has not happened and was not written off. Every refusal on the way breaks the property.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.simulation.truth import Broken
from tests.simulation.world import FRESH, NAMES, World, close, drop, land, publish


def _must(world: World, name: str, actor: str | None, **data: Any) -> World:
    after, code = publish(world, name, actor, **data)
    if code != "ok":
        raise Broken("c", f"an honest {name} by {actor} is refused: {code} ({data})")
    return after


def settlements(world: World) -> Iterator[World]:
    """The world once workers that may act have all acted, or have all died, and what is owed has been observed."""
    for lands in (True, False) if world.tokens else (True,):
        settled = world
        for token in world.tokens:
            settled = land(settled, token) if lands else drop(settled, token)
        yield observe_all(settled)


def recover(settled: World) -> None:
    """Raises :class:`Broken` where the honest strategy gets stuck, in a world where nothing is owed any more."""
    for name in settled.item.open:
        if settled.truth.in_force(name):
            finish(settled, name)
    begin_anew(settled)


def observe(world: World, name: str) -> World:
    """Say of a pause what is true of its action."""
    pause = world.item.pauses[name]
    action = NAMES.get(pause.action_digest or "")
    status = "happened" if world.has_landed(action) else "not_happened"
    where = {"pause": name, "execution": pause.execution, "status": status, "seen": action}
    return _must(world, "side_effect.observed", "observer", **where, settles=pause.side_effect_by)


def observe_all(world: World) -> World:
    """Whatever is owed is observed, on closed pauses too; what was written off stays so."""
    for name in world.item.unsettled:
        if not world.item.pauses[name].waived:
            world = observe(world, name)
    return world


def _written_off(world: World, action: str | None) -> bool:
    pauses = world.item.pauses.values()
    return any(pause.waived and NAMES.get(pause.action_digest or "") == action for pause in pauses)


def _must_close(world: World, name: str, outcome: str) -> None:
    _, code = close(world, name, outcome)
    if code != "ok":
        raise Broken("c", f"{name} can't be closed as {outcome}: {code}")


def finish(world: World, name: str) -> None:
    """Bring a pause whose branch is in force to its true end."""
    pause = world.item.pauses[name]
    action = NAMES.get(pause.action_digest or "")
    if world.has_landed(action):
        if pause.side_effect != "happened":
            _must_close(world, name, "settled" if _known(world, action) else "abandoned")
            world = observe(world, name)
        _must_close(world, name, "executed")
        return
    if pause.side_effect == "not_happened":
        _must_close(world, name, "abandoned")
    if not _written_off(world, action):
        _must_close(carry_out(world, name), name, "executed")


def _known(world: World, action: str | None) -> bool:
    """Whether it is on the ledger, for some pause, that an action happened."""
    return any(plan.known and plan.action == action for plan in world.truth.plans.values())


def carry_out(world: World, name: str) -> World:
    """Resume a pause in place: everything that is missing is given, the action is done and observed."""
    pause = world.item.pauses[name]
    action = NAMES.get(pause.action_digest or "")
    where = {"pause": name, "execution": pause.execution}
    if world.item.owner_of(pause.execution) is None:
        world = _must(world, "owner.changed", None, execution=pause.execution, to="bob")
    authority = world.item.pauses[name].resume_authority
    actor = authority[0] if authority else None
    world = _must(world, "inputs.rechecked", actor, **where, fresh_for=FRESH)
    if pause.terms.requires_review:
        world = _must(world, "review.decided", actor, **where, outcome="approve", seen=action)
    world = act(world, name, actor)
    return observe(world, name)


def act(world: World, name: str, actor: str | None) -> World:
    """Request, attempt and do what is pending."""
    pause = world.item.pauses[name]
    action = NAMES.get(pause.action_digest or "")
    where = {"pause": name, "execution": pause.execution}
    fence = world.offset
    world = _must(world, "resume.requested", actor, **where, seen=action)
    world = _must(world, "side_effect.attempted", "worker", **where, fence=fence, action=action)
    return world._replace(landed=world.landed | {(name, action)})


def begin_anew(world: World) -> None:
    """A new canonical execution is claimed, and may do something new, and what has not happened yet."""
    item = world.item
    gone = tuple(sorted({*item.rivals, *([item.canonical] if item.canonical else [])}))
    claim = {"execution": "E9", "owner": "zoe", "replaces": gone or None, "acknowledges": item.moved}
    world = _must(world, "execution.claimed", "zoe", **claim)
    if any(one.is_open for one in world.item.pauses.values()):
        raise Broken("c", "a pause of a branch that was replaced is still open")
    for action in "ABC":
        if _written_off(world, action):
            continue
        opening = {"pause": f"P9{action}", "execution": "E9", "action": action, "side_effect": "not_happened"}
        opened = _must(world, "pause.opened", "zoe", **opening, fresh_for=FRESH)
        if not world.has_landed(action):
            act(opened, f"P9{action}", "zoe")
        elif _known(world, action):
            _must_close(opened, f"P9{action}", "settled")
