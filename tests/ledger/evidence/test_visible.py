"""Text made visible: nothing that shows nothing gets through, and what was written can be told from what is shown."""

from __future__ import annotations

import html
import re
import unicodedata

import pytest
from hypothesis import given

from ledger.evidence.visible import as_html, as_text, cut
from tests.ledger.evidence.views import texts

SEEN_ALL_THE_SAME = {0x0600, 0x0601, 0x0602, 0x0603, 0x0604, 0x0605, 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2}
"""Format characters that show themselves: signs around Arabic and Syriac numbers."""


def is_hidden(character: str) -> bool:
    """What Python's Unicode calls control, format, separator, private or surrogate, but the ordinary space."""
    return character != " " and unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp", "Co", "Cs")


def test_whatever_shows_nothing_is_shown() -> None:
    """Of all characters that Unicode has, none that it calls invisible stays as it is."""
    points = [at for at in range(0x110000) if is_hidden(chr(at)) and at not in SEEN_ALL_THE_SAME]
    assert len(points) > 130_000
    assert [f"{at:X}" for at in points if as_text(chr(at)) != f"<U+{at:04X}>"] == []


@pytest.mark.parametrize("text", ["Straße №5 – 東京", "שלום", "عدد", "नमस्ते", "Z\u0301\u0302", "😀", "a b  c"])
def test_what_people_write_stays(text: str) -> None:
    """Letters of all scripts, an accent or two and plain spaces are left alone."""
    assert as_text(text) == as_html(text) == text


def test_piles_of_marks_are_taken_down() -> None:
    """From the third combining mark on each is a code point of its own."""
    assert as_text("e" + "\u0301" * 4) == "e\u0301\u0301<U+0301><U+0301>"


@given(texts)
def test_what_was_written_can_be_read_back(text: str) -> None:
    """No two texts look alike as HTML, whatever they hold: a code point that was typed is not one that was found."""
    shown = as_html(text)
    parts = re.split(r'<b class="u">U\+([0-9A-F]+)</b>', shown)
    assert not re.search("[<>]", "".join(parts[::2]))
    back = [chr(int(part, 16)) if at % 2 else html.unescape(part) for at, part in enumerate(parts)]
    assert "".join(back) == text


def test_long_texts_are_cut_and_counted() -> None:
    """What is left off is a number."""
    assert cut("abc", 3) == ("abc", 0)
    assert cut("abcd", 3) == ("abc", 1)
