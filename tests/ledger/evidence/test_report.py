"""The page for people: all that it must show is there, and nothing that a record holds becomes more than text."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings

from ledger.evidence import report
from ledger.evidence.report import report_html
from ledger.evidence.report_style import DARK, LIGHT, STYLE
from ledger.evidence.view import BundleView
from tests.ledger.evidence.page import Page
from tests.ledger.evidence.views import HOSTILE, hostile_view, owed_view, vectors_view, view_of, views
from tests.ledger.story import Story


def row_of(page: Page, first: str) -> list[str]:
    return next(row for row in page.rows if row[0] == first)


@settings(deadline=None, max_examples=40)
@given(views())
def test_whatever_lies_on_the_log_the_page_is_sound(view: BundleView) -> None:
    """Any events under any names make a page of known elements alone, and the same one each time."""
    data = report_html(view)
    Page(data)
    assert report_html(view) == data


def test_hostile_texts_are_shown_and_stay_texts() -> None:
    """Scripts, style sheets and closing tags are read as they were written; what is hidden is a code point."""
    page = Page(report_html(hostile_view()))
    assert '"><script>window.pwned=1</script>' in page.text
    assert "</style><style>*{display:none}</style>" in page.text
    assert "accepted U+202EdetpeccaU+202C U+2066x" in page.text
    assert "… and 3000 more characters" in page.text
    assert page.headings[0] == (1, f"Pause ledger {HOSTILE[0]}: what paused, and what was decided")


def test_every_entry_and_every_decision_is_on_it() -> None:
    """Each entry of all vectors has its row with its verdict, and a reason where it was not accepted."""
    view = vectors_view()
    page = Page(report_html(view))
    entries = [row for row in page.rows if re.fullmatch(r"\d+:\d+", row[0])]
    shown = sorted((row[0], row[3].split()[0]) for row in entries)
    assert shown == sorted((f"{row['partition']}:{row['offset']}", row["verdict"]) for row in view.verdicts)
    assert all(row[6] != "–" for row in entries if not row[3].startswith("accepted"))
    rules = [row[1] for row in page.rows if len(row) == 6 and "rule" in row[1]]
    assert len(rules) == len(list(view.decisions))
    assert {rule.split(" rule ")[0] for rule in rules} == {row["decision"] for row in view.decisions}


def test_what_is_owed_stands_apart() -> None:
    """Unknown outcomes are counted and listed with who owes them, those whose time has passed as such."""
    page = Page(report_html(owed_view()))
    assert 'Asked forsubjects ["T-1001"]Decisions as of' in page.text
    assert "Unknown outcomes2 (2 reconcile)" in page.text
    debts = [row for row in page.rows if row[1:3] in (["p-1", "user:ann"], ["p-2", "user:ann"])]
    assert [row[4] for row in debts] == ["2026-03-28T09:01:00.000Z passed", "–"]
    assert "Somebody said that they acted, and had not asked" in page.text
    assert ["T-1001", "p-2", "reconcile"] in page.rows
    assert [row[0] for row in page.rows if row[-1] == "without a grant"] == ["0:4"]


def test_a_page_without_debts_says_so() -> None:
    """An empty bundle is a page too, which says that there is nothing."""
    page = Page(report_html(view_of([])))
    assert "None: the ledger says of each pause" in page.text
    assert "No entry here says that somebody acted without a grant." in page.text


def test_what_is_sealed_is_shown_as_sealed() -> None:
    """Of personal data the id of its key is shown, also deep inside a member, and never what was sealed."""
    story, sealed = Story(), f"sealed:v1:{'0f' * 16}:{'Zm9v' * 20}"
    story.open(runtime={"who": ["a", sealed, {"b": sealed}]})
    story.tell("note.added", text=sealed)
    page = Page(report_html(view_of(story.records)))
    assert page.text.count(f"personal data, sealed under key {'0f' * 16}") == 3
    assert "Zm9v" not in page.text


def test_permissions_show_fence_and_time() -> None:
    """A grant shows its fence, an attempt until when it holds, a resend where the first one is."""
    story = Story()
    story.open()
    fence = story.request().fence
    story.attempt(fence)
    story.put(story.records[-1].value)
    page = Page(report_html(view_of(story.records)))
    assert row_of(page, "0:1")[6] == "fence 1"
    assert row_of(page, "0:2")[6] == "fence 1 act before 2026-03-28T09:15:00.000Z"
    assert "first at 0:2: accepted" in row_of(page, "0:3")[6]


def test_what_is_too_much_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of a page entries and pauses are left to the files beside it, and it says how many."""
    monkeypatch.setattr(report, "MOST_ENTRIES", 5)
    story = Story()
    for number in range(7):
        story.open(f"p{number}")
    page = Page(report_html(view_of(story.records)))
    assert "2 more entries are not on this page: see verdicts.jsonl beside it." in page.text
    assert "2 more pauses are not on this page: see decisions.jsonl beside it." in page.text
    assert "Entries7 (7 accepted)" in page.text
    assert "unknown outcomes are not" not in page.text


def test_what_is_owed_is_told_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown outcome is on the page even where its work item has no section any more."""
    monkeypatch.setattr(report, "MOST_ENTRIES", 2)
    ledgers = [Story(f"T-{number}") for number in range(5)]
    for one in ledgers:
        one.open(side_effect="happened" if one is not ledgers[-1] else None)
    views = [view_of(one.records) for one in ledgers]
    merged = replace(
        views[0],
        verdicts=[row for view in views for row in view.verdicts],
        decisions=[row for view in views for row in view.decisions],
    )
    page = Page(report_html(merged))
    assert "3 more entries are not on this page" in page.text
    assert [row[0] for row in page.rows if row[2:3] == ["user:ann"]] == ["T-4"]
    assert "T-4" not in {words for _, words in page.headings}


def test_many_members_are_counted() -> None:
    """Of an event with more members than anybody reads the first are shown, and how many there are besides."""
    story = Story()
    story.tell("note.added", text="x", **{f"m{number}": number for number in range(150)})
    page = Page(report_html(view_of(story.records)))
    assert "… and 51 more members" in row_of(page, "0:0")[5]


def test_the_policy_allows_the_style_sheet_alone() -> None:
    """The policy names the digest of the very style that the page carries, and nothing more."""
    policy = Page(report_html(view_of([]))).meta["Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"url\(|@import|expression|</", STYLE)


def test_headings_go_down_by_one() -> None:
    """One first heading, and no level is left out, for those who go through the page by its headings."""
    levels = [level for level, _ in Page(report_html(vectors_view())).headings]
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


def luminance(colour: str) -> float:
    """WCAG's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["page", "band"])
def test_every_colour_can_be_read(colours: dict[str, str], ground: str) -> None:
    """Each text has the contrast that WCAG 2 AA asks for, on both grounds, by day and by night."""
    under = luminance(colours[ground])
    for name in ("text", "quiet", "link", "good", "bad", "odd"):
        high, low = sorted((luminance(colours[name]), under), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, name


def test_no_clock_and_no_order_of_a_dict_is_in_it() -> None:
    """The same view from other objects gives the same bytes."""
    view = owed_view()
    again = replace(view, verdicts=tuple(dict(row) for row in view.verdicts), decisions=tuple(view.decisions))
    assert report_html(again) == report_html(view)
