"""What draws on terminals. Texts of the ledger were written by others: none gets out of its cell, or into the screen.

A publisher may put an escape sequence, a line break or a mark of direction into any name. Each is shown as its code
point (:mod:`ledger.evidence.visible`), and brackets are brackets: nothing in a text is markup.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from ledger.evidence.visible import as_text


class VisibleConsole(Console):
    """A console on which every text, alone or in a table's cell, is one line of visible characters."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A text as it is printed."""
        return super().render_str(as_text(text), **{**options, "markup": False, "emoji": False})


def cell(text: str, style: str = "", **options: Any) -> Text:
    """A styled text, made visible; what is given to a console is a plain string or this."""
    return Text(as_text(text), style=style, **options)


def in_line(*cells: Text) -> Text:
    """Cells beside each other, each in its own style."""
    return Text.assemble(*cells)
