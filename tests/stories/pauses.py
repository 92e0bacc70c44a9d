"""One pause on its own: the way through, what is missing, what goes stale, who reviews, whose heart beats."""

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
    expect,
    of,
    owed,
    ready,
)

UNPROVEN = ["side-effect-unproven"]


def fresh_owned_untouched() -> Story:
    s = Story("fresh-owned-untouched", "A pause that may be resumed is resumed, acted on, observed and closed.")
    s.put("09:00", "pause.opened", ready(), actor=DANA, note="also claims the work item")
    s.ask("09:10", expect("clear", "fresh held not_happened", until="10:00"))
    fence = s.grant("09:15", of(), note="a person says: go on")
    lent = {"signals": UNPROVEN, "fence": fence, "debt": owed(DANA, "09:15")}
    s.ask("09:15", expect("indeterminate", "fresh held indeterminate", until="10:00", **lent))
    s.put("09:20", "side_effect.attempted", of(fence=fence), fence=fence, note="the permission to act")
    s.ask("09:20", expect("indeterminate", "fresh held indeterminate", until="10:00", **lent))
    s.put("09:21", "side_effect.observed", of(status="happened", settles="0:2", action_digest=REFUND_DIGEST))
    s.ask("09:21", expect("landed", "fresh held happened", until="10:00", fence=fence))
    s.put("09:22", "side_effect.attempted", of(fence=fence), "stale-fence", note="a fence is used once")
    s.put("09:22", "resume.requested", of(action_digest=REFUND_DIGEST), "decision-settle", actor=DANA)
    s.put("09:23", "pause.closed", of(outcome="executed"))
    s.ask("09:23", expect("closed", "fresh held happened", fence=fence))
    s.put("09:24", "resume.requested", of(action_digest=REFUND_DIGEST), "pause-closed", actor=DANA)
    s.put("09:25", "note.added", {"text": "refunded, see the bank's receipt", "pause": "p1", "execution": "run-1"})
    return s


def nothing_known() -> Story:
    s = Story("nothing-known", "A pause that says nothing but its name: nothing is invented, and nothing goes on.")
    s.put("09:00", "pause.opened", of())
    missing = ["no-freshness-deadline", "no-owner", "no-pending-action", *UNPROVEN]
    s.ask(
        "09:00",
        expect(
            "indeterminate",
            "unknown unknown indeterminate",
            signals=missing,
            debt=owed(None, "09:00"),
            digest=None,
        ),
    )
    s.put("09:01", "resume.requested", of(), "no-authority", actor=DANA, note="nobody has the authority")
    s.put("09:02", "side_effect.observed", of(status="not_happened"), "stale-observation", note="no settles")
    s.put("09:03", "side_effect.observed", of(status="not_happened", settles="0:0"))
    s.ask("09:03", expect("no-action", "unknown unknown not_happened", signals=missing[:3], digest=None))
    s.put("09:04", "owner.changed", of(to=DANA), note="a first owner: the empty packet takes it, and its authority")
    s.ask("09:04", expect("no-action", "unknown held not_happened", signals=[missing[0], missing[2]], digest=None))
    s.put("09:05", "resume.requested", of(), "decision-review", actor=DANA, note="no digest beside no action")
    s.put("09:05", "resume.requested", of(action_digest="x"), "action-changed", actor=DANA)
    edit = of(outcome="edit", pending_action=REFUND, fresh_for="PT1H")
    s.put("09:06", "review.decided", edit, actor=DANA, note="the reviewer plans the missing action")
    s.ask("09:06", expect("clear", "fresh held not_happened", until="10:06"))
    return s


def unowned() -> Story:
    s = Story("unowned", "An action and a deadline, but no owner; the resume authority was given.")
    s.put("09:00", "pause.opened", ready(owner=None, resume_authority=[OPS]), note="a null member is absent")
    s.ask("09:10", expect("unowned", "fresh unknown not_happened", until="10:00", signals=["no-owner"]))
    s.put("09:11", "resume.requested", of(action_digest=REFUND_DIGEST), "decision-review", actor=OPS)
    s.put("09:12", "execution.claimed", {"execution": "run-1", "owner": DANA, "route": "slow"}, note="claimed again")
    s.ask("09:12", expect("clear", "fresh held not_happened", until="10:00"))
    s.put("09:13", "resume.requested", of(action_digest=REFUND_DIGEST), "no-authority", actor=DANA)
    s.put("09:14", "resume.requested", of(action_digest=REFUND_DIGEST), fence=4, digest=REFUND_DIGEST, actor=OPS)
    s.put("09:14", "resume.requested", of("p2"), "no-such-pause", actor=OPS)
    return s


