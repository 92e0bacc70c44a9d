"""Parquet: typed, the same rows as the CSV tables, the same bytes each time; and what is said without pyarrow."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from consumers.evidence.parquet import parquet_files, schema_of
from ledger.evidence.sheets import SHEETS, Sheet
from ledger.times import parse_instant
from tests.ledger.evidence.views import hostile_view, owed_view, vectors_view, view_of


def read_back(data: bytes) -> Any:
    return parquet.read_table(io.BytesIO(data))


def typed(sheet: Sheet, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row with its instants as such."""
    kinds = [field.kind for field in sheet.fields]
    pairs = zip(kinds, row, strict=True)
    return tuple(parse_instant(value) if kind == "instant" and value is not None else value for kind, value in pairs)


@pytest.mark.parametrize("view", [vectors_view, hostile_view, owed_view], ids=lambda view: view.__name__)
def test_every_row_is_there_with_its_types(view: Any) -> None:
    """The rows of each sheet come back as they were, texts unchanged, instants in UTC, counts as integers."""
    files = parquet_files(view())
    for sheet in SHEETS:
        table = read_back(files[f"parquet/{sheet.name}.parquet"])
        assert table.schema.equals(schema_of(sheet))
        found = [tuple(row.values()) for row in table.to_pylist()]
        assert found == [typed(sheet, row) for row in sheet.rows(view())]


def test_the_same_rows_make_the_same_bytes() -> None:
    """No clock and no chance goes into a file."""
    assert parquet_files(vectors_view()) == parquet_files(vectors_view())


def test_an_instant_is_one() -> None:
    """The log's time is a timestamp of milliseconds in UTC, which a database orders and subtracts."""
    table = read_back(parquet_files(owed_view())["parquet/entries.parquet"])
    assert table.schema.field("recorded_at").type == pyarrow.timestamp("ms", tz="UTC")
    assert table["recorded_at"][0].as_py() == datetime(2026, 3, 28, 9, tzinfo=UTC)
    assert table["offset"].type == pyarrow.int64()


def test_an_empty_ledger_has_empty_tables() -> None:
    """No rows, and the columns all the same."""
    files = parquet_files(view_of([]))
    assert [read_back(data).num_rows for data in files.values()] == [0, 0, 0]
    assert read_back(files["parquet/decisions.parquet"]).schema.names[0] == "subject"


def test_without_pyarrow_it_says_what_to_install() -> None:
    """The import names the extra, in one line."""
    code = "import sys\nsys.modules['pyarrow'] = None\n"
    code += "try:\n import consumers.evidence.parquet\nexcept Exception as error:\n print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Parquet needs pyarrow. Run: pip install 'pauseledger[parquet]'\n"
