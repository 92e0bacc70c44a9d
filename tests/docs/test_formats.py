"""The page on formats is true: its columns and activities are those of the code."""

from __future__ import annotations

import re

from ledger.evidence.ocsf import ACTIVITIES, ACTIVITY_NAMES
from ledger.evidence.report import MOST_ENTRIES
from ledger.evidence.sheets import SHEETS
from tests.docs.test_readme import ROOT

PAGE = (ROOT / "docs" / "formats.md").read_text()


def test_the_columns_are_listed() -> None:
    """Each sheet has its row, with its columns in their order."""
    rows = re.findall(r"^\| `(\w+)` \| an? .+? \| (.+) \|$", PAGE, re.MULTILINE)
    assert {name: re.findall(r"`(\w+)`", columns) for name, columns in rows} == {
        sheet.name: [field.name for field in sheet.fields] for sheet in SHEETS
    }


def test_the_activities_are_listed() -> None:
    """Each event type has its row, with the activity and what it is of."""
    rows = re.findall(r"^\| `([\w.]+)` \| (\d+) (\w+) \| (pause|work item) \|$", PAGE, re.MULTILINE)
    assert [(name, int(number), word, of) for name, number, word, of in rows] == [
        (
            name,
            one.number,
            ACTIVITY_NAMES.get(one.number, "Other"),
            "work item" if one.of_work_item else "pause",
        )
        for name, one in ACTIVITIES.items()
    ]


def test_the_limit_of_the_page_is_said() -> None:
    """How many entries the report shows is what the code says."""
    assert f"{MOST_ENTRIES:,} entries" in PAGE