def stale() -> Story:
    s = Story("stale", "Plans expire at their deadline, and are made fresh by somebody who looked again.")
    s.put("09:00", "pause.opened", ready(fresh_for=None))
    signal = {"signals": ["no-freshness-deadline"]}
    s.ask("09:01", expect("stale", "unknown held not_happened", **signal))
    s.put("09:02", "inputs.rechecked", of(fresh_until="2026-03-28T09:02:00Z"), "still-stale", actor=DANA)
    s.put("09:02", "inputs.rechecked", of(fresh_for="PT30M"), "no-authority", actor=OMAR)
    s.put("09:02", "inputs.rechecked", of(), "bad-data", actor=DANA, note="neither deadline")
    s.put("09:02", "inputs.rechecked", of(fresh_for="PT30M", evidence=[1, None]), actor=DANA)
    s.ask("09:31:59.999", expect("clear", "fresh held not_happened", until="09:32"))
    s.ask("09:32", expect("stale", "expired held not_happened"))
    s.put("09:32", "resume.requested", of(action_digest=REFUND_DIGEST), "decision-review", actor=DANA)
    both = of(fresh_for="P9D", fresh_until="2026-03-28T11:00:00+01:00")
    s.put("09:40", "inputs.rechecked", both, actor=DANA, note="fresh_until goes before fresh_for")
    s.ask("09:41", expect("clear", "fresh held not_happened", until="10:00"))
    late = {"time": "2026-03-28T09:20:00Z"}
    s.put("09:42", "inputs.rechecked", of(fresh_for="PT30M"), actor=DANA, note="counted from its time", **late)
    s.ask("09:42", expect("clear", "fresh held not_happened", until="09:50"))
    early = {"time": "2026-03-28T12:00:00Z"}
    s.put("09:43", "inputs.rechecked", of(fresh_for="PT30M"), actor=DANA, note="never fresher for it", **early)
    s.ask("09:43", expect("clear", "fresh held not_happened", until="10:13"))
    s.put("09:44", "inputs.changed", {"pause": "p9"}, "no-such-pause")
    s.put("09:45", "inputs.changed", {}, note="the open pauses expire now")
    s.ask("09:45", expect("stale", "expired held not_happened"))
    s.put("09:46", "inputs.rechecked", of(fresh_for="PT1H"), actor=DANA)
    s.put("09:47", "inputs.changed", {"pause": "p1", "execution": "anyone", "reason": "prices"})
    s.ask("09:47", expect("stale", "expired held not_happened"))
    s.put("09:48", "pause.closed", of(outcome="abandoned"))
    s.put("09:49", "inputs.changed", {"pause": "p1"}, "pause-closed")
    s.put("09:49", "inputs.rechecked", of(fresh_for="PT1H"), "pause-closed", actor=DANA)
    s.put("09:49", "inputs.rechecked", of("p2", fresh_for="PT1H"), "no-such-pause", actor=DANA)
    return s


def inputs_without_deadline() -> Story:
    s = Story("inputs-without-deadline", "Changed inputs bring a deadline forward; they set none, and extend none.")
    s.put("09:00", "pause.opened", ready(fresh_for=None))
    s.put("09:01", "pause.opened", ready("p2", pending_action=LETTER, fresh_for="PT5M"))
    s.put("09:10", "inputs.changed", {"reason": "a price list"})
    mail = {"pause": "p2", "digest": LETTER_DIGEST}
    s.ask(
        "09:10",
        expect("stale", "unknown held not_happened", signals=["no-freshness-deadline"]),
        expect("stale", "expired held not_happened", **mail),
    )
    s.put(
        "09:11", "review.decided", of("p2", outcome="approve", action_digest=LETTER_DIGEST), "still-stale", actor=DANA
    )
    s.put(
        "09:12", "review.decided", of("p1", outcome="approve", action_digest=REFUND_DIGEST), "still-stale", actor=DANA
    )
    return s


