"""Who may go on: claims and takeovers, rival branches, tickets that moved, owners that changed."""

from __future__ import annotations

from typing import Any

from tests.stories.story import DANA, LETTER, LETTER_DIGEST, OMAR, REFUND_DIGEST, Story, expect, of, owed, ready

UNPROVEN = ["side-effect-unproven"]


def claim(run: str, owner: str = DANA, **more: Any) -> dict[str, Any]:
    return {"execution": run, "owner": owner, **more}


def claims() -> Story:
    s = Story("claims", "The first claim wins; another execution takes over only by naming what it replaces.")
    s.put("09:00", "execution.claimed", claim("run-1", route="fast", manual=False))
    s.put("09:00", "execution.claimed", claim("run-2", OMAR), "already-claimed", note="the second of a race")
    s.put("09:01", "execution.claimed", claim("run-1"), note="claimed again: nothing changes")
    s.put("09:01", "execution.claimed", claim("run-1", OMAR), "stale-owner")
    s.put("09:01", "execution.claimed", claim("run-1", replaces="run-0"), "already-canonical")
    s.put("09:01", "execution.claimed", claim("run-1", replaces=[]), "already-canonical", note="an empty list too")
    s.put("09:01", "execution.claimed", claim("run-1", OMAR, acknowledges="0:0"), "already-canonical")
    s.put("09:02", "pause.opened", ready(run="run-2", owner=OMAR), "not-canonical")
    s.put("09:02", "pause.opened", ready(owner=OMAR), "stale-owner")
    s.put("09:03", "pause.opened", ready(owner=None), note="the owner is the execution's")
    s.put("09:03", "pause.opened", ready(), "pause-exists")
    s.ask("09:04", expect("clear", "fresh held not_happened", until="10:03"))
    s.put("09:05", "execution.claimed", claim("run-2", OMAR, replaces=["run-9"]), "already-claimed")
    s.put("09:05", "execution.claimed", claim("run-2", OMAR, replaces=["run-9", "run-1"], manual=True))
    s.ask("09:05", expect("closed", "fresh held not_happened"))
    s.put("09:06", "pause.opened", ready("p2"), "execution-retired")
    s.put("09:06", "execution.claimed", claim("run-1"), "execution-retired")
    s.put("09:06", "execution.claimed", claim("run-1", replaces="run-2"), "execution-retired")
    s.put("09:06", "execution.finished", {"execution": "run-1"}, "not-canonical")
    s.put("09:07", "pause.opened", ready(run="run-2", owner=OMAR), "pause-exists", note="an id is used once")
    s.put("09:07", "pause.opened", ready("p2", run="run-2", owner=OMAR))
    s.put("09:08", "execution.finished", {"execution": "run-2", "outcome": "done"})
    two = expect("closed", "fresh held not_happened", pause="p2", run="run-2")
    s.ask("09:08", expect("closed", "fresh held not_happened"), two)
    s.put("09:09", "execution.claimed", claim("run-2"), "execution-retired")
    s.put("09:09", "pause.opened", ready("p3", run="run-2"), "execution-retired")
    s.put("09:09", "pause.opened", ready("p3", run="run-3"), note="unclaimed: the pause claims it")
    s.put("09:10", "execution.claimed", claim("run-4", OMAR), "already-claimed")
    return s


def takeover_owes() -> Story:
    s = Story(
        "takeover-owes", "A branch that was replaced keeps its debt, and holds the new one back until it is paid."
    )
    s.put("09:00", "pause.opened", ready(reconcile_within="PT2H"))
    fence = s.grant("09:05", of())
    s.put("09:06", "side_effect.attempted", of(fence=fence), fence=fence)
    s.put("09:07", "execution.claimed", claim("run-2", OMAR, replaces="run-1"))
    s.put("09:08", "pause.opened", ready("p2", "run-2", owner=OMAR, pending_action=LETTER))
    old = {"signals": UNPROVEN, "fence": fence, "debt": owed(DANA, "09:05", "11:05")}
    new = {"pause": "p2", "run": "run-2", "digest": LETTER_DIGEST}
    s.ask(
        "09:10",
        expect("closed", "fresh held indeterminate", **old),
        expect("indeterminate", "fresh held indeterminate", until="10:08", **new),
    )
    take = of("p2", "run-2", action_digest=LETTER_DIGEST)
    s.put("09:11", "resume.requested", take, "decision-reconcile", actor=OMAR)
    s.put("09:12", "side_effect.observed", of("p2", status="happened"), "no-such-pause", note="run-1 has no p2")
    s.put("09:12", "side_effect.observed", of(status="happened"), note="of a closed pause: a debt is paid")
    s.ask(
        "09:13",
        expect("closed", "fresh held happened", fence=fence),
        expect("clear", "fresh held not_happened", until="10:08", **new),
    )
    return s


