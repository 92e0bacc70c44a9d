"""Permission to act: one grant at a time, one attempt a fence, and who may ask."""

from __future__ import annotations

from tests.stories.story import DANA, LETTER, LETTER_DIGEST, OMAR, OPS, REFUND_DIGEST, Story, expect, of, owed, ready

UNPROVEN = ["side-effect-unproven"]
MAIL = {"pause": "p2", "digest": LETTER_DIGEST}


def one_grant() -> Story:
    s = Story("one-grant", "Two ask at once: the log orders them, the first wins, and fences only grow.")
    s.put("09:00", "pause.opened", ready(resume_authority=[DANA, OPS]))
    ask = of(action_digest=REFUND_DIGEST)
    fence = s.grant("09:01", of())
    s.put("09:01", "resume.requested", ask, "decision-reconcile", actor=OPS, note="the second of the race")
    s.put("09:02", "side_effect.attempted", of(fence=0), "stale-fence")
    s.put("09:02", "side_effect.attempted", of(fence=fence + 1), "stale-fence")
    s.put("09:02", "side_effect.attempted", of("p2", fence=fence), "no-such-pause")
    s.put("09:03", "side_effect.attempted", of(fence=fence), fence=fence)
    s.put("09:03", "side_effect.attempted", of(fence=fence), "stale-fence", note="given at most once a fence")
    s.put("09:04", "side_effect.observed", of(status="not_happened", settles="0:6"), note="the target refused it")
    s.ask("09:04", expect("clear", "fresh held not_happened", until="10:00", fence=fence))
    later = s.grant("09:05", of(), note="a larger fence")
    s.put("09:06", "side_effect.attempted", of(fence=fence), "stale-fence", note="a zombie of the first grant")
    s.put("09:06", "side_effect.attempted", of(fence=later), fence=later)
    lent = {"signals": UNPROVEN, "fence": later, "debt": owed(DANA, "09:05")}
    s.ask("09:06", expect("indeterminate", "fresh held indeterminate", until="10:00", **lent))
    return s


def void_grants() -> Story:
    s = Story("void-grants", "Changed inputs and a settled outcome make a grant void that was not used.")
    s.put("09:00", "pause.opened", ready(requires_review=True))
    s.put("09:00", "review.decided", of(outcome="approve", action_digest=REFUND_DIGEST), actor=DANA)
    first = s.grant("09:01", of())
    s.put("09:02", "inputs.changed", {})
    s.put("09:03", "side_effect.attempted", of(fence=first), "stale-fence")
    lent = {"signals": UNPROVEN, "fence": first, "debt": owed(DANA, "09:01")}
    s.ask("09:03", expect("indeterminate", "expired held indeterminate", **lent))
    s.put("09:04", "side_effect.observed", of(status="not_happened", settles="0:2"))
    s.put("09:05", "inputs.rechecked", of(fresh_for="PT1H"), actor=DANA)
    s.put("09:05", "resume.requested", of(action_digest=REFUND_DIGEST), "decision-review", actor=DANA)
    s.put("09:06", "review.decided", of(outcome="approve", action_digest=REFUND_DIGEST), actor=DANA)
    second = s.grant("09:07", of())
    s.put("09:08", "side_effect.observed", of(status="indeterminate"), note="it voids nothing")
    s.put("09:09", "side_effect.observed", of(status="not_happened", settles=f"0:{second}"), note="never sent")
    s.put("09:10", "side_effect.attempted", of(fence=second), "stale-fence")
    s.ask("09:10", expect("clear", "fresh held not_happened", until="10:05", fence=second))
    third = s.grant("09:11", of())
    s.put("09:12", "side_effect.attempted", of(fence=third), fence=third)
    s.put("09:13", "inputs.changed", {"pause": "p1"}, note="an attempt is not undone")
    s.put("09:14", "side_effect.attempted", of(fence=third), "stale-fence")
    return s


def no_longer_clear() -> Story:
    s = Story("no-longer-clear", "A grant is not yet a permission: at the moment of acting all must still hold.")
    opened = ready(fresh_for="PT10M", heartbeat_timeout="PT20M")
    s.put("09:00", "pause.opened", opened)
    s.put("09:00", "pause.opened", ready("p2", pending_action=LETTER))
    fence = s.grant("09:01", of())
    s.put("09:10", "side_effect.attempted", of(fence=fence), "no-longer-clear", note="expired at this instant")
    s.put("09:11", "inputs.rechecked", of(fresh_for="PT1H"), actor=DANA)
    s.put("09:31", "side_effect.attempted", of(fence=fence), "no-longer-clear", note="lapsed at this instant")
    s.put("09:32", "inputs.rechecked", of(fresh_for="PT1H"), actor=DANA)
    s.put("09:33", "branch.started", {"execution": "run-2", "by": OMAR})
    s.put("09:34", "side_effect.attempted", of(fence=fence), "no-longer-clear", note="contested")
    s.put("09:35", "execution.finished", {"execution": "run-2"}, note="and this voids the grant")
    s.put("09:36", "side_effect.attempted", of(fence=fence), "stale-fence")
    s.put("09:37", "inputs.rechecked", of("p2", fresh_for="PT1H"), actor=DANA)
    other = s.grant("09:38", of("p2"), digest=LETTER_DIGEST, note="parallel pauses don't hold each other back")
    s.put("09:39", "side_effect.attempted", of("p2", fence=other), fence=other)
    lent = {"signals": UNPROVEN, "fence": fence, "debt": owed(DANA, "09:01")}
    mail = {"signals": UNPROVEN, "fence": other, "debt": owed(DANA, "09:38")}
    s.ask(
        "09:40",
        expect("indeterminate", "expired held indeterminate", until="09:52", **lent),
        expect("indeterminate", "fresh held indeterminate", until="10:37", **MAIL, **mail),
    )
    return s


