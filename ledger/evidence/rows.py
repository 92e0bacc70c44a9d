"""A file of JSON lines as objects, which lies where it is until somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from ledger.evidence.lines import lines
from ledger.json_text import DEEPEST, read_json

_DEEPEST = DEEPEST + 8
"""An event of the deepest that is read lies in its verdict, and its data in the event."""


class Rows:
    """The objects of a file, read anew by each who asks, one at a time."""

    def __init__(self, open_file: Callable[[], BinaryIO]) -> None:
        self._open = open_file

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        with self._open() as file:
            for line in lines(file):
                yield read_json(line, _DEEPEST)
