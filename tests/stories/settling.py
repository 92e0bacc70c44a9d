"""What became of it: observations, outcomes that bind others, actions that happened already, debts, endings."""

from __future__ import annotations

from tests.stories.story import (
    DANA,
    LETTER,
    LETTER_DIGEST,
    OMAR,
    OPS,
    REFUND,
    REFUND_DIGEST,
    Story,
    digest_of,
    expect,
    of,
    owed,
    ready,
)

UNPROVEN = ["side-effect-unproven"]
MAIL = {"pause": "p2", "digest": LETTER_DIGEST}


def observations() -> Story:
    s = Story("observations", "Who says that it has not happened must have read the last entry that stands.")
    s.put("09:00", "pause.opened", ready(side_effect="indeterminate"))
    s.put("09:01", "side_effect.observed", of(status="not_happened"), "stale-observation", note="what was read?")
    s.put("09:01", "side_effect.observed", of(status="happened", action_digest="sha256:0"), "action-changed")
    s.put("09:02", "side_effect.observed", of(status="indeterminate", evidence={"seen": None}))
    s.ask(
        "09:02",
        expect(
            "indeterminate",
            "fresh held indeterminate",
            until="10:00",
            signals=UNPROVEN,
            debt=owed(DANA, "09:00"),
        ),
    )
    s.put("09:03", "side_effect.observed", of(status="not_happened", settles="0:3"), "stale-observation")
    s.put("09:03", "side_effect.observed", of(status="not_happened", settles="0:0", action_digest=REFUND_DIGEST))
    s.put("09:04", "side_effect.observed", of(status="not_happened", settles="0:0"), "stale-observation")
    s.put("09:04", "side_effect.observed", of(status="not_happened", settles="0:5"), note="of the same status: no move")
    fence = s.grant("09:05", of())
    s.put("09:06", "side_effect.attempted", of(fence=fence), fence=fence)
    s.put(
        "09:07", "side_effect.observed", of(status="not_happened", settles="0:8"), "stale-observation", note="too early"
    )
    s.put("09:08", "side_effect.observed", of(status="happened"), note="happened needs to have read nothing")
    lie = of(status="not_happened", settles="0:11")
    s.put("09:09", "side_effect.observed", lie, "contradicts", actor=OMAR, note="no authority")
    s.put("09:09", "side_effect.observed", lie | {"settles": "0:9"}, "contradicts", actor=DANA)
    s.put("09:09", "side_effect.observed", of(status="indeterminate"), "contradicts", actor=DANA)
    s.put("09:10", "side_effect.observed", of(status="happened"), note="the same again")
    s.ask("09:10", expect("landed", "fresh held happened", until="10:00", fence=fence))
    doubt = of(status="indeterminate", settles="0:11")
    s.put("09:11", "side_effect.observed", doubt, actor=DANA, note="with authority, and having read what stands")
    s.ask(
        "09:11",
        expect(
            "indeterminate",
            "fresh held indeterminate",
            until="10:00",
            signals=UNPROVEN,
            fence=fence,
            debt=owed(DANA, "09:11"),
        ),
    )
    s.put("09:12", "side_effect.observed", of(status="happened"))
    s.put("09:13", "side_effect.observed", of(status="not_happened", settles="0:17"), actorroles=DANA)
    s.ask("09:13", expect("clear", "fresh held not_happened", until="10:00", fence=fence))
    s.put("09:14", "side_effect.observed", of("p2", status="happened"), "no-such-pause")
    return s


def attempt_moves_what_stands() -> Story:
    s = Story("attempt-moves-what-stands", "An attempt beside a known outcome: who had read the world before is late.")
    s.put("09:00", "pause.opened", ready(side_effect="happened"))
    s.put("09:01", "side_effect.attempted", of())
    s.put("09:02", "side_effect.observed", of(status="not_happened", settles="0:0"), "contradicts", actor=DANA)
    s.put("09:03", "side_effect.observed", of(status="not_happened", settles="0:1"), actor=DANA)
    s.ask("09:03", expect("clear", "fresh held not_happened", until="10:00", signals=["acted-without-grant"]))
    return s


