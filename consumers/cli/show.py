"""What people read: the decision and its reason first, then what proves it. Plain text where there is no terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumers.cli.drawing import cell, in_line
from consumers.cli.words import kind, note, ruling, said
from ledger.branch_table import Row
from ledger.personal import member_at

BRANCH_STYLES = {
    "resume": "bold green",
    "review": "bold yellow",
    "reconcile": "bold red",
    "settle": "bold cyan",
    "terminate": "bold magenta",
    "closed": "dim",
}
VERDICT_STYLES = {
    "accepted": "green",
    "refused": "red",
    "duplicate": "yellow",
    "malformed": "red",
    "unknown": "magenta",
}


def grid(*styles: str) -> Table:
    """Columns without lines between them, aligned; the last may fold."""
    table = Table.grid(padding=(0, 2))
    for style in styles:
        table.add_column(style=style, overflow="fold")
    return table


def pairs(rows: Iterable[tuple[str, object]]) -> Table:
    """Names and values, a line each."""
    table = grid("dim", "")
    for name, value in rows:
        table.add_row(name, value if isinstance(value, Text) else str(value))
    return table


def decisions(console: Console, subject: str, found: Sequence[Mapping[str, Any]], *, then: bool = False) -> None:
    """The decisions of a work item, now or ``then``."""
    if not found:
        console.print(f"{subject} had no pause at that instant." if then else f"{subject} has no pause on this ledger.")
    for number, one in enumerate(found):
        if number:
            console.print()
        decision(console, one)


def decision(console: Console, one: Mapping[str, Any]) -> None:
    """One decision: the branch and the reason, then the checks with the entries that prove them."""
    branch = cell(one["decision"], BRANCH_STYLES[one["decision"]])
    console.print(in_line(branch, cell(f"  {one['reason']}")), soft_wrap=True)
    console.print(pairs(_facts(one)))
    checks = grid("dim", "", "dim")
    for name, check in one["checks"].items():
        proof = f"by {', '.join(check['entries'])}" if check["entries"] else ""
        checks.add_row(name.replace("_", " "), check["result"], proof)
    console.print(checks)


def _facts(one: Mapping[str, Any]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("pause", f"{one['pause']} of {one['execution']}, work item {one['subject']}"),
        ("as of", f"{one['as_of']}, rule {one['rule']} of table {one['table']['version']}"),
    ]
    if one["valid_until"]:
        rows.append(("checks hold until", one["valid_until"]))
    if one["stop_signals"]:
        rows.append(("stop signals", ", ".join(one["stop_signals"])))
    if one["obligations"]:
        rows.append(("obligations", ", ".join(one["obligations"])))
    if debt := one["debt"]:
        due = f", due {debt['due']}" if debt["due"] else ""
        rows.append(("debt", f"owed by {debt['owner'] or 'nobody'} since {debt['since']}{due}"))
    if one["fence"] is not None:
        rows.append(("fence", one["fence"]))
    if one["action_digest"]:
        rows.append(("action", one["action_digest"]))
    return rows


def packet(console: Console, content: Mapping[str, Any]) -> None:
    """A packet: the fields that were given, in the protocol's order."""
    title = in_line(cell(content["state"], "bold"), cell(f"  pause {content['pause']} of {content['execution']}"))
    console.print(title)
    packet = {name: value for name, value in content.items() if name != "personal"}
    rows = [(name.replace("_", " "), shown(value)) for name, value in packet.items() if value not in (None, [], {})]
    console.print(pairs(rows))
    personal(console, [("", content)])


def shown(value: object) -> str:
    """A field's value for people: lists by commas, objects as JSON."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return orjson.dumps(value).decode() if isinstance(value, dict) else str(value)


def trail(console: Console, subject: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Every entry with its verdict, a line each; of refusals and the like also why."""
    if not lines:
        console.print(f"No entry on this ledger names {subject}.")
        return
    table = grid("dim", "dim", "", "", "", "dim")
    for line in lines:
        style = VERDICT_STYLES[line["verdict"]]
        table.add_row(
            f"{line['partition']}:{line['offset']}",
            line["recorded_at"],
            cell(ruling(line), style=style),
            kind(line["type"]),
            said(line["event"]),
            note(line),
        )
    console.print(table)
    personal(console, [(f"{line['partition']}:{line['offset']}", line) for line in lines])


