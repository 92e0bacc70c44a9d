"""What ``pauseledger doctor`` says of one thing that it looked at."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do where it isn't well."""

    check: str
    level: Literal["ok", "warning", "problem"]
    finding: str
    advice: str = ""
