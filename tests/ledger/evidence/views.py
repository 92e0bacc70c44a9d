"""Views of bundles, for the tests of what is rendered from them: by the real fold, of stories, vectors and chance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.decision import decide
from ledger.events import EVENT_TYPES
from ledger.evidence.view import BundleView, CheckpointView, Cosignature
from ledger.fold import Replay
from ledger.record import Record
from ledger.times import from_milliseconds
from projections.trail import Line
from tests.ledger.story import CLEAR, Story
from tests.vectors import files_in, read_vectors

VECTORS = Path(__file__).parents[3] / "docs" / "vectors"
NINE = 1_774_688_400_000
HIDDEN_SAMPLE = "\x00\x1b[31m\r\n\t\x7f\x85\xad\u061c\u115f\u200b\u200d\u202e\u2066\u2028\u3000\u3164\ufeff\U000e0041"
HOSTILE = [
    '"><script>window.pwned=1</script><img src=x onerror="window.pwned=2">',
    "</style><style>*{display:none}</style>",
    "</title></table></section><h1>Verified</h1><a href='javascript:window.pwned=3'>",
    "&lt;b&gt; &amp; ]]> <!-- --><svg onload=window.pwned=4>",
    "accepted \u202edetpecca\u202c \u2066x",
    HIDDEN_SAMPLE,
    "e" + "\u0301" * 50,
    "=cmd|' /C calc'!A0",
    "  @SUM(1)",
    "\uff1dHYPERLINK(1)",
    "'-1",
    "שלום עולם",
    "x" * 5_000,
    "sealed:v1:" + "ab" * 16 + ":" + "Q" * 40,
]


def view_of(records: Sequence[Record], partitions: int = 1, **changes: Any) -> BundleView:
    """A view of these records with all their verdicts, and the decisions at the last one's time."""
    fold = Replay(partitions)
    verdicts = [Line(record, fold.take(record)).as_dict() for record in records]
    as_of = max((record.recorded_at for record in records), default=NINE)
    now = from_milliseconds(as_of)
    decisions = [
        decide(item, pause, now).as_dict() for _, item in sorted(fold.items.items()) for pause in item.pauses.values()
    ]
    note = "acme/pauses/0\n9\nq6s=\n\n— acme AAAA\n— witness.example BBBB\n"
    checkpoint = CheckpointView(
        0, 9, "ab" * 32, "acme/pauses/0", note, (Cosignature("witness.example", 1_774_688_400),)
    )
    view = BundleView(
        ledger="acme",
        topic="pauses",
        as_of=as_of,
        query={"subjects": sorted(fold.items), "until": None},
        checkpoints=[checkpoint],
        verdicts=verdicts,
        decisions=decisions,
        limits=["These work items were chosen by their owner."],
        subjects=sorted(fold.items),
        files=["manifest.json", "entries.jsonl", "leaves-0", "checkpoint-0", "csv/entries.csv", "report.html"],
    )
    return replace(view, **changes)


@cache
def vectors_view() -> BundleView:
    """All vectors behind each other, one log: every type, verdict, code and decision there is."""
    verdicts, decisions = [], []
    for path in files_in(VECTORS):
        vectors = read_vectors(path)
        view = view_of(vectors.records, vectors.partitions)
        verdicts += view.verdicts
        decisions += view.decisions
    return replace(view, verdicts=verdicts, decisions=decisions)


@cache
def hostile_view() -> BundleView:
    """A work item whose every text is hostile, and names around it that are too."""
    story = Story('T-1 <script>alert(1)</script> \u202e"&')
    for number, text in enumerate(HOSTILE):
        name = text[:200]
        story.open(f"p{number} {name}", owner="user:ann", runtime={name: text}, trigger=text, route=None)
        story.tell("note.added", f"user:{name}", {"id": f"{number} {name}", "actorroles": name}, text=text)
        story.request(f"p{number} {name}", actor=name)
        story.tell(name)
        story.put({"type": text, "subject": text, "data": text, text: [text]})
    story.put(b"<script>alert(1)</script>")
    view = view_of(story.records)
    note = f"{HOSTILE[0]}\n9\nq6s=\n\n— {HOSTILE[4]} AAAA\n"
    checkpoint = CheckpointView(0, 9, HOSTILE[1], HOSTILE[0], note, [Cosignature(HOSTILE[2], None)])
    return replace(
        view,
        ledger=HOSTILE[0],
        topic=HOSTILE[4],
        query={text: text for text in HOSTILE},
        checkpoints=[checkpoint],
        limits=HOSTILE,
        files=[*HOSTILE, "manifest.json"],
    )


def owed_view() -> BundleView:
    """Two debts, one of them due, and an action that somebody did without a grant."""
    story = Story()
    story.open("p-1", reconcile_within="PT1M")
    fence = story.request("p-1").fence
    story.attempt(fence, "p-1")
    story.wait(minutes=2)
    other = {"kind": "tool", "name": "mail"}
    story.open("p-2", pending_action=other)
    story.attempt(None, "p-2")
    return view_of(story.records)


texts = st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE), st.text(st.sampled_from(HIDDEN_SAMPLE + "<&'\"=x")))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
types = st.one_of(st.sampled_from(sorted(EVENT_TYPES)), texts)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """An event that is nearly one, or any JSON, or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=40) | anything.map(lambda value: json.dumps(value).encode()))
    names = ("execution", "pause", "owner", "to", "from", "reason", "replaces", "status", "text", "fence", "outcome")
    data = CLEAR | {"pause": "p-1"} | draw(st.dictionaries(st.sampled_from(names), anything, max_size=4))
    content = {"specversion": "1.0", "id": draw(texts), "source": "/s", "type": draw(types), "subject": "T-1"}
    content |= draw(st.dictionaries(st.sampled_from(("actor", "actorroles", "time", "x")), anything, max_size=3))
    return json.dumps(content | {"data": draw(st.just(data) | anything)}).encode()


@st.composite
def views(draw: st.DrawFn) -> BundleView:
    """A view of some such events, under names that are any text."""
    lines = draw(st.lists(events(), max_size=6))
    records = [Record(0, at, NINE + at, b"T-1", line, STRUCTURED_HEADERS) for at, line in enumerate(lines)]
    return view_of(records, ledger=draw(texts), topic=draw(texts), limits=draw(st.lists(texts, max_size=2)))
