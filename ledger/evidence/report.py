"""``report.html``: the bundle for people. One page without scripts and without anything from elsewhere.

1. The page proves nothing: it says what ``pauseledger verify`` makes again from the records, and compares.
2. Every text of the ledger is escaped, isolated and made visible (``visible``, ``report_parts``); none becomes a name,
   an address or a style. The page's policy allows its one style sheet and nothing else.
3. No clock: the page knows the instant of its decisions only. The same view gives the same bytes.
4. What is too much for a page is counted and said, never left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any, NamedTuple

from ledger.evidence.report_parts import NOTHING, branch, facts, lines, link, named, ruling, table, table_row, text
from ledger.evidence.report_style import POLICY, STYLE
from ledger.evidence.sheets import members
from ledger.evidence.view import BundleView, CheckpointView, Row
from ledger.evidence.visible import as_html, as_text
from ledger.times import format_instant, from_milliseconds

MOST_ENTRIES = 20_000
"""So many entries, pauses and unknown outcomes are on the page at most; the rest is counted."""

_PREFIX = "pauseledger."
_ATTEMPT = "pauseledger.side_effect.attempted"
_UNNAMED = "Entries that name no work item"
_ATTRIBUTES = frozenset({"specversion", "id", "source", "type", "subject", "data", "actor", "actorroles"})


class _Item:
    """A work item's section. Its rows are kept as they will be written: less memory than what they are of."""

    __slots__ = ("branches", "entries", "number", "pauses", "refused", "subject")

    def __init__(self, number: int, subject: str | None) -> None:
        self.number = number
        self.subject = subject
        self.entries: list[bytes] = []
        self.pauses: list[bytes] = []
        self.branches: dict[str, int] = {}
        self.refused = 0

    @property
    def link(self) -> str:
        """A way to the section."""
        return link(self.number, _UNNAMED if self.subject is None else text(self.subject))


class _Content(NamedTuple):
    """What the view holds, sorted for the page, and the counts of all of it."""

    items: list[_Item]
    verdicts: dict[str, int]
    decisions: dict[str, int]
    unknown: dict[str, int]
    owed: list[bytes]
    ungranted: list[bytes]


def _sorted(view: BundleView) -> _Content:
    found: dict[str | None, _Item] = {}
    content = _Content([], {}, {}, {}, [], [])

    def item_of(subject: str | None) -> _Item:
        if subject not in found:
            found[subject] = _Item(len(found) + 1, subject)
            content.items.append(found[subject])
        return found[subject]

    for at, row in enumerate(view.verdicts):
        content.verdicts[row["verdict"]] = content.verdicts.get(row["verdict"], 0) + 1
        if at < MOST_ENTRIES:
            item = item_of(row["subject"])
            item.entries.append(_written(_entry(row)))
            item.refused += row["verdict"] == "refused"
    for at, row in enumerate(view.decisions):
        _count(row, content)
        if at < MOST_ENTRIES:
            item = item_of(row["subject"])
            item.pauses.append(_written(_decision(row)))
            item.branches[row["decision"]] = item.branches.get(row["decision"], 0) + 1
        place = found[row["subject"]].link if row["subject"] in found else text(row["subject"])
        if row["debt"] is not None and len(content.owed) < MOST_ENTRIES:
            content.owed.append(_written(_debt(place, row)))
        if "acted-without-grant" in row["stop_signals"] and len(content.ungranted) < MOST_ENTRIES:
            content.ungranted.append(_written((place, text(row["pause"]), branch(row["decision"]))))
    return content


def _count(row: Row, content: _Content) -> None:
    decision = row["decision"]
    content.decisions[decision] = content.decisions.get(decision, 0) + 1
    if row["debt"] is not None:
        content.unknown[decision] = content.unknown.get(decision, 0) + 1


def _written(cells: tuple[str, ...]) -> bytes:
    return table_row(*cells).encode(errors="backslashreplace")


def _read(rows: list[bytes]) -> Iterator[str]:
    return (row.decode() for row in rows)


def report_html(view: BundleView) -> bytes:
    """The page."""
    return b"".join(report_pieces(view))


def report_pieces(view: BundleView) -> Iterator[bytes]:
    """The page, piece by piece."""
    for piece in _page(view):
        yield piece.encode(errors="backslashreplace")