def acted_without_grant() -> Story:
    s = Story("acted-without-grant", "Somebody acts, or acted, without asking: a fact, and never refused for it.")
    s.put("09:00", "pause.opened", ready(reconcile_within="PT30M"))
    s.put("09:01", "side_effect.attempted", of())
    debt = {"signals": ["acted-without-grant", *UNPROVEN], "debt": owed(DANA, "09:01", "09:31")}
    s.ask("09:01", expect("indeterminate", "fresh held indeterminate", until="10:00", **debt))
    s.put("09:02", "side_effect.attempted", of(fence=None), note="again: the debt's age stays, what settles it moves")
    s.put("09:03", "side_effect.observed", of(status="not_happened", settles="0:1"), "stale-observation")
    s.ask("09:03", expect("indeterminate", "fresh held indeterminate", until="10:00", **debt))
    s.put("09:04", "side_effect.observed", of(status="happened"))
    s.put("09:05", "side_effect.attempted", of(), note="what has happened stays so")
    s.ask("09:05", expect("landed", "fresh held happened", until="10:00", signals=["acted-without-grant"]))
    s.put("09:06", "pause.closed", of(outcome="executed"))
    s.put("09:07", "side_effect.attempted", of(), note="on a closed pause too")
    s.ask("09:07", expect("closed", "fresh held happened", signals=["acted-without-grant"]))
    s.put("09:08", "side_effect.attempted", of(fence=0), "pause-closed")
    s.put("09:08", "side_effect.attempted", of("p9"), "no-such-pause")
    s.put("09:09", "pause.opened", ready("p2", pending_action=LETTER))
    fence = s.grant("09:10", of("p2"), digest=LETTER_DIGEST)
    s.put("09:11", "side_effect.attempted", of("p2"), note="without the fence that was granted")
    s.put("09:12", "side_effect.attempted", of("p2", fence=fence), "stale-fence")
    mail = {"signals": ["acted-without-grant", *UNPROVEN], "fence": fence, "debt": owed(DANA, "09:10")}
    s.ask(
        "09:12",
        expect("closed", "fresh held happened", signals=["acted-without-grant"]),
        expect("indeterminate", "fresh held indeterminate", until="10:09", **MAIL, **mail),
    )
    s.put("09:13", "side_effect.observed", of("p2", status="not_happened", settles="0:12"))
    s.put("09:14", "pause.closed", of("p2", outcome="abandoned"))
    s.put("09:15", "side_effect.attempted", of("p2"), note="closed, and its outcome is unknown again")
    s.ask(
        "09:15",
        expect("closed", "fresh held indeterminate", signals=["acted-without-grant"]),
        expect("closed", "fresh held indeterminate", **MAIL, **(mail | {"debt": owed(DANA, "09:15")})),
    )
    return s


def authority() -> Story:
    s = Story("authority", "Who may resume: the actor or one of its roles, of those whom the packet names.")
    s.put("09:00", "pause.opened", ready(resume_authority=[OPS, OMAR]))
    ask = of(action_digest=REFUND_DIGEST)
    s.put("09:01", "resume.requested", ask, "no-authority", note="nobody asks")
    s.put("09:01", "resume.requested", ask, "no-authority", actor=DANA, note="the owner alone is not enough")
    s.put("09:01", "resume.requested", ask, "no-authority", actor=DANA, actorroles="role:dev,, ,role: ops")
    s.put("09:01", "resume.requested", ask, "no-authority", actor=DANA, actorroles="role:ops;role:dev")
    s.put("09:01", "resume.requested", ask, "no-authority", actor="User:omar", note="names are compared exactly")
    s.put("09:01", "resume.requested", ask, "no-authority", actor=DANA, actorroles="")
    s.put("09:01", "resume.requested", of(), "no-authority", note="before the action is compared")
    s.put("09:02", "resume.requested", ask, "bad-data", actor="", note="a principal is not empty")
    s.put("09:02", "resume.requested", ask, "bad-data", actorroles=[OPS])
    roles = " role:dev ,  role:ops "
    s.put("09:03", "resume.requested", ask, fence=10, digest=REFUND_DIGEST, actorroles=roles, note="no actor is needed")
    s.put("09:04", "side_effect.attempted", of(fence=10), fence=10, note="the fence is the authority to act")
    s.put("09:05", "side_effect.observed", of(status="not_happened", settles="0:11"))
    s.put("09:06", "inputs.rechecked", of(fresh_for="PT1H"), "no-authority", actor=DANA)
    s.put("09:06", "resume.requested", ask, fence=14, digest=REFUND_DIGEST, actor=OMAR, traceparent="00-1-2-03")
    s.put("09:07", "resume.requested", of("p2"), "no-such-pause", actor=OMAR)
    s.put("09:07", "resume.requested", of("p1", "run-2"), "no-such-pause", actor=OMAR)
    return s


STORIES = (one_grant, void_grants, no_longer_clear, acted_without_grant, authority)