def rivals() -> Story:
    s = Story(
        "rivals", "Somebody started another branch: the pause ends, whatever else holds, until that is cleared up."
    )
    s.put("09:00", "pause.opened", ready())
    s.put("09:01", "branch.started", {"execution": "run-1"}, note="the canonical one: nothing changes")
    s.put("09:02", "branch.started", {"execution": "run-2", "by": DANA, "reason": "by hand"})
    s.ask("09:02", expect("moved", "fresh contested not_happened", until="10:00"))
    s.put("09:03", "resume.requested", of(action_digest=REFUND_DIGEST), "decision-terminate", actor=DANA)
    s.put("09:04", "branch.started", {"execution": "run-3"}, note="nobody said who did")
    s.ask("09:04", expect("moved", "fresh contested not_happened", until="10:00", signals=["unrecorded-takeover"]))
    s.put("09:05", "branch.started", {"execution": "run-3", "by": OMAR}, note="the last word of it counts")
    s.ask("09:05", expect("moved", "fresh contested not_happened", until="10:00"))
    s.put("09:06", "execution.finished", {"execution": "run-2"}, note="it may have acted: plans expire")
    s.ask("09:06", expect("moved", "expired contested not_happened"))
    s.put("09:07", "branch.started", {"execution": "run-2"}, note="a retired one: nothing changes")
    s.put("09:08", "execution.finished", {"execution": "run-3"})
    s.ask("09:08", expect("stale", "expired held not_happened"))
    s.put("09:08", "execution.finished", {"execution": "run-3"}, "not-canonical")
    s.put("09:09", "branch.started", {"execution": "run-4"})
    s.put("09:09", "branch.started", {"execution": "run-5"})
    s.put("09:10", "execution.claimed", claim("run-6", OMAR, replaces=["run-1", "run-4", "run-7"]))
    s.put("09:11", "execution.claimed", claim("run-4", replaces="run-6"), "execution-retired")
    s.put("09:11", "pause.opened", ready("p2", "run-6", owner=OMAR, pending_action=LETTER))
    six = {"pause": "p2", "run": "run-6", "digest": LETTER_DIGEST}
    gone = ["unrecorded-takeover"]
    s.ask(
        "09:11",
        expect("closed", "expired contested not_happened", signals=gone),
        expect("moved", "fresh contested not_happened", until="10:11", signals=gone, **six),
    )
    s.put("09:12", "execution.claimed", claim("run-5", DANA, replaces="run-6"), note="a rival that claims is none")
    s.put("09:13", "pause.opened", ready("p3", "run-5"))
    s.ask(
        "09:13",
        expect("closed", "expired held not_happened"),
        expect("closed", "fresh held not_happened", **six),
        expect("clear", "fresh held not_happened", until="10:13", pause="p3", run="run-5"),
    )
    s.put("09:14", "execution.claimed", claim("run-7", replaces="run-5"), note="was named once, and never a rival")
    return s


def rival_before_claim() -> Story:
    s = Story("rival-before-claim", "A branch that started on an unclaimed work item is a rival of whoever claims it.")
    s.put("09:00", "branch.started", {"execution": "run-2", "by": OMAR})
    s.put("09:01", "pause.opened", ready())
    s.ask("09:01", expect("moved", "fresh contested not_happened", until="10:01"))
    s.put("09:02", "execution.finished", {"execution": "run-1"})
    s.put("09:03", "pause.opened", ready("p2", "run-2", owner=OMAR, side_effect=None), note="claims it: no rival now")
    debt = owed(OMAR, "09:03")
    s.ask(
        "09:03",
        expect("closed", "fresh held indeterminate"),
        expect(
            "indeterminate",
            "fresh held indeterminate",
            until="10:03",
            pause="p2",
            run="run-2",
            signals=UNPROVEN,
            debt=debt,
        ),
    )
    s.put("09:04", "execution.finished", {"execution": "run-2", "outcome": "gave up"})
    s.put("09:05", "execution.claimed", claim("run-3", replaces=["run-2"]), note="replaces nothing that is left")
    return s


def obligations() -> Story:
    s = Story("obligations", "What a terminated branch still owes: its outcome found out, or adopted.")
    s.put("09:00", "pause.opened", ready())
    s.put("09:00", "pause.opened", ready("p2", pending_action=LETTER))
    fence = s.grant("09:01", of())
    s.put("09:02", "work.moved", {"to": "tracker/88", "reason": "another team"})
    mail = {"pause": "p2", "digest": LETTER_DIGEST, "until": "10:00"}
    lent = {"signals": UNPROVEN, "fence": fence, "debt": owed(DANA, "09:01"), "owes": ["reconcile-old-branch"]}
    s.ask(
        "09:02",
        expect("moved", "fresh changed indeterminate", until="10:00", **lent),
        expect("moved", "fresh changed not_happened", **mail),
    )
    s.put("09:03", "side_effect.attempted", of(fence=fence), "no-longer-clear", note="granted, but moved since")
    s.put("09:04", "side_effect.observed", of(status="happened"))
    s.ask(
        "09:04",
        expect("moved", "fresh changed happened", until="10:00", fence=fence, owes=["adopt-outcome"]),
        expect("moved", "fresh changed not_happened", **mail),
    )
    return s


