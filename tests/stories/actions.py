"""What an event says: digests of actions, names, ids that were used before."""

from __future__ import annotations

import json
from typing import Any

from tests.stories.story import (
    DANA,
    LETTER,
    LETTER_DIGEST,
    OMAR,
    REFUND,
    REFUND_DIGEST,
    Story,
    digest_of,
    expect,
    of,
    owed,
    ready,
)

# Actions as a producer may write them, each beside its RFC 8785 form, which was written by hand.
SPELLINGS: tuple[tuple[str, str], ...] = (
    ('{"name":"n","kind":"k"}', '{"kind":"k","name":"n"}'),
    ('{"kind":"k","name":"n","target":null,"later":null}', '{"kind":"k","name":"n"}'),
    (
        '{"kind":"k","name":"n","arguments":{"b":null,"a":[null]}}',
        '{"arguments":{"a":[null],"b":null},"kind":"k","name":"n"}',
    ),
    ('{"kind":"k","name":"n","more":{"\\u00e9":"\\u00fc"}}', '{"kind":"k","more":{"é":"ü"},"name":"n"}'),
    ('{"kind":"k","name":"n","e\\u0301":1}', '{"e\u0301":1,"kind":"k","name":"n"}'),
    ('{"name":"n","kind":"k","\\ufb33":1,"\\ud83d\\ude00":2}', '{"kind":"k","name":"n","\U0001f600":2,"\ufb33":1}'),
    ('{"kind":"k","name":"n","x":1.0}', '{"kind":"k","name":"n","x":1}'),
    ('{"kind":"k","name":"n","x":-0.0}', '{"kind":"k","name":"n","x":0}'),
    ('{"kind":"k","name":"n","x":1e21}', '{"kind":"k","name":"n","x":1e+21}'),
    ('{"kind":"k","name":"n","x":1E20}', '{"kind":"k","name":"n","x":100000000000000000000}'),
    ('{"kind":"k","name":"n","x":0.000001}', '{"kind":"k","name":"n","x":0.000001}'),
    ('{"kind":"k","name":"n","x":0.0000001}', '{"kind":"k","name":"n","x":1e-7}'),
    ('{"kind":"k","name":"n","x":0.1e1}', '{"kind":"k","name":"n","x":1}'),
    (
        '{"kind":"k","name":"n","x":333333333.33333329}',
        '{"kind":"k","name":"n","x":333333333.3333333}',
    ),
    ('{"kind":"k","name":"n","x":9007199254740991}', '{"kind":"k","name":"n","x":9007199254740991}'),
    ('{"kind":"k","name":"n","x":-9007199254740991}', '{"kind":"k","name":"n","x":-9007199254740991}'),
    ('{"kind":"k","name":"n","x":"\\u0007\\n\\/\\"\\\\<"}', '{"kind":"k","name":"n","x":"\\u0007\\n/\\"\\\\<"}'),
    ('{"kind":"k","name":"n","x":1,"x":[true,false]}', '{"kind":"k","name":"n","x":[true,false]}'),
    ('{"kind":"k","name":"n","":{}}', '{"":{},"kind":"k","name":"n"}'),
)

NO_ACTIONS = (
    ('{"kind":"k","name":"n","x":9007199254740992}', "an integer beyond 2^53 - 1"),
    ('{"kind":"k","name":"n","x":[-9007199254740992]}', "deep inside too"),
    ('{"kind":"k","name":"n","x":123456789012345678901234567890}', "beyond 64 bits"),
    ('{"kind":"k","name":"n","x":1e400}', "an infinity"),
    ('{"kind":"k"}', "no name"),
    ('{"kind":null,"name":"n"}', "null is absent"),
    ('{"kind":"","name":"n"}', "an empty kind"),
    ('{"kind":"k","name":7}', "a number for a name"),
    ('{"kind":"k","name":"n","idempotency_key":""}', "an empty key"),
    ('{"kind":"k","name":"n","idempotency_key":1}', "a number for a key"),
    ('["k","n"]', "no object"),
    ('"refund"', "a string"),
)