def personal(console: Console, shown_ones: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """What became of sealed members, where it was asked for: where each is, and what it says or why it says nothing."""
    table = grid("dim", "dim", "", "")
    for place, one in shown_ones:
        event = one.get("event")
        data = event.get("data") if isinstance(event, Mapping) else one
        for member in one.get("personal", ()):
            state = member["state"]
            value = shown(member_at(data, member["pointer"])) if state == "revealed" else f"key {member['key']}"
            table.add_row(place, member["pointer"], state, cell(value))
    if table.row_count:
        console.print("Personal data:", style="dim")
        console.print(table)


def tally(console: Console, printed: Counter[str]) -> None:
    """How many of each verdict there were, in one line."""
    parts = [f"{printed[name]:,} {name}" for name in VERDICT_STYLES if printed[name]]
    console.print(cell("published: " + (", ".join(parts) or "nothing"), style="dim"))


_COLUMNS = {
    "inbox": ("decision", "subject", "action", "owner", "due", "reason", "execution", "pause"),
    "debts": ("due", "since", "subject", "action", "owner", "side_effect_by", "state", "execution", "pause"),
    "alerts": ("deadline", "kind", "subject", "pause", "owner", "told", "id"),
    "undecided": ("since", "subject", "pause", "owner", "state", "outcome"),
    "deadlines": ("at", "kind", "subject", "pause", "owner"),
    "owners": ("subject", "execution", "role", "owner", "owner_set", "owner_changed"),
}


def listing(console: Console, name: str, rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    """A listing of the whole ledger, a line each; what has passed or is overdue in red."""
    if not rows:
        console.print(empty)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in _COLUMNS[name]:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        late = "red" if row.get("passed") or row.get("overdue") else ""
        cells = [cell(row[column] or "-", style=_cell_style(column, row, late)) for column in _COLUMNS[name]]
        table.add_row(*cells)
    console.print(table)


def _cell_style(column: str, row: Mapping[str, Any], late: str) -> str:
    if column == "decision":
        return BRANCH_STYLES[row[column]]
    return late if column in ("at", "due") else ""


def changes(console: Console, lines: Sequence[Mapping[str, Any]]) -> None:
    """Every claim, takeover and move, a line each."""
    if not lines:
        console.print("Nobody has claimed anything on this ledger.")
        return
    table = grid("dim", "dim", "", "", "")
    for line in lines:
        place = f"{line['partition']}:{line['offset']}"
        table.add_row(place, line["recorded_at"], line["subject"], kind(line["type"]), said(line["event"]))
    console.print(table)


def branch_table(console: Console, rows: Iterable[Row], version: str, digest: str) -> None:
    """The branch table for people."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("rule", "ownership", "side effect", "action", "freshness", "review", "decision", "from"):
        table.add_column(name, overflow="fold")
    for row in rows:
        columns = [column.replace(",", ", ") for column in row[:6]]
        table.add_row(*columns, cell(row.decision, style=BRANCH_STYLES[row.decision]), row.source)
    console.print(f"The first row that matches decides. Version {version}, {digest}.", style="dim")
    console.print(table)


def findings(console: Console, found: Iterable[Mapping[str, Any]]) -> None:
    """What ``doctor`` found, and what to do."""
    marks = {"ok": ("ok", "green"), "warning": ("look", "yellow"), "problem": ("mend", "bold red")}
    table = grid("", "", "")
    for one in found:
        word, style = marks[one["level"]]
        said_of_it = " ".join(part for part in (one["finding"], one["advice"]) if part)
        table.add_row(cell(word, style=style), one["check"], said_of_it)
    console.print(table)
