"""A strict reader of ``report.html``: it knows every element and attribute that the page may have, and no other."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from ledger.evidence.report_style import STYLE

VOID = {"meta", "br"}
BARE = ["head", "title", "style", "body", "header", "h1", "ul", "li", "p", "strong", "code", "pre", "dt", "dd", "br"]
BARE += ["table", "caption", "thead", "tbody", "tr", "td"]
ALLOWED: dict[str, set[str]] = {name: set() for name in BARE} | {
    "html": {"lang"},
    "meta": {"charset", "http-equiv", "content", "name"},
    "a": {"href", "class"},
    "nav": {"aria-label"},
    "main": {"id"},
    "section": {"aria-labelledby", "class"},
    "h2": {"id"},
    "h3": {"id"},
    "div": {"class", "role", "tabindex", "aria-label"},
    "dl": {"class"},
    "th": {"scope"},
    "span": {"class"},
    "b": {"class"},
    "bdi": {"class"},
}
CLASSES = {"skip", "facts", "scroll", "item", "quiet", "sealed", "u", "l", "closed"}
CLASSES |= {"accepted", "refused", "duplicate", "malformed", "resume", "review", "reconcile", "settle", "terminate"}


class Page(HTMLParser):
    """What stands on a page. Raises ``AssertionError`` for anything that should not be there."""

    def __init__(self, data: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.names: list[str] = []
        self.targets: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.rows: list[list[str]] = []
        self.meta: dict[str, str] = {}
        self.text = ""
        self.feed(data.decode())
        self.close()
        assert self.open == []
        assert len(set(self.names)) == len(self.names), "an id is given twice"
        assert set(self.targets) <= set(self.names), "a link leads nowhere"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, f"<{tag}> has no business here"
        for name, value in attrs:
            assert name in ALLOWED[tag], f"<{tag} {name}> has no business here"
            assert value is not None
            if name == "class":
                assert value in CLASSES
            if name == "id":
                assert re.fullmatch(r"[a-z]+(-\d+)?", value)
                self.names.append(value)
            if name == "href":
                assert value.startswith("#"), "the page links to the outside"
                self.targets.append(value[1:])
        given = {name: value or "" for name, value in attrs}
        if tag == "meta":
            self.meta[given.get("http-equiv") or given.get("name") or "charset"] = given.get("content", "")
        if tag in VOID:
            if tag == "br":
                self.handle_data(" ")
            return
        self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append((int(tag[1]), ""))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            assert tag == "td" or given["scope"] in ("row", "col")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            assert data == STYLE
            return
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\xa0\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]", data)
        self.text += data
        if self.headings and set(self.open) & {"h1", "h2", "h3"}:
            level, words = self.headings[-1]
            self.headings[-1] = (level, words + data)
        if self.rows and set(self.open) & {"td", "th"}:
            self.rows[-1][-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    def handle_pi(self, data: str) -> None:
        raise AssertionError("a processing instruction")

    def handle_decl(self, decl: str) -> None:
        assert decl == "DOCTYPE html"
        assert self.text == ""

    def unknown_decl(self, data: str) -> None:
        raise AssertionError("a declaration")
