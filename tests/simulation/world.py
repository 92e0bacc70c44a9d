"""The world model: a ledger that is judged by the real fold, a target on which actions land, and people and workers.

The fold is driven by what it is made of (``Scene``, ``refusal``, ``CHANGES``), with events that were validated once.
Reading bytes and duplicates are left out: they are tested elsewhere, and a duplicate changes nothing.

1. A worker acts only when its own attempt was accepted: that is a *token*. A token lands once, as late as it likes, or
   is lost with its worker.
2. Whoever holds a fence may try it at any time, and again: fences are never forgotten (a worker that lost its memory, a
   second process that got the same fence).
3. An honest observer reads ``side_effect_by``, then looks at the world, then publishes, with any delay in between. It
   says *not happened* only where nothing landed and nobody holds a token: then it has not, and will not.
4. A refused entry changes nothing (tested for the fold itself), so the model forgets it.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from ledger import changes, refusals
from ledger.actions import action_digest
from ledger.events import EVENT_TYPES, LedgerEvent
from ledger.packet import Pause, WorkItem
from tests.simulation.truth import Broken, Plan, Told, Truth, told

START = datetime(2026, 3, 28, 9, tzinfo=UTC)
TICK = timedelta(minutes=1)
FRESH = 2  # ticks
ACTIONS = {name: {"kind": "tool", "name": "pay", "idempotency_key": name} for name in "ABC"}
DIGESTS = {name: action_digest(body) for name, body in ACTIONS.items()}
NAMES = {digest: name for name, digest in DIGESTS.items()}


class Fence(NamedTuple):
    """A grant that somebody holds: for which action it was asked, and its number."""

    pause: str
    action: str | None
    number: int


class Token(NamedTuple):
    """The permission to act once, held by a worker whose attempt was accepted."""

    pause: str
    action: str | None


class Observer(NamedTuple):
    """What an observer has done so far: read (``settles``), and then looked (``status``)."""

    pause: str
    settles: int | None
    action: str | None
    status: str | None = None


class World(NamedTuple):
    item: WorkItem
    truth: Truth
    now: int = 0
    offset: int = 0
    fences: frozenset[Fence] = frozenset()
    tokens: tuple[Token, ...] = ()
    landed: frozenset[tuple[str, str | None]] = frozenset()
    outside: frozenset[str] = frozenset()
    observers: tuple[Observer | None, ...] = ()

    @property
    def instant(self) -> datetime:
        return START + self.now * TICK

    def has_landed(self, action: str | None) -> bool:
        return action in self.outside or any(action == done for _, done in self.landed)

    def may_land(self, action: str | None) -> bool:
        return any(token.action == action for token in self.tokens)


def empty_world(observers: int = 0) -> World:
    return World(WorkItem.unseen("T-1", 0).but(instant=START), Truth({}, {}), observers=(None,) * observers)


_DURATIONS = ("fresh_for", "heartbeat_timeout")
_ENTRIES = ("settles", "acknowledges")


def _wire(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A member of an entry's data as the protocol writes it; what only the model knows is left out."""
    if name in _DURATIONS:
        yield name, f"PT{value}M"
    elif name in _ENTRIES:
        yield name, f"0:{value}"
    elif name == "action":
        yield "pending_action", ACTIONS[value]
    elif name == "seen":
        yield "action_digest", DIGESTS[value]
    else:
        yield name, value


@lru_cache(maxsize=100_000)
def event_of(name: str, actor: str | None, content: tuple[tuple[str, Any], ...]) -> LedgerEvent:
    """The validated event of an entry. The same entry is made once."""
    data = dict(pair for member, value in content if value is not None for pair in _wire(member, value))
    if name == "side_effect.attempted":
        data.pop("pending_action", None)
    whole = {"specversion": "1.0", "id": "1", "source": "/model", "subject": "T-1", "actor": actor, "data": data}
    kind = f"pauseledger.{name}"
    return EVENT_TYPES[kind].model_validate(whole | {"type": kind})


def publish(world: World, name: str, actor: str | None = None, **data: Any) -> tuple[World, str]:
    """Put an entry on the ledger: the world after it, and its code. The truth listens to what was accepted."""
    event = event_of(name, actor, tuple(data.items()))
    scene = refusals.Scene(world.item, event, world.instant, world.offset)
    if refused := refusals.refusal(scene):
        return world, refused[0]
    entry = Told(name, data | {"actor": actor}, world.now, world.offset)
    item = changes.CHANGES[event.type](scene)
    truth = told(world.truth, entry)
    return world._replace(item=item, truth=truth, offset=world.offset + 1), "ok"


def land(world: World, token: Token) -> World:
    """A token's action takes effect on the target. Property (a): never twice."""
    if any(token.action == done for _, done in world.landed):
        raise Broken("a", f"action {token.action} took effect twice")
    return drop(world, token)._replace(landed=world.landed | {(token.pause, token.action)})


