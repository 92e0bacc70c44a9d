"""The sheets as CSV: RFC 4180 in UTF-8, and safe to open in a spreadsheet.

Every text stands in quotes, a null is an empty cell without them, a line ends with CR LF. A spreadsheet takes a cell
that begins with = + - @ for a formula, also in quotes, and some do so behind spaces, or for the full-width forms of
these signs. Therefore, as OWASP advises ("CSV Injection"), such a text gets an apostrophe before it, and so does one
that begins with a tab, CR, LF or an apostrophe. **To get a text back, take away one apostrophe where it begins with
one.** This holds where the file is read as what it is, with commas between its cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ledger.evidence.sheets import SHEETS, Sheet
from ledger.evidence.view import BundleView

_APOSTROPHE = "'"
_UNSEEN = "\x00-\x20\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
_FORMULA = re.compile(f"['\t\r\n]|[{_UNSEEN}]*[=+\\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u2212]")


def safe_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return _APOSTROPHE + text if _FORMULA.match(text) else text


def original_text(cell: str) -> str:
    """The text that :func:`safe_text` made a cell of."""
    return cell.removeprefix(_APOSTROPHE)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        quoted = safe_text(value).replace('"', '""')
        return f'"{quoted}"'
    return str(value)


def csv_lines(sheet: Sheet, view: BundleView) -> Iterator[bytes]:
    """One sheet, line by line, its header first."""
    yield (",".join(f'"{field.name}"' for field in sheet.fields) + "\r\n").encode()
    for row in sheet.rows(view):
        yield (",".join(map(_cell, row)) + "\r\n").encode(errors="backslashreplace")


def csv_files(view: BundleView) -> Mapping[str, bytes]:
    """All sheets, by the names of their files in the bundle."""
    return {f"csv/{sheet.name}.csv": b"".join(csv_lines(sheet, view)) for sheet in SHEETS}
