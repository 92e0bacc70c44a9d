"""The page in a real browser: it loads nothing, runs nothing, and can be read by day, by night, on paper and by ear."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ledger.evidence.report import report_html
from ledger.evidence.report_style import DARK, LIGHT, POLICY, STYLE
from ledger.evidence.view import BundleView
from tests.ledger.evidence.views import hostile_view, owed_view

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def opened(browser: Browser, path: Path, data: bytes, **options: Any) -> tuple[Page, list[str]]:
    """A page from a file, and all that it asked for, said or tried."""
    path.write_bytes(data)
    page = browser.new_page(**options)
    heard: list[str] = []
    page.on("request", lambda request: heard.append(request.url))
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    page.goto(path.as_uri())
    return page, heard


def test_hostile_texts_do_nothing(browser: Browser, tmp_path: Path) -> None:
    """Nothing is asked for but the page, no script ran, no element came of a text, and the texts can be read."""
    path = tmp_path / "report.html"
    page, heard = opened(browser, path, report_html(hostile_view()))
    assert heard == [path.as_uri()]
    assert page.evaluate("window.pwned") is None
    assert page.locator("script, img, svg, iframe, [onload], [onerror]").count() == 0
    assert page.locator("a[href^=javascript]").count() == 0
    assert page.locator("style").count() == 1
    assert page.get_by_text("window.pwned=1").first.is_visible()


def test_the_policy_stops_what_would_slip_through(browser: Browser, tmp_path: Path) -> None:
    """Were a script, a style, a picture or a form in the page all the same, the policy would keep each from working."""
    page, heard = opened(
        browser,
        tmp_path / "broken.html",
        f"""<!DOCTYPE html><meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}</style>
        <style>p{{display:none}}</style><p style="color:red" onclick="window.pwned=1">text</p>
        <script>window.pwned=2</script><img src="data:image/png;base64,AA" onerror="window.pwned=3">
        <iframe src="data:text/html,x"></iframe><link rel="stylesheet" href="https://127.0.0.1/x.css">""".encode(),
    )
    page.locator("p").click()
    assert page.evaluate("window.pwned") is None
    assert page.locator("p").evaluate("one => getComputedStyle(one).color") != "rgb(255, 0, 0)"
    assert page.locator("p").is_visible()
    assert sum("Content Security Policy" in one for one in heard) >= 5


@pytest.mark.parametrize(("scheme", "colours"), [("light", LIGHT), ("dark", DARK)])
def test_it_follows_day_and_night(browser: Browser, tmp_path: Path, scheme: str, colours: dict[str, str]) -> None:
    """The page takes the colours that the reader's system asks for."""
    page, _ = opened(browser, tmp_path / "report.html", report_html(owed_view()), color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(colours["page"][at : at + 2], 16) for at in (1, 3, 5))
    assert ground == f"rgb({red}, {green}, {blue})"


def test_it_prints(browser: Browser, tmp_path: Path) -> None:
    """On paper every section is there, in light colours, with the heads of tables repeated and no menu."""
    page, _ = opened(browser, tmp_path / "report.html", report_html(owed_view()), color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert page.locator("thead").first.evaluate("one => getComputedStyle(one).display") == "table-header-group"
    assert page.locator("section.item").last.evaluate("one => getComputedStyle(one).contentVisibility") == "visible"
    assert page.pdf().startswith(b"%PDF-")


@pytest.mark.parametrize("view", [owed_view, hostile_view], ids=lambda view: view.__name__)
def test_it_can_be_heard(browser: Browser, tmp_path: Path, view: Callable[[], BundleView]) -> None:
    """Headings, tables with heads for columns and rows, and a main part are what a screen reader is told."""
    page, _ = opened(browser, tmp_path / "report.html", report_html(view()))
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("navigation", name="Contents").count() == 1
    entries = page.get_by_role("table", name="Its entries, oldest first").first
    assert entries.get_by_role("columnheader", name="Verdict").count() == 1
    assert entries.get_by_role("rowheader", name="0:0").count() == 1


def test_a_wide_table_moves_within_itself(browser: Browser, tmp_path: Path) -> None:
    """On a narrow screen no table makes the page itself scroll sideways, and each can be reached by keyboard."""
    page, _ = opened(browser, tmp_path / "report.html", report_html(hostile_view()))
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("div.scroll:not([tabindex='0'])").count() == 0
