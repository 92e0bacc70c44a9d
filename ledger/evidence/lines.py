"""Files with a line a record, read with a limit on each line, and found again by where lines begin."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from ledger.evidence.bundle import LONGEST_LINE, BadText


def read_line(file: BinaryIO) -> bytes | None:
    """The next line without its end; null behind the last. Raises ``BadText``."""
    line = file.readline(LONGEST_LINE + 1)
    if not line:
        return None
    if line[-1:] != b"\n":
        raise BadText("the line is too long" if len(line) > LONGEST_LINE else "the last line has no end")
    return line[:-1]


def lines(file: BinaryIO) -> Iterator[bytes]:
    """All lines, without their ends. Raises ``BadText``."""
    while (line := read_line(file)) is not None:
        yield line


class Grouped:
    """Which numbers belong to which group, in their order: a few bytes each, for millions."""

    def __init__(self) -> None:
        self._groups = array("L")

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, group: int) -> None:
        """Give the next number to a group."""
        self._groups.append(group)

    def at(self, number: int) -> int:
        """The group of a number."""
        return self._groups[number]

    def by_group(self, count: int) -> Members:
        """The numbers of each of so many groups."""
        begins = array("L", bytes(array("L").itemsize * (count + 1)))
        for group in self._groups:
            begins[group + 1] += 1
        for group in range(count):
            begins[group + 1] += begins[group]
        free, order = array("L", begins), array("L", self._groups)
        for number, group in enumerate(self._groups):
            order[free[group]] = number
            free[group] += 1
        return Members(begins, order)


class Members:
    """The numbers of each group."""

    def __init__(self, begins: array[int], order: array[int]) -> None:
        self._begins, self._order = begins, order

    def of(self, group: int) -> Sequence[int]:
        """Those of a group, ascending."""
        return self._order[self._begins[group] : self._begins[group + 1]]
