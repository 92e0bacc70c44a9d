"""The branch table: which way a paused branch goes. Data first, then a short interpreter (protocol, section 6).

1. The first row that matches decides. A row matches where each of its five columns is ``ANY`` or names the value.
2. The table is total: 5 ownerships x 3 side effects x 2 x 3 freshnesses x 2 = 180 cells, each looked up once, below.
3. Nothing else anywhere decides a branch. Whoever changes a row changes the version, and with it the digest.
"""

from __future__ import annotations

import hashlib
from itertools import product
from typing import Literal, NamedTuple

import rfc8785

Freshness = Literal["unknown", "fresh", "expired"]
Ownership = Literal["changed", "contested", "unknown", "lapsed", "held"]
SideEffectResult = Literal["indeterminate", "happened", "not_happened"]
Branch = Literal["resume", "review", "reconcile", "settle", "terminate", "closed"]

OWNERSHIPS: tuple[Ownership, ...] = ("changed", "contested", "unknown", "lapsed", "held")
SIDE_EFFECTS: tuple[SideEffectResult, ...] = ("indeterminate", "happened", "not_happened")
ACTIONS = ("none", "present")
FRESHNESSES: tuple[Freshness, ...] = ("unknown", "expired", "fresh")
REVIEWS = ("missing", "not missing")

VERSION = "1"
ANY = "any"


class Row(NamedTuple):
    """One rule. The five columns hold values separated by commas, or ``any``; ``source`` says where it is from."""

    rule: str
    ownership: str
    side_effect: str
    action: str
    freshness: str
    review: str
    decision: Branch
    source: str


# fmt: off
TABLE: tuple[Row, ...] = (
    #   rule             ownership            side effect      action     freshness           review         decision
    Row("moved",         "changed,contested", ANY,             ANY,       ANY,                ANY,           "terminate", "article row 4: terminate, and create one new canonical owner"),  # noqa: E501
    Row("indeterminate", ANY,                 "indeterminate", ANY,       ANY,                ANY,           "reconcile", "article row 3: reconcile before any continuation"),  # noqa: E501
    Row("landed",        ANY,                 "happened",      ANY,       ANY,                ANY,           "settle",    "already happened: close with the outcome, never act again"),  # noqa: E501
    Row("no-action",     ANY,                 ANY,             "none",    ANY,                ANY,           "review",    "only the last completed step is known"),  # noqa: E501
    Row("unowned",       "unknown,lapsed",    ANY,             ANY,       ANY,                ANY,           "review",    "who may resume must be proven"),  # noqa: E501
    Row("stale",         ANY,                 ANY,             ANY,       "expired,unknown",  ANY,           "review",    "article row 2: the approval packet is no longer enough"),  # noqa: E501
    Row("unreviewed",    ANY,                 ANY,             ANY,       ANY,                "missing",     "review",    "approve what will be done, not something like it"),  # noqa: E501
    Row("clear",         "held",              "not_happened",  "present", "fresh",            "not missing", "resume",    "article row 1: resume the saved branch"),  # noqa: E501
)
# fmt: on

Cell = tuple[str, str, str, str, str]


def matching_row(rows: tuple[Row, ...], cell: Cell) -> Row:
    """The first row that matches a cell: (ownership, side effect, action, freshness, review)."""
    for row in rows:
        if all(column == ANY or value in column.split(",") for column, value in zip(row[1:6], cell, strict=True)):
            return row
    raise LookupError(f"the branch table has no row for {cell}")


def table_digest(rows: tuple[Row, ...]) -> str:
    """``sha256:`` + the hex SHA-256 of the RFC 8785 form of the rows, so that a decision names its table."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps([list(row) for row in rows])).hexdigest()


CELLS: dict[Cell, Row] = {
    cell: matching_row(TABLE, cell) for cell in product(OWNERSHIPS, SIDE_EFFECTS, ACTIONS, FRESHNESSES, REVIEWS)
}
DIGEST = table_digest(TABLE)


def branch(
    ownership: Ownership,
    side_effect: SideEffectResult,
    has_action: bool,
    freshness: Freshness,
    review_missing: bool,
) -> Row:
    """The row that decides, for the results of the three checks and what the packet holds."""
    return CELLS[
        ownership,
        side_effect,
        "present" if has_action else "none",
        freshness,
        "missing" if review_missing else "not missing",
    ]
