"""The branch table: all 180 cells against a second statement of the rules, and no worse check ever opens the way."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from ledger.branch_table import (
    CELLS,
    DIGEST,
    TABLE,
    VERSION,
    Cell,
    Row,
    branch,
    matching_row,
    table_digest,
)

# The values, written out again here: a value that the table forgot would otherwise be forgotten by its test too.
COLUMNS = (
    ("changed", "contested", "unknown", "lapsed", "held"),
    ("indeterminate", "happened", "not_happened"),
    ("none", "present"),
    ("unknown", "expired", "fresh"),
    ("missing", "not missing"),
)
EVERY_CELL: list[Cell] = [cell for cell in product(*COLUMNS) if len(cell) == 5]

# From the best value to those that are worse in every respect. Values that neither list nor another puts in order
# (a lapsed owner and an unknown one, say) are not comparable.
WORSE: tuple[dict[str, set[str]], ...] = (
    {
        "held": {"lapsed", "unknown", "contested", "changed"},
        "lapsed": {"contested", "changed"},
        "unknown": {"contested", "changed"},
        "contested": {"changed"},
    },
    {"not_happened": {"happened", "indeterminate"}, "happened": {"indeterminate"}},
    {"present": {"none"}},
    {"fresh": {"expired", "unknown"}, "expired": {"unknown"}},
    {"not missing": {"missing"}},
)


def stated_again(cell: Cell) -> tuple[str, str]:
    """Rule and decision of a cell, said once more in words of code instead of data (protocol, section 6)."""
    ownership, side_effect, action, freshness, review = cell
    if ownership in ("changed", "contested"):
        return "moved", "terminate"
    if side_effect == "indeterminate":
        return "indeterminate", "reconcile"
    if side_effect == "happened":
        return "landed", "settle"
    if action == "none":
        return "no-action", "review"
    if ownership != "held":
        return "unowned", "review"
    if freshness != "fresh":
        return "stale", "review"
    return ("unreviewed", "review") if review == "missing" else ("clear", "resume")


def test_the_table_is_total() -> None:
    """There are 180 cells, and each has a row."""
    assert len(EVERY_CELL) == 180
    assert set(CELLS) == set(EVERY_CELL)


@pytest.mark.parametrize("cell", EVERY_CELL, ids="/".join)
def test_each_cell_is_as_stated(cell: Cell) -> None:
    """Rule and decision of each cell are those of the second statement."""
    row = matching_row(TABLE, cell)
    assert (row.rule, row.decision) == stated_again(cell)
    assert CELLS[cell] is row


@pytest.mark.parametrize("cell", EVERY_CELL, ids="/".join)
def test_the_lookup_is_the_table(cell: Cell) -> None:
    """What the fold calls gives the row of the cell, the two yes-or-no columns among them."""
    ownership, side_effect, action, freshness, review = cell
    found = branch(ownership, side_effect, action == "present", freshness, review == "missing")  # type: ignore[arg-type]
    assert (found.rule, found.decision) == stated_again(cell)


def test_every_row_is_reached() -> None:
    """No row is dead: each decides at least one cell, and the rules' names differ."""
    assert {row.rule for row in CELLS.values()} == {row.rule for row in TABLE}
    assert len({row.rule for row in TABLE}) == len(TABLE) == 8


def test_one_cell_alone_resumes() -> None:
    """The way is clear in exactly one of the 180 cells."""
    clear = [cell for cell in EVERY_CELL if CELLS[cell].decision == "resume"]
    assert clear == [("held", "not_happened", "present", "fresh", "not missing")]


def test_the_digest_names_this_table() -> None:
    """Whoever changes a row changes the digest that decisions carry, and must say so here."""
    assert VERSION == "1"
    assert table_digest(TABLE) == DIGEST
    assert DIGEST == "sha256:7cbda27ac84b1ef3335528ab8c4c8b21880af60061370f1c27715894e9cbdaf6"
    changed = (TABLE[0]._replace(decision="review"), *TABLE[1:])
    assert table_digest(changed) != DIGEST


def test_a_table_with_a_hole_is_refused() -> None:
    """A cell without a row is an error when the table is built, not a silent default."""
    hole = tuple(row for row in TABLE if row.rule != "unreviewed")
    with pytest.raises(LookupError, match="no row"):
        matching_row(hole, ("held", "not_happened", "present", "fresh", "missing"))


def worse(column: int, value: str) -> set[str]:
    return WORSE[column].get(value, set())


def reopened(decide: dict[Cell, Row], columns: tuple[int, ...]) -> list[tuple[Cell, Cell]]:
    """The cells that don't resume, and do once some of these columns are made worse: there must be none."""
    found = []
    for cell in EVERY_CELL:
        if decide[cell].decision == "resume":
            continue
        options = [sorted(worse(n, value) | {value}) if n in columns else [value] for n, value in enumerate(cell)]
        worsened = [other for other in product(*options) if other != cell]
        found += [(cell, other) for other in worsened if decide[other].decision == "resume"]
    return found


@pytest.mark.parametrize("pair", list(combinations(range(5), 2)), ids=str)
def test_nothing_worse_opens_the_way(pair: tuple[int, int]) -> None:
    """For every pair of checks: making one, or both, worse never turns another branch into resume."""
    assert reopened(CELLS, pair) == []


def test_the_order_of_worse_would_find_a_wrong_row() -> None:
    """The property can fail: a table that resumes a lapsed owner's plan, but not a held one's, is caught."""
    best: Cell = ("held", "not_happened", "present", "fresh", "not missing")
    lapsed: Cell = ("lapsed", *best[1:])
    swapped = CELLS | {best: CELLS[lapsed], lapsed: CELLS[best]}
    assert (best, lapsed) in reopened(swapped, (0, 1))


def test_worse_is_a_partial_order() -> None:
    """The order is over values that exist, transitive, and nothing is worse than itself."""
    for values, order in zip(COLUMNS, WORSE, strict=True):
        assert set(order) | set().union(*order.values()) == set(values)
        for value, below in order.items():
            assert value not in below
            assert set().union(*(order.get(one, set()) for one in below)) <= below