def _page(view: BundleView) -> Iterator[str]:
    content = _sorted(view)
    title = escape(as_text(view.ledger))
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Pause ledger {title}: what paused, and what was "
        f"decided</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the content</a>\n<header>\n'
        f"<h1>Pause ledger {text(view.ledger)}: what paused, and what was decided</h1>\n</header>\n"
        '<nav aria-label="Contents"><ul>'
        '<li><a href="#limits">What this page proves</a></li><li><a href="#checkpoints">Checkpoints</a></li>'
        '<li><a href="#unknown">Unknown outcomes</a></li><li><a href="#ungranted">Done without a grant</a></li>'
        '<li><a href="#items">Work items</a></li></ul></nav>\n<main id="main">\n'
    )
    yield from _summary(view, content)
    yield from _limits(view)
    yield from _checkpoints(view)
    yield from _owed(content)
    yield from _ungranted(content)
    yield from _work_items(content)
    yield "</main>\n</body>\n</html>\n"


def _counted(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{count} {as_html(name)}" for name, count in sorted(counts.items()))
    return f"{sum(counts.values())}{f' ({shown})' if shown else ''}"


def _summary(view: BundleView, content: _Content) -> Iterator[str]:
    as_of = NOTHING if view.as_of is None else format_instant(from_milliseconds(view.as_of))
    yield facts(
        [
            ("Ledger", text(view.ledger)),
            ("Topic", text(view.topic)),
            ("Asked for", lines(named(view.asked))),
            ("Decisions as of", as_of),
            ("Entries", _counted(content.verdicts)),
            ("Pauses", _counted(content.decisions)),
            ("Unknown outcomes", _counted(content.unknown)),
        ]
    )
    left = [sum(counts.values()) - MOST_ENTRIES for counts in (content.verdicts, content.decisions, content.unknown)]
    what = ("entries", "pauses", "unknown outcomes"), ("verdicts", "decisions", "decisions")
    for count, words, name in zip(left, *what, strict=True):
        if count > 0:
            yield f"<p><strong>{count} more {words} are not on this page:</strong> see {name}.jsonl beside it.</p>\n"


def _limits(view: BundleView) -> Iterator[str]:
    yield (
        '<section aria-labelledby="limits">\n<h2 id="limits">What this page proves</h2>\n'
        "<p>Nothing by itself: anybody can write a page. <code>pauseledger verify</code> makes this one again from the "
        "records beside it and compares; README.txt says how. What not even that proves:</p>\n<ul>\n"
        "<li>Who wrote an entry, and what the clocks said, are claims of the entry and of the log.</li>\n"
        "<li>What came after the checkpoints is not here, and that nothing did is not proven.</li>\n"
    )
    for limit in view.limits:
        yield f"<li>{text(limit)}</li>\n"
    yield "</ul>\n</section>\n"


def _checkpoints(view: BundleView) -> Iterator[str]:
    yield '<section aria-labelledby="checkpoints">\n<h2 id="checkpoints">Checkpoints</h2>\n'
    columns = ("Partition", "Offsets under it", "Root", "Origin", "Lines of other signers, not verified here")
    yield from table("What the notary signed, a partition a row", columns, map(_checkpoint, view.checkpoints))
    for one in view.checkpoints:
        noted = "\n".join(map(as_html, one.note.split("\n")))
        yield f"<h3>Partition {one.partition}, as signed</h3>\n<pre>{noted}</pre>\n"
    yield "</section>\n"


def _checkpoint(one: CheckpointView) -> str:
    signers = []
    for line in one.cosigned:
        at = NOTHING if line.at is None else format_instant(from_milliseconds(line.at * 1_000))
        signers.append(f"{text(line.name)} {at}")
    root = f"<code>{as_html(one.root)}</code>"
    return table_row(str(one.partition), str(max(0, one.size - 1)), root, text(one.origin), lines(signers))


def _owed(content: _Content) -> Iterator[str]:
    yield '<section aria-labelledby="unknown">\n<h2 id="unknown">Unknown outcomes</h2>\n'
    if content.unknown:
        columns = ("Work item", "Pause", "Owed by", "Since", "Due")
        yield from table("Nobody has said whether these actions happened", columns, _read(content.owed))
    else:
        yield "<p>None: the ledger says of each pause whether its action happened, or that it was written off.</p>\n"
    yield "</section>\n"


def _debt(place: str, row: Row) -> tuple[str, ...]:
    debt, due = row["debt"], NOTHING
    if debt["due"] is not None:
        passed = ' <span class="refused">passed</span>' if debt["due"] <= row["as_of"] else ""
        due = f"{text(debt['due'])}{passed}"
    return place, text(row["pause"]), text(debt["owner"]), text(debt["since"]), due


def _ungranted(content: _Content) -> Iterator[str]:
    yield '<section aria-labelledby="ungranted">\n<h2 id="ungranted">Done without a grant</h2>\n'
    if content.ungranted:
        columns = ("Work item", "Pause", "Decision")
        yield from table("Somebody said that they acted, and had not asked", columns, _read(content.ungranted))
    else:
        yield "<p>No entry here says that somebody acted without a grant.</p>\n"
    yield "</section>\n"


def _work_items(content: _Content) -> Iterator[str]:
    yield '<section aria-labelledby="items">\n<h2 id="items">Work items</h2>\n'
    columns = ("Work item", "Entries", "Refused", "Decisions")
    yield from table("A section for each is below", columns, map(_indexed, content.items))
    for item in content.items:
        yield from _section(item)
    yield "</section>\n"


def _indexed(item: _Item) -> str:
    branches = (f"{branch(name)} {f'({count})' if count > 1 else ''}" for name, count in item.branches.items())
    return table_row(item.link, str(len(item.entries)), str(item.refused), lines(branches))


def _section(item: _Item) -> Iterator[str]:
    name = f"item-{item.number}"
    heading = _UNNAMED if item.subject is None else text(item.subject)
    yield f'<section class="item" aria-labelledby="{name}">\n<h3 id="{name}">{heading}</h3>\n'
    if item.pauses:
        columns = ("Pause", "Decision", "Why", "Checks", "Signals and duties", "Until")
        yield from table("Its pauses, and the decision of each", columns, _read(item.pauses))
    entries = ("Entry", "Recorded", "Event", "Verdict", "Claims to be by", "What it says", "What came of it")
    yield from table("Its entries, oldest first", entries, _read(item.entries))
    yield "</section>\n"


def _decision(row: Row) -> tuple[str, ...]:
    checks = row["checks"]
    shown = (f"{name.replace('_', ' ')} {text(checks[name]['result'])}" for name in checks)
    signals = [text(one) for one in (*row["stop_signals"], *row["obligations"])]
    if row["debt"] is not None:
        signals.append(f"owed by {text(row['debt']['owner'])}")
    return (
        f'{text(row["pause"])}<br><span class="quiet">of {text(row["execution"])}</span>',
        f'{branch(row["decision"])}<br><span class="quiet">rule {text(row["rule"])}</span>',
        text(row["reason"]),
        lines(shown),
        lines(signals),
        text(row["valid_until"]),
    )


def _entry(row: Row) -> tuple[str, ...]:
    event = row.get("event")
    whole = members(event)
    data = whole.get("data")
    said = [*named(whole, _ATTRIBUTES)]
    said += named(data) if isinstance(data, dict) else [] if data is None else [text(data)]
    kind = row["type"]
    return (
        f"{row['partition']}:{row['offset']}",
        text(row["recorded_at"]),
        text(None if kind is None else kind.removeprefix(_PREFIX)),
        ruling(row["verdict"], row["code"]),
        _by(whole),
        lines(said) if event is not None else '<span class="quiet">(no JSON)</span>',
        lines(_outcome(row)),
    )


def _by(event: Any) -> str:
    roles = event.get("actorroles")
    return text(event.get("actor")) + (f'<br><span class="quiet">roles</span> {text(roles)}' if roles else "")


def _outcome(row: Row) -> Iterator[str]:
    """The reason of anything but an acceptance; of a resend the first; the fence of a permission."""
    if row["verdict"] != "accepted":
        yield text(row["reason"])
    if (first := row.get("first")) is not None:
        yield f"first at {first['partition']}:{first['offset']}: {ruling(first['verdict'], first['code'])}"
    if "fence" in row:
        yield f"fence {row['fence']}"
    elif row["type"] == _ATTEMPT and row["verdict"] == "accepted":
        yield '<span class="refused">without a grant</span>'
    if "valid_until" in row:
        yield f"act before {text(row['valid_until'])}"
