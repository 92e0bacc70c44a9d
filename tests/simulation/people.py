"""Who does what in the world model: each menu lists the steps that one kind of actor may take from a state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from tests.simulation.world import (
    FRESH,
    NAMES,
    Fence,
    Observer,
    Token,
    World,
    close,
    drop,
    land,
    publish,
)


class Step(NamedTuple):
    """Something that somebody may do: its sentence, and the world after it."""

    label: str
    run: Callable[[], World]


class Opening(NamedTuple):
    """A pause that somebody may open, and with what."""

    pause: str
    execution: str
    data: dict[str, Any]


Menu = Callable[[World, Any], Iterator[Step]]
OWNERS = {"E1": "bob", "E2": "eve", "E9": "zoe"}


def _entry(world: World, name: str, actor: str | None = None, **data: Any) -> World:
    return publish(world, name, actor, **data)[0]


def _request(world: World, pause: str, execution: str, action: str, actor: str) -> World:
    after, code = publish(world, "resume.requested", actor, pause=pause, execution=execution, seen=action)
    if code != "ok":
        return world
    return after._replace(fences=after.fences | {Fence(pause, action, world.offset)})


def _attempt(world: World, fence: Fence, execution: str) -> World:
    data = {"pause": fence.pause, "execution": execution, "fence": fence.number, "action": fence.action}
    after, code = publish(world, "side_effect.attempted", "worker", **data)
    if code != "ok":
        return world
    return after._replace(tokens=tuple(sorted((*after.tokens, Token(fence.pause, fence.action)))))


def requests(world: World, scope: Any) -> Iterator[Step]:
    """An approver asks for a grant, of the action that it last saw: perhaps no longer the pause's."""
    for name, pause in world.item.pauses.items():
        for action in scope.actions:
            for actor in scope.askers:
                step = partial(_request, world, name, pause.execution, action, actor)
                yield Step(f"{actor} requests a resume of {name} for action {action}", step)


def attempts(world: World, scope: Any) -> Iterator[Step]:
    """Whoever holds a fence tries it: early, late, or again."""
    for fence in sorted(world.fences):
        execution = world.item.pauses[fence.pause].execution
        label = f"a worker attempts {fence.pause} with fence {fence.number}"
        yield Step(label, partial(_attempt, world, fence, execution))


def target(world: World, scope: Any) -> Iterator[Step]:
    """What a worker may do goes through, or its worker crashes before it does."""
    for token in sorted(set(world.tokens)):
        yield Step(f"the worker of {token.pause} acts: {token.action} takes effect", partial(land, world, token))
        yield Step(f"the worker of {token.pause} crashes before it acts", partial(drop, world, token))


def _seen_by(world: World, at: int, observer: Observer | None) -> World:
    observers = (*world.observers[:at], observer, *world.observers[at + 1 :])
    return world._replace(observers=observers)


def _status(world: World, action: str | None) -> str:
    if world.has_landed(action):
        return "happened"
    return "indeterminate" if world.may_land(action) else "not_happened"


def _report(world: World, at: int, observer: Observer) -> World:
    world = _seen_by(world, at, None)
    pause = world.item.pauses[observer.pause]
    return _entry(
        world,
        "side_effect.observed",
        "observer",
        pause=observer.pause,
        execution=pause.execution,
        status=observer.status,
        settles=observer.settles,
        seen=observer.action,
    )


def observers(world: World, scope: Any) -> Iterator[Step]:
    """Honest observers, but slow: read, look and publish are three steps, with anything in between."""
    for at, one in enumerate(world.observers):
        if one in world.observers[:at]:
            continue
        if one is None:
            yield from _beginnings(world, at, scope)
        elif one.status is None:
            seen = one._replace(status=_status(world, one.action))
            yield Step(f"an observer looks for {one.action}: {seen.status}", partial(_seen_by, world, at, seen))
        elif one.settles is None:
            read = one._replace(settles=world.item.pauses[one.pause].side_effect_by)
            yield Step(f"an observer reads {one.pause} after it looked", partial(_seen_by, world, at, read))
        else:
            yield Step(f"an observer publishes: {one.pause} {one.status}", partial(_report, world, at, one))


def _beginnings(world: World, at: int, scope: Any) -> Iterator[Step]:
    for name, pause in world.item.pauses.items():
        action = NAMES.get(pause.action_digest or "")
        read = Observer(name, pause.side_effect_by, action)
        if scope.hasty:  # a broken rule of conduct: looks first, reads what stands afterwards
            read = Observer(name, None, action, _status(world, action))
        yield Step(f"an observer begins with {name}", partial(_seen_by, world, at, read))


def reviewers(world: World, scope: Any) -> Iterator[Step]:
    """People who approve, edit or reject what they have seen."""
    for name, pause in world.item.pauses.items():
        where = {"pause": name, "execution": pause.execution}
        seen = NAMES.get(pause.action_digest or "")
        for action in scope.actions if seen else ():
            step = partial(
                _entry, world, "review.decided", "ann", **where, outcome="approve", seen=action, fresh_for=FRESH
            )
            yield Step(f"ann approves action {action} of {name}", step)
        for action in scope.actions:
            if action != seen:
                more = {"outcome": "edit", "seen": seen, "action": action, "fresh_for": FRESH}
                step = partial(_entry, world, "review.decided", "ann", **where, **more)
                yield Step(f"ann edits {name} to action {action}", step)
        step = partial(_entry, world, "review.decided", "ann", **where, outcome="reject", seen=seen)
        yield Step(f"ann rejects {name}", step)