def digests() -> Story:
    s = Story("digests", "One action, one digest, however it was spelled: RFC 8785, without its own null members.")
    for number, (spelling, canonical) in enumerate(SPELLINGS):
        subject, digest = f"D-{number}", digest_of(canonical)
        s.line("09:00", _opened_as_spelled(s, spelling, subject), "ok", note=canonical)
        s.grant("09:01", of(), digest=digest, subject=subject)
        lent = {"signals": ["side-effect-unproven"], "fence": 2 * number + 1, "debt": owed(DANA, "09:01")}
        reconcile = expect("indeterminate", "fresh held indeterminate", until="10:00", digest=digest, **lent)
        s.ask("09:01", reconcile, subject=subject)
    return s


def _opened_as_spelled(s: Story, spelling: str, subject: str) -> str:
    """A ``pause.opened`` in which the action stands as it was spelled, byte for byte."""
    event = s.event("pause.opened", ready(pending_action="HERE"), subject=subject)
    return json.dumps(event).replace('"HERE"', spelling)


def no_actions() -> Story:
    s = Story("no-actions", "Actions that have no digest, or no name, are bad data.")
    for spelling, why in NO_ACTIONS:
        s.line("09:00", _opened_as_spelled(s, spelling, "T-1"), "bad-data", note=why)
    long = "n" * 256
    s.put("09:01", "pause.opened", ready(pending_action={"kind": "k", "name": long + "n"}), "bad-data")
    s.put("09:02", "pause.opened", ready(pending_action={"kind": "k", "name": long}, action_digest="sha256:made-up"))
    digest = digest_of(f'{{"kind":"k","name":"{long}"}}')
    s.ask("09:02", expect("clear", "fresh held not_happened", until="10:02", digest=digest))
    return s


def names() -> Story:
    s = Story("names", "Identifiers and principals have 1 to 256 characters, counted as code points.")
    face = "\N{GRINNING FACE}"
    s.put("09:00", "pause.opened", ready(face * 256, note=None), id=face * 256, source="é" * 256)
    s.put("09:01", "pause.opened", ready(face * 257), "bad-data")
    s.put("09:01", "pause.opened", ready(""), "bad-data")
    s.put("09:01", "pause.opened", ready(None), "bad-data", note="null is absent")  # type: ignore[arg-type]
    s.put("09:01", "pause.opened", ready("p2", owner=""), "bad-data")
    s.put("09:01", "pause.opened", ready("p2", resume_authority=[DANA, None]), "bad-data", note="null in a list")
    s.put("09:01", "pause.opened", ready("p2", resume_authority=DANA), "bad-data", note="a list of one is a list")
    s.put("09:01", "note.added", {"text": ""}, id="i" * 257, code="bad-data")
    s.put("09:01", "note.added", {"text": ""}, source="s" * 257, code="bad-data")
    s.put("09:01", "note.added", {"text": ""}, subject="t" * 257, code="bad-data")
    s.put("09:01", "note.added", {"text": ""}, subject="t" * 256, note="a text may be empty")
    s.put("09:01", "note.added", {"text": ""}, actor="a" * 257, code="bad-data")
    s.put("09:02", "note.added", {"text": " "}, id=" ", source=" ", note="a space is a character")
    s.ask("09:02", expect("clear", "fresh held not_happened", until="10:00", pause=face * 256))
    s.ask("09:02", subject="t" * 256)
    s.ask("09:02", subject="T-unheard-of")
    return s