def moved() -> Story:
    s = Story("moved", "The ticket moved elsewhere: only a claim that acknowledges the last move ends it.")
    s.put("09:00", "work.moved", {"to": "queue-b", "execution": "nobody"}, note="before anybody claimed it")
    s.put("09:01", "pause.opened", ready(), "work-moved")
    s.put("09:02", "execution.claimed", claim("run-1"), "work-moved")
    s.put("09:02", "execution.claimed", claim("run-1", acknowledges="0:1"), "work-moved")
    s.put("09:03", "execution.claimed", claim("run-1", acknowledges="0:0"))
    s.put("09:04", "pause.opened", ready())
    s.ask("09:04", expect("clear", "fresh held not_happened", until="10:04"))
    s.put("09:05", "work.moved", {"to": "queue-c"})
    s.put("09:06", "work.moved", {"to": "queue-d"})
    s.ask("09:06", expect("moved", "fresh changed not_happened", until="10:04"))
    s.put("09:07", "execution.claimed", claim("run-1"), note="the canonical one may repeat itself; it stays moved")
    s.put("09:07", "pause.opened", ready("p2", pending_action=LETTER), note="and pause; that ends at once")
    mail = {"pause": "p2", "digest": LETTER_DIGEST}
    s.ask(
        "09:07",
        expect("moved", "fresh changed not_happened", until="10:04"),
        expect("moved", "fresh changed not_happened", until="10:07", **mail),
    )
    s.put("09:08", "execution.claimed", claim("run-2", replaces="run-1", acknowledges="0:6"), "work-moved")
    s.put("09:08", "execution.claimed", claim("run-2", replaces="run-1", acknowledges="0:7"))
    s.put("09:09", "pause.opened", ready("p3", "run-2"))
    s.ask(
        "09:09",
        expect("closed", "fresh held not_happened"),
        expect("closed", "fresh held not_happened", **mail),
        expect("clear", "fresh held not_happened", until="10:09", pause="p3", run="run-2"),
    )
    return s


def owner_changed() -> Story:
    s = Story("owner-changed", "A pause that changed hands ends, also when it was given back; later pauses do not.")
    s.put("09:00", "owner.changed", {"execution": "run-1", "to": DANA}, "not-canonical")
    s.put("09:01", "pause.opened", ready())
    s.put("09:02", "owner.changed", {"execution": "run-2", "from": DANA, "to": OMAR}, "not-canonical")
    s.put("09:02", "owner.changed", {"execution": "run-1", "to": OMAR}, "stale-owner", note="from whom?")
    s.put("09:02", "owner.changed", {"execution": "run-1", "from": OMAR, "to": DANA}, "stale-owner")
    s.put("09:03", "owner.changed", {"execution": "run-1", "from": DANA, "to": DANA}, note="no change at all")
    s.ask("09:03", expect("clear", "fresh held not_happened", until="10:01"))
    s.put("09:04", "owner.changed", {"execution": "run-1", "from": DANA, "to": OMAR, "reason": "a shift's end"})
    s.ask("09:04", expect("moved", "fresh changed not_happened", until="10:01"))
    s.put("09:05", "owner.changed", {"execution": "run-1", "from": OMAR, "to": DANA})
    s.ask("09:05", expect("moved", "fresh changed not_happened", until="10:01"))
    s.put("09:06", "pause.opened", ready("p2", pending_action=LETTER), note="opened after: nothing changed for it")
    s.put("09:07", "pause.closed", of(outcome="abandoned"))
    s.ask(
        "09:07",
        expect("closed", "fresh changed not_happened"),
        expect("clear", "fresh held not_happened", until="10:06", pause="p2", digest=LETTER_DIGEST),
    )
    return s


def first_owner() -> Story:
    s = Story("first-owner", "An owner where there was none fills what is empty, and counts as no change.")
    s.put("09:00", "pause.opened", ready(owner=None), note="claims it, for nobody")
    s.put("09:00", "pause.opened", ready("p2", owner=None, pending_action=LETTER, resume_authority=[]))
    nobody = {"until": "10:00", "signals": ["no-owner"]}
    mail = {"pause": "p2", "digest": LETTER_DIGEST}
    s.ask(
        "09:00",
        expect("unowned", "fresh unknown not_happened", **nobody),
        expect("unowned", "fresh unknown not_happened", **nobody, **mail),
    )
    s.put("09:01", "owner.changed", {"execution": "run-1", "from": OMAR, "to": DANA}, "stale-owner")
    s.put("09:02", "pause.opened", ready("p3", pending_action=None), note="its owner is the execution's first")
    s.ask(
        "09:02",
        expect("clear", "fresh held not_happened", until="10:00"),
        expect("clear", "fresh held not_happened", until="10:00", **mail),
        expect(
            "no-action",
            "fresh held not_happened",
            until="10:02",
            pause="p3",
            signals=["no-pending-action"],
            digest=None,
        ),
    )
    s.put("09:03", "resume.requested", of("p2", action_digest=LETTER_DIGEST), "no-authority", actor=DANA, note="[]")
    s.grant("09:03", of())
    return s


STORIES = (
    claims,
    takeover_owes,
    rivals,
    rival_before_claim,
    obligations,
    moved,
    owner_changed,
    first_owner,
)
