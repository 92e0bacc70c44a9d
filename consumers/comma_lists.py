"""Settings that are a list in one line."""

from __future__ import annotations


def by_commas(text: str) -> tuple[str, ...]:
    """The parts between the commas, without the spaces around them; empty ones are none."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