def drop(world: World, token: Token) -> World:
    """A token is lost with the worker that held it."""
    rest = list(world.tokens)
    rest.remove(token)
    return world._replace(tokens=tuple(rest))


def close(world: World, pause: str, outcome: str) -> tuple[World, str]:
    """Somebody closes a pause with an outcome. Property (d): where that is accepted, it is true."""
    before = world.item.pauses[pause]
    after, code = publish(world, "pause.closed", pause=pause, execution=before.execution, outcome=outcome)
    if code == "ok":
        action = NAMES.get(before.action_digest or "")
        if outcome != "abandoned" and not world.has_landed(action):
            raise Broken("d", f"{pause} was closed as {outcome}, and action {action} has not happened")
        mine = {action for one, action in world.landed if one == pause}
        if outcome == "abandoned" and (action in mine or any(token.pause == pause for token in world.tokens)):
            raise Broken("d", f"{pause} was closed as abandoned, and its action happened, or may")
    return after, code


def _ahead(deadline: int | None, now: int) -> int | None:
    """How long a deadline is ahead; 0 when it has passed, however long ago: no rule can tell those apart."""
    return None if deadline is None else max(deadline - now, 0)


def _ticks(instant: datetime | None) -> int | None:
    return None if instant is None else (instant - START) // TICK


def _pause_key(world: World, pause: Pause) -> tuple[Any, ...]:
    """What rules can still tell of a pause. Of entry numbers only their order against pauses' openings counts."""
    item = world.item
    changed = item.executions[pause.execution].owner_changed
    order = tuple(pause.side_effect_set < other.opened for _, other in sorted(item.pauses.items()))
    return (
        pause.execution,
        NAMES.get(pause.action_digest or ""),
        pause.owner,
        pause.resume_authority,
        pause.terms.authority_given,
        pause.terms.requires_review,
        NAMES.get(pause.reviewed or ""),
        _ahead(_ticks(pause.fresh_until), world.now),
        _ahead(_ticks(pause.lapses_at), world.now),
        pause.side_effect,
        pause.binds,
        pause.waived,
        pause.grant,
        pause.is_open,
        changed is not None and changed > pause.opened,
        order,
    )


def _item_key(world: World) -> tuple[Any, ...]:
    item = world.item
    return (
        item.canonical,
        item.moved is not None,
        tuple(sorted(item.rivals)),
        tuple(sorted((name, one.owner, one.retired) for name, one in item.executions.items())),
        tuple((name, _pause_key(world, pause)) for name, pause in sorted(item.pauses.items())),
    )


def _plan_key(world: World, name: str, plan: Plan) -> tuple[Any, ...]:
    others = sorted(world.truth.plans.items())
    order = None if plan.unknown is None else tuple(plan.unknown < other.opened for _, other in others)
    fence = world.item.pauses[name].fence
    grant = None if plan.grant is None else plan.grant == fence
    ahead = (_ahead(plan.deadline, world.now), _ahead(plan.lapse, world.now))
    facts = (plan.blank, plan.owner_stayed, plan.ended, plan.waived, plan.known, plan.outside)
    return (name, plan.action, plan.authority, plan.approved, ahead, facts, grant, order)


def _truth_key(world: World) -> tuple[Any, ...]:
    truth = world.truth
    return (
        truth.canonical,
        None if truth.moved is None else truth.moved == world.item.moved,
        tuple(sorted(truth.rivals)),
        tuple(sorted(truth.retired)),
        tuple(sorted(truth.owners.items())),
        tuple(_plan_key(world, name, plan) for name, plan in sorted(truth.plans.items())),
    )


def actors_key(world: World) -> tuple[Any, ...]:
    """Who holds what. A number that is not the current one can never become it again: all such are one."""
    pauses, plans = world.item.pauses, world.truth.plans
    fences = {
        (one.pause, one.action or "", one.number == pauses[one.pause].fence, one.number == plans[one.pause].grant)
        for one in world.fences
    }
    observers = [
        ()
        if one is None
        else (one.pause, one.settles == pauses[one.pause].side_effect_by, one.action or "", one.status or "")
        for one in world.observers
    ]
    return tuple(sorted(fences)), tuple(sorted(observers))


def ledger_key(world: World) -> tuple[Any, ...]:
    """The state without who remembers what: all that a recovery depends on."""
    target = (tuple(map(tuple, world.tokens)), tuple(sorted(world.landed)), tuple(sorted(world.outside)))
    return _item_key(world), _truth_key(world), target


def fingerprint(key: tuple[Any, ...]) -> bytes:
    """96 bits of a key: among a million states two fall together with a chance of one in 10^17."""
    return blake2b(marshal.dumps(key, 2), digest_size=12).digest()
