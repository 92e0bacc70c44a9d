"""Rules behind which another stands: without them the properties still hold, as far as the search looks.

They are not idle. Each tells a requester early, and in words, what the later rule would only tell the one who acts; and
the fold keeps both on purpose. What is shown here is that safety does not hang on them alone.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.simulation import people
from tests.simulation.removals import Apply, refusing, small
from tests.simulation.scopes import LATER_SAME, PLAN, WATCHING, pause
from tests.simulation.search import Scope


class Redundant(NamedTuple):
    """A rule, how it is taken out, the small world that was searched, and in the rule's name what stands behind it."""

    rule: str
    apply: Apply
    scope: Scope


ASK, ACT = "resume.requested", "side_effect.attempted"
REVIEWED = (pause("P1", "E1", PLAN | {"requires_review": True}),)
AROUND = (people.clock, people.rechecks, people.reviewers, people.inputs)
CLAIMS = (people.takeovers, people.openers, people.movers, people.rivals, people.finishers)

REDUNDANT = [
    Redundant(
        "decision-review of a request: no-longer-clear asks again at the attempt",
        refusing(ASK, "decision-review"),
        small("review", *AROUND, *WATCHING, setup=REVIEWED, observers=1, depth=9),
    ),
    Redundant(
        "decision-terminate of a request: no-longer-clear asks again at the attempt",
        refusing(ASK, "decision-terminate"),
        small("takeover", *CLAIMS, people.owners, openings=(LATER_SAME,), depth=6),
    ),
    Redundant(
        "pause-closed of an attempt: the decision of a closed pause is closed, so the way is not clear",
        refusing(ACT, "pause-closed"),
        small("takeover", *CLAIMS, people.reviewers, openings=(LATER_SAME,), depth=6),
    ),
    Redundant(
        "still-stale of a recheck: the plan stays stale, and the decision stays review",
        refusing("inputs.rechecked", "still-stale"),
        small("review", *AROUND, setup=REVIEWED),
    ),
    Redundant(
        "no-debt of a waiver: what is known stays known, and the same action stays out of reach",
        refusing("debt.waived", "no-debt"),
        small(
            "waiver",
            people.waivers,
            *WATCHING,
            people.openers,
            openings=(pause("P2", "E1", PLAN),),
            observers=1,
            depth=9,
        ),
    ),
    Redundant(
        "already-canonical: a claim again changes nothing, whatever it names",
        refusing("execution.claimed", "already-canonical"),
        small("takeover", *CLAIMS, openings=(LATER_SAME,), depth=6),
    ),
]
