"""The sheets of a bundle as Parquet, for analysis: typed columns, instants as UTC milliseconds.

The same rows as the CSV tables, texts as they are. One pyarrow gives the same bytes for the same rows; another may not,
so the verifier doesn't make these files again, and says that they are not proven.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import islice
from typing import Any, BinaryIO

from ledger.errors import WrongUsage
from ledger.evidence.sheets import SHEETS, Field, Kind, Sheet
from ledger.evidence.view import BundleView
from ledger.times import parse_instant, to_milliseconds

try:
    import pyarrow
    from pyarrow import parquet
except ModuleNotFoundError:
    raise WrongUsage("Parquet needs pyarrow.", "Run: pip install 'pauseledger[parquet]'") from None

GROUP_ROWS = 65_536
"""Rows that are held, and written, at once."""

_TYPES: Mapping[Kind, Any] = {
    "text": pyarrow.string(),
    "integer": pyarrow.int64(),
    "instant": pyarrow.timestamp("ms", tz="UTC"),
}


def schema_of(sheet: Sheet) -> Any:
    """The columns of a sheet as pyarrow has them."""
    return pyarrow.schema([(field.name, _TYPES[field.kind]) for field in sheet.fields])


def write_parquet(sheet: Sheet, view: BundleView, sink: BinaryIO) -> None:
    """One sheet as a file."""
    schema = schema_of(sheet)
    options = {"compression": "zstd", "store_schema": False, "version": "2.6"}
    with parquet.ParquetWriter(sink, schema, **options) as writer:
        for columns in _groups(sheet, view):
            arrays = map(_array, sheet.fields, columns)
            writer.write_table(pyarrow.Table.from_arrays(list(arrays), schema=schema), row_group_size=GROUP_ROWS)


def parquet_files(view: BundleView) -> Mapping[str, bytes]:
    """All sheets, by the names of their files in the bundle."""
    files = {}
    for sheet in SHEETS:
        sink = BytesIO()
        write_parquet(sheet, view, sink)
        files[f"parquet/{sheet.name}.parquet"] = sink.getvalue()
    return files


def _groups(sheet: Sheet, view: BundleView) -> Iterator[list[tuple[Any, ...]]]:
    """The columns of so many rows at once."""
    rows = sheet.rows(view)
    while group := list(islice(rows, GROUP_ROWS)):
        yield list(zip(*group, strict=True))


def _array(field: Field, values: Iterable[Any]) -> Any:
    if field.kind == "instant":
        values = [None if value is None else to_milliseconds(parse_instant(value)) for value in values]
    return pyarrow.array(values, _TYPES[field.kind])