def binding() -> Story:
    s = Story("binding", "No later pause goes on past an outcome that nobody knows; parallel ones are free.")
    s.put("09:00", "pause.opened", ready("a", side_effect=None), note="unknown by default: binds nobody")
    s.put("09:01", "pause.opened", ready("p2", pending_action=LETTER))
    a = {"pause": "a", "signals": UNPROVEN, "debt": owed(DANA, "09:00")}
    s.ask(
        "09:01",
        expect("indeterminate", "fresh held indeterminate", until="10:00", **a),
        expect("clear", "fresh held not_happened", until="10:01", **MAIL),
    )
    s.put("09:02", "side_effect.observed", of("a", status="indeterminate"), note="observed: now it binds")
    s.ask(
        "09:02",
        expect("indeterminate", "fresh held indeterminate", until="10:00", **a),
        expect("indeterminate", "fresh held indeterminate", until="10:01", **MAIL),
    )
    s.put("09:03", "side_effect.observed", of("a", status="not_happened", settles="0:0"))
    fence = s.grant("09:04", of("a"), note="unknown again, but after p2 opened: parallel")
    lent = {"pause": "a", "signals": UNPROVEN, "debt": owed(DANA, "09:04"), "fence": fence}
    s.put("09:05", "pause.opened", ready("p3", pending_action={"kind": "k", "name": "n", "target": None}))
    third = {"pause": "p3", "digest": digest_of('{"kind":"k","name":"n"}')}
    s.ask(
        "09:05",
        expect("indeterminate", "fresh held indeterminate", until="10:00", **lent),
        expect("clear", "fresh held not_happened", until="10:01", **MAIL),
        expect("indeterminate", "fresh held indeterminate", until="10:05", **third),
    )
    s.put("09:06", "review.decided", of("a", outcome="reject", action_digest=REFUND_DIGEST), actor=DANA)
    s.ask(
        "09:06",
        expect("closed", "fresh held indeterminate", **lent),
        expect("indeterminate", "fresh held indeterminate", until="10:01", **MAIL),
        expect("indeterminate", "fresh held indeterminate", until="10:05", **third),
    )
    s.put("09:07", "side_effect.observed", of("a", status="happened"))
    s.ask(
        "09:07",
        expect("closed", "fresh held happened", pause="a", fence=fence),
        expect("clear", "fresh held not_happened", until="10:01", **MAIL),
        expect("clear", "fresh held not_happened", until="10:05", **third),
    )
    return s


def same_action() -> Story:
    s = Story("same-action", "The same action in two pauses is done once; another key makes it another action.")
    s.put("09:00", "pause.opened", ready())
    s.put("09:01", "pause.opened", ready("p2"), note="parallel, and the same action")
    fence = s.grant("09:02", of())
    lent = {"signals": UNPROVEN, "debt": owed(DANA, "09:02"), "fence": fence}
    s.ask(
        "09:02",
        expect("indeterminate", "fresh held indeterminate", until="10:00", **lent),
        expect("indeterminate", "fresh held indeterminate", until="10:01", pause="p2"),
    )
    s.put("09:03", "resume.requested", of("p2", action_digest=REFUND_DIGEST), "decision-reconcile", actor=DANA)
    s.put("09:04", "pause.closed", of("p2", outcome="settled"), "side-effect-open", note="settled by what?")
    s.put("09:05", "side_effect.observed", of(status="happened"))
    s.ask(
        "09:05",
        expect("landed", "fresh held happened", until="10:00", fence=fence),
        expect("landed", "fresh held happened", until="10:01", pause="p2"),
    )
    s.put("09:06", "resume.requested", of("p2", action_digest=REFUND_DIGEST), "decision-settle", actor=DANA)
    s.put("09:07", "pause.closed", of("p2", outcome="executed"), "side-effect-open", note="not by this pause")
    s.put("09:07", "pause.closed", of("p2", outcome="settled"))
    s.put("09:08", "execution.finished", {"execution": "run-1"})
    s.put("09:09", "pause.opened", ready("p3", "run-2"), note="in another execution too")
    keyed = '{"arguments":{"cents":500},"idempotency_key":"2","kind":"payment","name":"refund","target":"order/7"}'
    again = {"pause": "p4", "run": "run-2", "digest": digest_of(keyed)}
    s.put("09:09", "pause.opened", ready("p4", "run-2", pending_action=REFUND | {"idempotency_key": "2"}))
    s.ask(
        "09:09",
        expect("closed", "fresh held happened", fence=fence),
        expect("closed", "fresh held happened", pause="p2"),
        expect("landed", "fresh held happened", until="10:09", pause="p3", run="run-2"),
        expect("clear", "fresh held not_happened", until="10:09", **again),
    )
    return s


