"""The CSV tables: read back by the standard library, nothing is lost, and no cell is a formula."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings

from ledger.evidence.csv_tables import csv_files, csv_lines, original_text, safe_text
from ledger.evidence.sheets import ENTRIES, SHEETS, WORK_ITEMS
from ledger.evidence.view import BundleView
from tests.ledger.evidence.views import hostile_view, owed_view, texts, vectors_view, views

SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"


def read_back(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))


def as_read(value: object) -> str:
    """A value as the standard library's reader gives it: every cell a text."""
    return "" if value is None else str(value)


@settings(deadline=None, max_examples=40)
@given(views())
def test_every_cell_can_be_read_back(view: BundleView) -> None:
    """Whatever lies on the log, a strict reader finds the header and each value, and the same bytes come again."""
    files = csv_files(view)
    for sheet in SHEETS:
        header, *rows = read_back(files[f"csv/{sheet.name}.csv"])
        assert header == [field.name for field in sheet.fields]
        assert [[original_text(cell) for cell in row] for row in rows] == [
            [as_read(value) for value in row] for row in sheet.rows(view)
        ]
    assert csv_files(view) == files


@given(texts)
def test_no_text_begins_a_formula(text: str) -> None:
    """What a spreadsheet would see first, behind whatever shows nothing, is no sign of a formula; it can be undone."""
    cell = safe_text(text)
    seen = cell.lstrip("".join(map(chr, range(0x21))) + "\x7f\xa0\u200b\u200d\u2028\u3000\ufeff")
    assert not seen.startswith(tuple(SIGNS)), repr(cell)
    assert not cell.startswith(("\t", "\r", "\n"))
    assert original_text(cell) == text


@pytest.mark.parametrize("sign", SIGNS + "\t\r\n'")
def test_signs_get_an_apostrophe(sign: str) -> None:
    """Each sign that OWASP names, its full-width form, and the apostrophe itself, which marks the rule."""
    assert safe_text(f"{sign}1") == f"'{sign}1"
    assert safe_text(f"1{sign}") == f"1{sign}"


@pytest.mark.parametrize("text", ["  =1", "\u00a0=1", "\ufeff=1", "\u3000\uff1d1", "\x00=1", "\t\t", "''"])
def test_what_stands_before_a_sign_hides_nothing(text: str) -> None:
    """Spaces of all kinds, a byte order mark and control characters before a sign change nothing."""
    assert safe_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "T-1", "a=b", "role:ops", "2026-03-28T09:00:00.000Z", '{"a":-1}', " spaced"])
def test_plain_texts_stay(text: str) -> None:
    """A text that is no formula is written as it is."""
    assert safe_text(text) == text


def test_null_is_not_the_empty_text() -> None:
    """A null has no quotes, an empty text has, a number has none, quotes within are doubled, a line ends with CR LF."""
    (_, line, *_) = csv_lines(ENTRIES, owed_view())
    assert line.startswith(b'0,0,"2026-03-28T09:00:00.000Z","T-1001","e0",')
    assert b'"accepted","ok","Recorded.",,,,,' in line
    assert line.endswith(b'""reconcile_within"":""PT1M""}"\r\n')


def test_hostile_names_leave_the_lines_whole() -> None:
    """A text with line ends and quotes is one cell still: there are as many rows as entries."""
    view = hostile_view()
    rows = read_back(csv_files(view)["csv/entries.csv"])
    assert len(rows) == 1 + len(list(view.verdicts))
    assert {len(row) for row in rows} == {len(ENTRIES.fields)}
    data = [original_text(row[-1]) for row in rows[1:] if row[-1]]
    assert all(json.loads(text) is not None for text in data)


def test_work_items_are_counted() -> None:
    """Over all vectors the counts of the work items add up to the entries that name one, and to the pauses."""
    view = vectors_view()
    header, *rows = read_back(csv_files(view)["csv/work_items.csv"])
    assert header == [field.name for field in WORK_ITEMS.fields]
    totals = dict(zip(header[5:], (sum(map(int, column)) for column in list(zip(*rows, strict=True))[5:]), strict=True))
    named = [row for row in view.verdicts if row["subject"] is not None]
    assert totals["entries"] == len(named)
    assert totals["refused"] == sum(row["verdict"] == "refused" for row in named)
    assert totals["pauses"] == len(list(view.decisions))
    assert totals["reconcile"] == sum(row["decision"] == "reconcile" for row in view.decisions)
    assert totals["unknown_outcomes"] == sum(row["debt"] is not None for row in view.decisions)
