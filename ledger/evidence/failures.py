"""Why a bundle is refused: the kinds of the protocol (section 11), and how a text that nobody trusts is shown."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Kind = Literal["changed", "withheld", "added", "reordered", "re-judged", "forged", "rolled-back", "malformed"]

_LONGEST_SHOWN = 120


class Failure(NamedTuple):
    """One thing that does not hold, and the first entry at fault, ``"partition:offset"``, where one can be named."""

    kind: Kind
    entry: str | None
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """The failure as scripts read it."""
        return self._asdict()


class Refused(ValueError):
    """A bundle that can't be read any further."""

    def __init__(self, kind: Kind, detail: str, entry: str | None = None) -> None:
        super().__init__(detail)
        self.failure = Failure(kind, entry, detail)


def shown(text: str) -> str:
    """A text from a bundle, in quotes, with nothing in it that a terminal would act on; cut where it is long."""
    cut = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
    return ascii(cut) if any(not one.isprintable() for one in cut) else repr(cut)
