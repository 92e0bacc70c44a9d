"""The small worlds that are searched: who is in each, and how deep."""

from __future__ import annotations

from typing import Any

from tests.simulation import people
from tests.simulation.people import Menu, Opening
from tests.simulation.search import Scope

PLAN: dict[str, Any] = {"action": "A", "side_effect": "not_happened", "fresh_for": 2, "resume_authority": ("ann",)}
OTHER = PLAN | {"action": "B"}
BLANK = {name: value for name, value in PLAN.items() if name != "side_effect"}


def pause(name: str, execution: str, data: dict[str, Any]) -> Opening:
    return Opening(name, execution, data)


P1 = pause("P1", "E1", PLAN)
SAME = pause("P2", "E1", PLAN)
OTHERS = pause("P2", "E1", OTHER)
LATER_SAME = pause("P2", "E2", PLAN)
LATER_OTHER = pause("P2", "E2", OTHER)

ACTING: tuple[Menu, ...] = (people.requests, people.attempts, people.target)
WATCHING: tuple[Menu, ...] = (people.observers, people.closers)
PLANNING: tuple[Menu, ...] = (people.clock, people.rechecks, people.inputs, people.reviewers)
OWNING: tuple[Menu, ...] = (
    people.takeovers,
    people.openers,
    people.finishers,
    people.movers,
    people.rivals,
    people.owners,
)

ONE_PAUSE = Scope(
    "one pause, edited, waived and watched",
    (*ACTING, *WATCHING, *PLANNING, people.waivers),
    60,
    setup=(P1,),
    actions=("A", "B"),
    observers=1,
)
HEARTS = Scope(
    "a pause that needs a review and a heart that beats",
    (*ACTING, *WATCHING, *PLANNING, people.hearts),
    60,
    setup=(pause("P1", "E1", PLAN | {"requires_review": True, "heartbeat_timeout": 1}),),
    observers=1,
)
PARALLEL = Scope(
    "two pauses of one execution, one action",
    (*ACTING, *WATCHING, people.clock, people.rechecks, people.inputs, people.waivers),
    10,
    setup=(P1, SAME),
    observers=1,
)
EDITS = Scope(
    "two pauses of one execution, two actions, edited into each other",
    (*ACTING, *WATCHING, people.reviewers),
    9,
    setup=(P1, OTHERS),
    actions=("A", "B"),
    observers=1,
)
TAKEOVER = Scope(
    "two executions, one action",
    (*ACTING, *WATCHING, *OWNING),
    10,
    setup=(P1,),
    openings=(P1, LATER_SAME),
    observers=1,
)
ANOTHER_ACTION = Scope(
    "two executions, two actions",
    (*ACTING, people.observers, *OWNING, people.waivers),
    7,
    setup=(P1,),
    openings=(SAME, LATER_OTHER),
    actions=("A", "B"),
    observers=1,
)
NOBODY = Scope(
    "a pause of nobody, whose side effect nobody gave",
    (*ACTING, *WATCHING, people.owners, people.takeovers, people.rechecks, people.openers, people.clock),
    11,
    setup=(pause("P1", "E1", {"action": "A", "fresh_for": 2}),),
    openings=(LATER_SAME,),
    askers=("ann", "bob", "eve"),
    observers=1,
    owned=False,
)
ROGUES = Scope(
    "somebody acts without a grant",
    (*ACTING, *WATCHING, people.rogues, people.rechecks, people.clock, people.waivers),
    8,
    setup=(P1, SAME),
    observers=1,
)
EVERYTHING = Scope(
    "everybody at once",
    (*ACTING, *WATCHING, *PLANNING, *OWNING, people.waivers),
    4,
    setup=(P1,),
    openings=(P1, SAME, OTHERS, LATER_SAME, LATER_OTHER),
    actions=("A", "B"),
    observers=1,
)

SCOPES = [ONE_PAUSE, HEARTS, PARALLEL, EDITS, TAKEOVER, ANOTHER_ACTION, NOBODY, ROGUES, EVERYTHING]

DEEPER = [(PARALLEL, 20), (EDITS, 12), (TAKEOVER, 12), (ANOTHER_ACTION, 9), (NOBODY, 14), (ROGUES, 13), (EVERYTHING, 6)]
SOAK = [scope._replace(depth=depth) for scope, depth in DEEPER]
SOAK += [scope._replace(name=f"{scope.name}, two observers", depth=11, observers=2) for scope in (PARALLEL, TAKEOVER)]