def reviewed() -> Story:
    s = Story("reviewed", "What will be done must have been approved, exactly as it is; changed inputs undo it.")
    opened = ready(requires_review=True, resume_authority=[OPS], route="fast", trigger="a limit", runtime={"n": 1})
    s.put("09:00", "pause.opened", opened)
    s.ask("09:01", expect("unreviewed", "fresh held not_happened", until="10:00"))
    ok, changed = of(outcome="approve", action_digest=REFUND_DIGEST), of(outcome="approve", action_digest="sha256:0")
    s.put("09:02", "review.decided", ok, "no-authority", actor=DANA, note="the owner is not in resume_authority")
    s.put("09:02", "review.decided", changed, "action-changed", actor=OPS)
    s.put("09:02", "review.decided", of(outcome="approve"), "action-changed", actor=OPS, note="not looked at")
    s.put("09:03", "resume.requested", of(action_digest=REFUND_DIGEST), "decision-review", actor=OPS)
    s.put("09:04", "review.decided", ok | {"pending_action": 7}, actor=OPS, note="beside approve it is ignored")
    s.ask("09:05", expect("clear", "fresh held not_happened", until="10:00"))
    s.put("09:06", "inputs.changed", {})
    s.put("09:07", "inputs.rechecked", of(fresh_for="PT1H"), actor=OPS, note="fresh again, but not approved again")
    s.ask("09:07", expect("unreviewed", "fresh held not_happened", until="10:07"))
    edit = of(outcome="edit", action_digest=REFUND_DIGEST, pending_action=LETTER)
    s.put("09:08", "review.decided", edit, actor=OPS, note="an edit is approved by being made")
    s.ask("09:08", expect("clear", "fresh held not_happened", until="10:07", digest=LETTER_DIGEST))
    s.put("09:09", "resume.requested", of(action_digest=REFUND_DIGEST), "action-changed", actor=OPS)
    bad_edit = of(outcome="edit", action_digest=LETTER_DIGEST)
    s.put("09:09", "review.decided", bad_edit, "bad-data", actor=OPS, note="an edit to nothing")
    late = of(outcome="approve", action_digest=LETTER_DIGEST, fresh_until="2026-03-28T09:10:00Z")
    s.put("09:10", "review.decided", late, "still-stale", actor=OPS)
    s.put("11:00", "review.decided", of(outcome="approve", action_digest=LETTER_DIGEST, fresh_for="PT1M"), actor=OPS)
    s.ask("11:00", expect("clear", "fresh held not_happened", until="11:01", digest=LETTER_DIGEST))
    fence = s.grant("11:00:30", of(), digest=LETTER_DIGEST, actor=OPS)
    back = of(outcome="edit", action_digest=LETTER_DIGEST, pending_action=REFUND, fresh_for="PT1H")
    s.put("11:02", "review.decided", back, "side-effect-open", actor=OPS, note="it may be landing")
    s.put("11:03", "review.decided", of(outcome="reject", action_digest=LETTER_DIGEST), actor=OPS, note="stale or not")
    debt = owed(DANA, "11:00:30")
    closed = expect(
        "closed",
        "expired held indeterminate",
        signals=UNPROVEN,
        fence=fence,
        digest=LETTER_DIGEST,
        debt=debt,
    )
    s.ask("11:03", closed)
    s.put("11:04", "side_effect.attempted", of(fence=fence), "pause-closed")
    s.put("11:04", "review.decided", ok, "pause-closed", actor=OMAR, note="before anybody asks who he is")
    s.put("11:04", "review.decided", ok | {"pause": "p2"}, "no-such-pause", actor=OMAR)
    return s


def heartbeats() -> Story:
    s = Story("heartbeats", "An owner that falls silent has lapsed, from the instant of its timeout on.")
    opened = ready(fresh_for="PT8H", heartbeat_timeout="PT10M", heartbeat_by="service:worker")
    s.put("09:00", "pause.opened", opened)
    s.ask("09:00", expect("clear", "fresh held not_happened", until="09:10"))
    s.put("09:05", "heartbeat.recorded", of(), "not-owner", actor=OMAR)
    s.put("09:05", "heartbeat.recorded", of(), "not-owner", note="nobody said so")
    s.put("09:06", "heartbeat.recorded", of(), actor="service:worker")
    s.ask("09:07", expect("clear", "fresh held not_happened", until="09:16"))
    s.put("09:15", "heartbeat.recorded", of(), actor=DANA, time="2026-03-28T09:08:00Z", note="a beat of 09:08")
    s.ask("09:15", expect("clear", "fresh held not_happened", until="09:18"))
    s.put("09:16", "heartbeat.recorded", of(), actor=DANA, time="2026-03-28T09:01:00Z", note="older than what stands")
    s.ask("09:16", expect("clear", "fresh held not_happened", until="09:18"))
    s.put("09:17", "heartbeat.recorded", of(), actor=DANA, time="2026-03-29T00:00:00Z", note="a clock that is ahead")
    s.ask("09:17", expect("clear", "fresh held not_happened", until="09:27"))
    s.ask("09:26:59.999", expect("clear", "fresh held not_happened", until="09:27"))
    s.put("09:27", "heartbeat.recorded", of(), "lapsed", actor=DANA, note="at the instant itself it is too late")
    s.ask("09:27", expect("unowned", "fresh lapsed not_happened", until="17:00"))
    s.put("09:28", "resume.requested", of(action_digest=REFUND_DIGEST), "decision-review", actor=DANA)
    s.put("09:29", "inputs.rechecked", of(fresh_for="PT8H"), actor=DANA, note="who looked again holds it again")
    s.ask("09:29", expect("clear", "fresh held not_happened", until="09:39"))
    s.put("09:45", "review.decided", of(outcome="approve", action_digest=REFUND_DIGEST), actor=DANA)
    s.ask("09:45", expect("clear", "fresh held not_happened", until="09:55"))
    s.put("09:46", "heartbeat.recorded", of("p2"), "no-such-pause", actor=DANA)
    s.put("09:46", "heartbeat.recorded", of(run="run-2"), "no-such-pause", actor=DANA, note="another execution's")
    roles = f"role:night, {OPS} ,service:worker"
    s.put("09:47", "heartbeat.recorded", of(), actor=OMAR, actorroles=roles, note="by a role, spaces ignored")
    s.put("09:48", "pause.closed", of(outcome="abandoned"))
    s.put("09:49", "heartbeat.recorded", of(), "pause-closed", actor=DANA)
    return s


STORIES = (
    fresh_owned_untouched,
    nothing_known,
    unowned,
    stale,
    inputs_without_deadline,
    reviewed,
    heartbeats,
)