def duplicates() -> Story:
    s = Story("duplicates", "The same source and id again: the first counts, the rest say so, and what the first was.")
    opened = ready()
    s.put("09:00", "pause.opened", opened, id="a")
    s.put("09:01", "pause.opened", opened, "duplicate", id="a", first=0)
    s.put("09:01", "pause.opened", opened | {"route": None}, "duplicate", id="a", first=0, note="null is absent")
    reordered = dict(reversed(opened.items()))
    s.put("09:01", "pause.opened", reordered, "duplicate", id="a", first=0, actor=OMAR, note="who sent it is no matter")
    s.put("09:02", "pause.opened", opened | {"unknown": 1}, "id-reused", id="a", note="other data")
    s.put("09:02", "note.added", opened | {"text": "x"}, "id-reused", id="a", note="another type")
    s.put("09:02", "pause.opened", opened, "duplicate", id="a", first=0, note="of the first, not of the last")
    s.put("09:03", "pause.opened", opened, "pause-exists", id="a", source="/another", note="another source's own a")
    ask = of(action_digest=REFUND_DIGEST)
    s.put("09:04", "resume.requested", ask, "no-authority", id="b")
    s.put(
        "09:04", "resume.requested", ask, "duplicate", id="b", first=8, actor=DANA, note="asked again is not asked anew"
    )
    s.put("09:05", "resume.requested", ask, id="c", actor=DANA, fence=10, digest=REFUND_DIGEST)
    s.put("09:05", "resume.requested", ask, "duplicate", id="c", actor=DANA, first=10)
    act = of(fence=10)
    s.put("09:06", "side_effect.attempted", act, id="d", fence=10)
    s.put("09:06", "side_effect.attempted", act, "duplicate", id="d", first=12, note="no second permission")
    s.put("09:07", "note.added", {"text": 7}, "bad-data", id="e", note="malformed: its id is still free")
    s.put("09:07", "note.added", {"text": "7"}, id="e")
    s.put("09:08", "note.added", {"text": "7"}, id="e", subject="T-2", note="another work item's own e")
    s.put("09:09", "pause.opened", opened, "duplicate", id="a", first=0, time="2026-03-28T08:00:00Z")
    waits: dict[str, Any] = {"signals": ["side-effect-unproven"], "fence": 10, "debt": owed(DANA, "09:05")}
    s.ask("09:09", expect("indeterminate", "fresh held indeterminate", until="10:00", **waits))
    return s


def equal_data() -> Story:
    s = Story("equal-data", "Equal as JSON: numbers by value, booleans are no numbers, nulls inside a member count.")
    s.put("09:00", "note.added", {"text": "x", "n": 1, "deep": {"a": None}}, id="a")
    s.put("09:01", "note.added", {"n": 1.0, "deep": {"a": None}, "text": "x"}, "duplicate", id="a", first=0)
    s.put("09:01", "note.added", {"text": "x", "n": 1, "deep": {}}, "id-reused", id="a")
    s.put("09:01", "note.added", {"text": "x", "n": True, "deep": {"a": None}}, "id-reused", id="a")
    s.put("09:01", "note.added", {"text": "x", "n": "1", "deep": {"a": None}}, "id-reused", id="a")
    s.put("09:02", "note.added", {"text": "x", "n": [1, 2]}, id="b")
    s.put("09:02", "note.added", {"text": "x", "n": [2, 1]}, "id-reused", id="b", note="a list has an order")
    s.put("09:03", "note.added", {"text": "x", "n": 9007199254740992}, id="c")
    s.put("09:03", "note.added", {"text": "x", "n": 9007199254740993}, "id-reused", id="c", note="kept exact")
    s.put("09:04", "note.added", {"text": "x", "n": 2**70}, id="d", note="an integer of any size is kept")
    s.put("09:04", "note.added", {"text": "x", "n": 2**70}, "duplicate", id="d", first=9)
    s.put("09:04", "note.added", {"text": "x", "n": 2**70 + 1}, "id-reused", id="d")
    return s


def notes_change_nothing() -> Story:
    s = Story("notes-change-nothing", "Notes, and members and extensions that nobody knows, are kept and ignored.")
    s.put("09:00", "pause.opened", ready(side_effects="happened", fence=9), partitionkey="x", sequence=7)
    s.put("09:01", "note.added", {"text": "on no pause at all", "pause": "p9", "execution": "run-9"})
    s.put("09:02", "note.added", {"text": "on a branch that nobody started", "execution": "run-9"}, subject="T-9")
    s.put("09:03", "pause.opened", ready("p2", "run-1", pending_action=LETTER, owner=None))
    s.ask(
        "09:03",
        expect("clear", "fresh held not_happened", until="10:00"),
        expect("clear", "fresh held not_happened", until="10:03", pause="p2", digest=LETTER_DIGEST),
    )
    edit = of("p2", outcome="edit", action_digest=LETTER_DIGEST, pending_action=REFUND)
    s.put("09:04", "review.decided", edit, actor=DANA, note="edited into the other's action")
    grant = s.grant("09:05", of())
    lent = {"signals": ["side-effect-unproven"], "fence": grant, "debt": owed(DANA, "09:05")}
    s.ask(
        "09:05",
        expect("indeterminate", "fresh held indeterminate", until="10:00", **lent),
        expect("indeterminate", "fresh held indeterminate", until="10:03", pause="p2"),
    )
    return s


STORIES = (digests, no_actions, names, duplicates, equal_data, notes_change_nothing)