def rechecks(world: World, scope: Any) -> Iterator[Step]:
    for name, pause in world.item.pauses.items():
        where = {"pause": name, "execution": pause.execution, "fresh_for": FRESH}
        yield Step(f"ann rechecks {name}", partial(_entry, world, "inputs.rechecked", "ann", **where))


def hearts(world: World, scope: Any) -> Iterator[Step]:
    for name, pause in world.item.pauses.items():
        where = {"pause": name, "execution": pause.execution}
        yield Step(
            f"the owner's heart beats for {name}", partial(_entry, world, "heartbeat.recorded", pause.owner, **where)
        )


def closers(world: World, scope: Any) -> Iterator[Step]:
    """Impatient people who would close a pause with any outcome."""
    for name in world.item.open:
        for outcome in ("executed", "settled", "abandoned"):
            yield Step(f"somebody closes {name} as {outcome}", lambda n=name, o=outcome: close(world, n, o)[0])


def waivers(world: World, scope: Any) -> Iterator[Step]:
    for name, pause in world.item.pauses.items():
        where = {"pause": name, "execution": pause.execution, "reason": "can't be known"}
        yield Step(f"ann writes the outcome of {name} off", partial(_entry, world, "debt.waived", "ann", **where))


def openers(world: World, scope: Any) -> Iterator[Step]:
    """Runs that pause; also one that restarts and opens its pause again."""
    for one in scope.openings:
        step = partial(_entry, world, "pause.opened", pause=one.pause, execution=one.execution, **one.data)
        yield Step(f"{one.execution} opens {one.pause} {one.data}", step)


def takeovers(world: World, scope: Any) -> Iterator[Step]:
    """Claims: by one that has read the ledger, by one that knows of no move, by one that knows nothing."""
    item = world.item
    replaces = tuple(sorted({*item.rivals, *([item.canonical] if item.canonical else [])}))
    for name in scope.executions:
        owner = OWNERS[name] if name != item.canonical else "carl"
        others = tuple(one for one in replaces if one != name)
        forms = {"replacing": {"replaces": others or None, "acknowledges": item.moved}, "knowing nothing": {}}
        if item.moved is not None:
            forms["replacing, without knowing of the move"] = {"replaces": others or None}
        for words, data in forms.items():
            step = partial(_entry, world, "execution.claimed", execution=name, owner=owner, **data)
            yield Step(f"{name} claims for {owner}, {words} {others if data else ''}".rstrip(), step)


def finishers(world: World, scope: Any) -> Iterator[Step]:
    for name in scope.executions:
        yield Step(f"{name} finishes", partial(_entry, world, "execution.finished", execution=name))


def owners(world: World, scope: Any) -> Iterator[Step]:
    """The owner is changed, given back, or given for the first time."""
    for name in world.item.executions:
        before = world.item.executions[name].owner
        to = "carl" if before == OWNERS[name] else OWNERS[name]
        data = {"execution": name, "to": to, "from": before}
        yield Step(f"the owner of {name} becomes {to}", partial(_entry, world, "owner.changed", **data))
        data = {"execution": name, "to": to}
        yield Step(f"{to} takes {name} for ownerless", partial(_entry, world, "owner.changed", **data))


def movers(world: World, scope: Any) -> Iterator[Step]:
    yield Step("the work item moves elsewhere", partial(_entry, world, "work.moved", to="elsewhere"))


def rivals(world: World, scope: Any) -> Iterator[Step]:
    for name in scope.executions:
        yield Step(f"somebody starts branch {name}", partial(_entry, world, "branch.started", execution=name))


def inputs(world: World, scope: Any) -> Iterator[Step]:
    yield Step("the inputs change", partial(_entry, world, "inputs.changed"))
    for name in world.item.pauses if len(world.item.pauses) > 1 else ():
        yield Step(f"the inputs of {name} change", partial(_entry, world, "inputs.changed", pause=name))


def clock(world: World, scope: Any) -> Iterator[Step]:
    yield Step("time passes", lambda: world._replace(now=world.now + 1))


def _act_outside(world: World, action: str) -> World:
    return world._replace(outside=world.outside | {action})


def rogues(world: World, scope: Any) -> Iterator[Step]:
    """Somebody acts without asking, and somebody may record that later."""
    for action in scope.actions:
        if action not in world.outside:
            yield Step(f"a rogue does {action} without a grant", partial(_act_outside, world, action))
    for name, pause in world.item.pauses.items():
        if NAMES.get(pause.action_digest or "") in world.outside:
            where = {"pause": name, "execution": pause.execution}
            step = partial(_entry, world, "side_effect.attempted", "worker", **where)
            yield Step(f"somebody records an act without a grant on {name}", step)
