"""Write tables of the documents from the code: ``python docs/generate.py``; ``--check`` says what is stale.

A table stands between ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``; the text around it is written by people.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel, StrictBool, StrictInt

from consumers.operations import metrics
from consumers.settings import PREFIX as SETTINGS_PREFIX
from consumers.settings import Settings
from ledger import branch_table, events
from ledger.actions import Action
from ledger.refusals import REFUSALS
from ledger.verdict import REASONS

PAGE = Path(__file__).parent / "protocol.md"
OPERATIONS = Path(__file__).parent / "operations.md"
RUNTIMES = Path(__file__).parent / "runtimes" / "README.md"
PREFIX = "pauseledger."
MALFORMED = ("not-cloudevent", "key-mismatch", "wrong-partition", "unknown-type", "bad-data")
VERDICTS = {"ok": "accepted", "duplicate": "duplicate"} | dict.fromkeys(MALFORMED, "malformed")

# What a member of data holds, in a word. Members that are annotated otherwise are no part of the wire.
WORDS: tuple[tuple[Any, str], ...] = (
    (events.Identifier, "identifier"),
    (events.Text, "string"),
    (events.EntryName, "entry"),
    (events.Instant, "time"),
    (events.Duration, "duration"),
    (events.PendingAction, "action"),
    (StrictBool, "boolean"),
    (StrictInt, "integer"),
    (dict[str, Any], "object"),
    (Any, "any JSON"),
    (Action, "action"),
)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(header)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def word_for(kind: Any) -> str:
    """What a member holds, for a reader who has never seen Python."""
    for known, word in WORDS:
        if kind == known:
            return word
    if get_origin(kind) is Literal:
        return " / ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) is tuple:
        return f"list of {word_for(get_args(kind)[0])}s"
    if hasattr(kind, "__metadata__"):
        return word_for(get_args(kind)[0])
    return " or ".join(word_for(one) for one in get_args(kind) if one is not NoneType)


def members_of(event: type[BaseModel]) -> str:
    """The members of an event's data: those with a question mark may be absent."""
    model = get_type_hints(event)["data"]
    hints = get_type_hints(model, include_extras=True)
    told = []
    for name, field in model.model_fields.items():
        mark = "" if field.is_required() else "?"
        told.append(f"`{field.alias or name}`{mark} {word_for(hints[name])}")
    return "; ".join(told)


def kind_of(name: str) -> str:
    if name == "pauseledger.side_effect.attempted":
        return "with `fence` a request, else a fact"
    return "request" if name in events.REQUESTS else "fact"


def event_types() -> str:
    rows = (
        (f"`{name.removeprefix(PREFIX)}`", members_of(model), kind_of(name))
        for name, model in events.EVENT_TYPES.items()
    )
    return table(("name", "members of `data`", "kind"), rows)


def refusal_order() -> str:
    rows = (
        (f"`{name.removeprefix(PREFIX)}`", ", ".join(f"`{rule[0]}`" for rule in rules) or "never refused")
        for name, rules in REFUSALS.items()
    )
    return table(("name", "codes, in the order asked"), rows)


def verdict_codes() -> str:
    rows = (
        (f"`{code}`", VERDICTS.get(code, "refused"), sentence.replace("{detail}.", "…").replace("{detail}", "…"))
        for code, sentence in REASONS.items()
    )
    return table(("code", "verdict", "what it tells a person"), rows)


def branches() -> str:
    head = ("rule", "ownership", "side effect", "action", "freshness", "review", "decision", "from")
    rows = (
        (f"`{row.rule}`", *(column.replace(",", ", ") for column in row[1:6]), f"`{row.decision}`", row.source)
        for row in branch_table.TABLE
    )
    note = f"Version `{branch_table.VERSION}`, digest `{branch_table.DIGEST}`."
    return f"{table(head, rows)}\n\n{note}"


def settings() -> str:
    """Every setting, its default where it has one, and what it means."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "") else f"`{field.default}`"
        rows.append((f"`{SETTINGS_PREFIX}{name.upper()}`", default, (field.description or "").replace("|", "\\|")))
    return table(("variable", "default", "what it is"), rows)


def metrics_served() -> str:
    """Every metric under ``/metrics``, what kind it is, and what it says."""
    rows = []
    for found in vars(metrics).values():
        if not isinstance(found, MetricWrapperBase):
            continue
        name = found.describe()[0].name + ("_total" if isinstance(found, Counter) else "")
        labels = ", ".join(f"`{label}`" for label in found._labelnames)
        rows.append((f"`{name}`", type(found).__name__.lower(), labels, found.describe()[0].documentation))
    return table(("metric", "kind", "labels", "what it says"), rows)


def scenes() -> str:
    """What became of each scene, by runtime: how often it acted, with the ledger and without."""
    rows, titles = [], []
    for path in sorted(RUNTIMES.parent.glob("scenes/*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        titles = list(told)
        rows.append((f"[{path.stem}]({path.stem}.md)", *(_acted(told[scene]) for scene in titles)))
    return table(("runtime", *titles), rows)


def _acted(scene: Mapping[str, Any]) -> str:
    """What was refunded: wired, and where that differs, without the ledger."""
    wired, bare = (", ".join(map(str, scene[side])) or "nothing" for side in ("wired", "bare"))
    return wired if wired == bare else f"{wired} (without: **{bare}**)"


TABLES: dict[str, Callable[[], str]] = {
    "event types": event_types,
    "branch table": branches,
    "refusals": refusal_order,
    "verdict codes": verdict_codes,
}


OPERATIONS_TABLES: dict[str, Callable[[], str]] = {"settings": settings, "metrics": metrics_served}
RUNTIMES_TABLES: dict[str, Callable[[], str]] = {"scenes": scenes}


def generated(text: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """The page with every table as the code has it now. Raises ``ValueError`` where a marker is missing."""
    for name, make in tables.items():
        start, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"the page needs {start} and {end}, once each")
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n\n{make()}\n\n{end}{rest.partition(end)[2]}"
    return text


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` print what would change and return 1."""
    stale = False
    for page, tables in ((PAGE, TABLES), (OPERATIONS, OPERATIONS_TABLES), (RUNTIMES, RUNTIMES_TABLES)):
        before = page.read_text(encoding="utf-8")
        after = generated(before, tables)
        if arguments != ["--check"]:
            page.write_text(after, encoding="utf-8")
            continue
        name = f"{page.parent.name}/{page.name}"
        changes = difflib.unified_diff(before.splitlines(), after.splitlines(), name, "the code", lineterm="")
        text = "\n".join(changes)
        print(text or f"{name} is as the code says")
        stale = stale or bool(text)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
