"""The parts that ``report.html`` is put together from: every text of the ledger passes through here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ledger.evidence.visible import as_html, cut
from ledger.json_text import write_json

_SEALED_MARK = "sealed:v1:"
_SEALED = re.compile(_SEALED_MARK + r"([0-9a-f]{32}):[A-Za-z0-9_-]{22,}")
_OFTEN, _LONG = 100, 30
MOST_MEMBERS = 100
NOTHING = '<span class="quiet">–</span>'
_VERDICTS = {"accepted", "refused", "duplicate", "malformed"}
_BRANCHES = {"resume", "review", "reconcile", "settle", "terminate", "closed"}


def text(value: Any) -> str:
    """A value of the ledger, kept apart from what stands beside it; what is no text as JSON; long ones cut."""
    if value is None:
        return NOTHING
    whole = value if isinstance(value, str) else write_json(value).decode()
    if not whole:
        return '<span class="quiet">(empty)</span>'
    return "".join(_sealed_or_plain(whole)) if _SEALED_MARK in whole else _plain(whole)


@lru_cache(maxsize=4_096)  # names, times and reasons come again and again
def _short(whole: str) -> str:
    return f"{_isolated(whole)}{as_html(whole)}</bdi>"


def _isolated(shown: str) -> str:
    """What a text stands in: its direction moves nothing beside it. A long one breaks anywhere, a short one doesn't."""
    return '<bdi class="l">' if len(shown) > _LONG else "<bdi>"


def _plain(whole: str) -> str:
    if len(whole) <= _OFTEN:
        return _short(whole)
    shown, left = cut(whole)
    more = f' <span class="quiet">… and {left} more characters</span>' if left else ""
    return f"{_isolated(shown)}{as_html(shown)}</bdi>{more}"


def _sealed_or_plain(whole: str) -> Iterator[str]:
    """Personal data stays sealed: of it the key's id is shown, by which the owner of the keys can find it."""
    for at, part in enumerate(_SEALED.split(whole)):
        if at % 2:
            yield f'<span class="sealed">personal data, sealed under key {part}</span>'
        elif part:
            yield _plain(part)


def ruling(verdict: str, code: str) -> str:
    """A verdict and its code, without saying the same twice."""
    words = verdict if code in ("ok", verdict) else f"{verdict} {code}"
    return _classed(words, verdict if verdict in _VERDICTS else "")


def branch(decision: str) -> str:
    """A decision's branch."""
    return _classed(decision, decision if decision in _BRANCHES else "")


def _classed(words: str, name: str) -> str:
    return f'<span class="{name}">{as_html(words)}</span>' if name else text(words)


def lines(parts: Iterable[str]) -> str:
    """Parts below each other in a cell."""
    return "<br>".join(parts) or NOTHING


def named(members: Mapping[str, Any], left_out: frozenset[str] = frozenset()) -> Iterator[str]:
    """An object's members, a line each; of many the first."""
    shown = [name for name, value in members.items() if name not in left_out and value is not None]
    for name in shown[:MOST_MEMBERS]:
        yield f'<span class="quiet">{text(name)}</span> {text(members[name])}'
    if len(shown) > MOST_MEMBERS:
        yield f'<span class="quiet">… and {len(shown) - MOST_MEMBERS} more members</span>'


def facts(members: Iterable[tuple[str, str]]) -> str:
    """A list of names and what they are; names are ours, values are HTML."""
    return '<dl class="facts">' + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in members) + "</dl>\n"


def table_row(first: str, *rest: str) -> str:
    """A row of a table. Cells are HTML; the first heads its row."""
    return f'<tr><th scope="row">{first}</th><td>{"</td><td>".join(rest)}</td></tr>\n'


def table(caption: str, columns: Sequence[str], rows: Iterable[str]) -> Iterator[str]:
    """A table in a group that scrolls by itself, also by keyboard."""
    yield f'<div class="scroll" role="group" tabindex="0" aria-label="{caption}"><table><caption>{caption}</caption>\n'
    yield "<thead><tr>" + "".join(f'<th scope="col">{name}</th>' for name in columns) + "</tr></thead>\n<tbody>\n"
    yield from rows
    yield "</tbody></table></div>\n"


def link(number: int, words: str) -> str:
    """A way to a work item's section; sections are numbered, so that no text becomes an address."""
    return f'<a href="#item-{number}">{words}</a>'
