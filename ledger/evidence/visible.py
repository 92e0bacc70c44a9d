"""Text that somebody else wrote, made visible and harmless where people read it.

What shows nothing, or moves or covers what stands beside it, is written as its code point: control characters, all
spaces but the ordinary one, joiners, fillers, marks of direction, tags, private use, and piles of combining marks. The
list is written out here: a table of the Python that renders would make other bytes with the next version of Unicode.
"""

from __future__ import annotations

import re
from html import escape

LONGEST = 2_000
"""So many characters of one text are shown to people; the rest is counted."""

_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164"
    "\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U0010ffff"
    f"]|(?<=[{_MARKS}][{_MARKS}])[{_MARKS}]"
)


def _code_point(found: re.Match[str]) -> str:
    return f"<U+{ord(found[0]):04X}>"


def _marked_up(found: re.Match[str]) -> str:
    return f'<b class="u">U+{ord(found[0]):04X}</b>'


def as_text(text: str) -> str:
    """For a file of plain text: one line, whatever it was."""
    return _HIDDEN.sub(_code_point, text)


def as_html(text: str) -> str:
    """For the content of an element; what is hidden becomes an element of class ``u``."""
    return _HIDDEN.sub(_marked_up, escape(text))


def cut(text: str, longest: int = LONGEST) -> tuple[str, int]:
    """The beginning of a text, and how many characters were left off."""
    return (text, 0) if len(text) <= longest else (text[:longest], len(text) - longest)