def debts() -> Story:
    s = Story(
        "debts", "An unknown outcome is owed by somebody, with or without a due date, until it is known or waived."
    )
    s.put("09:00", "pause.opened", ready(side_effect="indeterminate", reconcile_within="P1DT2H"))
    due = owed(DANA, "09:00", "2026-03-29T11:00:00.000Z")
    s.ask("09:00", expect("indeterminate", "fresh held indeterminate", until="10:00", signals=UNPROVEN, debt=due))
    s.put("09:01", "pause.opened", ready("p2", pending_action=LETTER, resume_authority=[OPS]))
    s.put("09:02", "debt.waived", of(reason="lost"), "no-authority", actor=OMAR)
    s.put("09:02", "debt.waived", of("p2", reason="lost"), "no-debt", actor=DANA, note="nothing is owed here")
    s.put("09:02", "debt.waived", of("p7", reason="lost"), "no-such-pause", actor=DANA)
    s.put("09:02", "debt.waived", of(), "bad-data", actor=DANA, note="a waiver gives its reason")
    s.put("09:03", "debt.waived", of(reason="the bank has no record any more"), actor=DANA)
    waived = {"signals": ["debt-waived", *UNPROVEN]}
    s.ask(
        "09:03",
        expect("closed", "fresh held indeterminate", **waived),
        expect("clear", "fresh held not_happened", until="10:01", **MAIL),
    )
    s.put("09:04", "debt.waived", of(reason="again"), "no-debt", actor=DANA)
    s.put("09:05", "pause.opened", ready("p3"), note="the same action: a waiver is no permission")
    same = expect("indeterminate", "fresh held indeterminate", until="10:05", pause="p3")
    s.ask(
        "09:05",
        expect("closed", "fresh held indeterminate", **waived),
        expect("clear", "fresh held not_happened", until="10:01", **MAIL),
        same,
    )
    s.put("09:06", "side_effect.observed", of(status="indeterminate"), note="looked again: the waiver ends")
    s.ask(
        "09:06",
        expect("closed", "fresh held indeterminate", signals=UNPROVEN, debt=due),
        expect("indeterminate", "fresh held indeterminate", until="10:01", **MAIL),
        same,
    )
    s.put("09:07", "debt.waived", of(reason="looked twice"), actor=DANA, note="a closed pause, outcome unchanged")
    s.put("09:08", "side_effect.attempted", of(), note="an attempt ends it as well")
    acted = {"signals": ["acted-without-grant", *UNPROVEN], "debt": due}
    s.ask(
        "09:08",
        expect("closed", "fresh held indeterminate", **acted),
        expect("indeterminate", "fresh held indeterminate", until="10:01", **MAIL),
        same,
    )
    return s


def waiver_by_owner() -> Story:
    s = Story("waiver-by-owner", "The owner of the canonical execution may waive what an older branch left behind.")
    s.put("09:00", "pause.opened", ready(resume_authority=[OPS], side_effect="indeterminate"))
    s.put("09:01", "execution.finished", {"execution": "run-1"})
    s.put("09:02", "debt.waived", of(reason="gone"), "no-authority", actor=DANA, note="no execution is canonical")
    claim = {"execution": "run-2", "owner": OMAR}
    s.put("09:03", "execution.claimed", claim)
    s.put("09:04", "debt.waived", of(reason="gone"), "no-authority", actor=DANA, note="its owner once")
    s.put("09:05", "debt.waived", of(reason="gone"), actor="user:eve", actorroles=OMAR)
    s.ask("09:05", expect("closed", "fresh held indeterminate", signals=["debt-waived", *UNPROVEN]))
    return s


def endings() -> Story:
    s = Story("endings", "Every way in which a pause ends, and what each needs.")
    s.put("09:00", "pause.opened", ready("p1", side_effect="happened"))
    s.put("09:01", "pause.closed", of("p1", outcome="abandoned"), "side-effect-open")
    s.put("09:01", "pause.closed", of("p1", outcome="executed"))
    s.put("09:01", "pause.closed", of("p1", outcome="executed"), "pause-closed")
    s.put("09:02", "pause.opened", ready("p2", side_effect="indeterminate", pending_action=LETTER))
    for outcome in ("abandoned", "executed", "settled"):
        s.put("09:03", "pause.closed", of("p2", outcome=outcome), "side-effect-open", note="nobody knows")
    s.put("09:03", "pause.closed", of("p2", outcome="waived"), "bad-data", note="no ending that one may ask for")
    s.put("09:04", "side_effect.observed", of("p2", status="happened"))
    s.put("09:04", "pause.closed", of("p2", outcome="settled"), note="by its own outcome")
    s.put("09:05", "pause.opened", ready("p3"), note="its action happened in p1")
    s.put("09:05", "pause.closed", of("p3", outcome="abandoned"), note="nobody needs authority to give up")
    s.put("09:06", "pause.opened", ready("p4"))
    s.put("09:06", "review.decided", of("p4", outcome="reject", action_digest=REFUND_DIGEST), actor=DANA)
    s.put("09:07", "pause.opened", ready("p5", side_effect="indeterminate"))
    s.put("09:07", "debt.waived", of("p5", reason="a test system"), actor=DANA)
    s.put("09:08", "pause.opened", ready("p6"))
    s.put("09:08", "execution.claimed", {"execution": "run-2", "owner": OMAR, "replaces": "run-1"})
    s.put("09:09", "pause.opened", ready("p7", "run-2", owner=OMAR))
    s.put("09:09", "execution.finished", {"execution": "run-2"})
    s.put("09:10", "pause.closed", of("p9", outcome="executed"), "no-such-pause")
    held_back = "fresh held indeterminate"  # by p5, whose action theirs is
    s.ask(
        "09:10",
        expect("closed", held_back),
        expect("closed", "fresh held happened", **MAIL),
        expect("closed", held_back, pause="p3"),
        expect("closed", held_back, pause="p4"),
        expect("closed", held_back, pause="p5", signals=["debt-waived", *UNPROVEN]),
        expect("closed", held_back, pause="p6"),
        expect("closed", held_back, pause="p7", run="run-2"),
    )
    return s


STORIES = (
    observations,
    attempt_moves_what_stands,
    binding,
    same_action,
    debts,
    waiver_by_owner,
    endings,
)
