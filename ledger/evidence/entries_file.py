"""``entries.jsonl`` as it is read by whoever writes a bundle and by whoever verifies one.

It is read once from its start; of each record a few bytes are kept: where it begins, whose it is, its digest. Later a
work item's records are read again, from where they begin.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

from ledger.evidence.bundle import BadText, entry_of, read_entry_line
from ledger.evidence.case import ends
from ledger.evidence.failures import Refused
from ledger.evidence.lines import Grouped, read_line
from ledger.partitions import partition_of
from ledger.record import Record, record_bytes

DIGEST_BYTES = 32


class Group(NamedTuple):
    """All records of a key on a partition."""

    key: bytes
    """A null key counts as an empty one, as it does for tags."""
    partition: int


class Entries:
    """What is known of the records of a bundle. ``partitions`` are the topic's; ``until`` as in a case."""

    def __init__(self, partitions: int, until: int | None) -> None:
        self.offsets = array("Q")
        self.begins: dict[int, int] = {}
        """By partition the number of its first record."""
        self.groups: dict[Group, int] = {}
        self.ending: dict[int, int] = {}
        """By group the number of the entry that proves that all behind it are later than ``until``."""
        self.latest: int | None = None
        """The largest ``recorded_at``."""
        self.grouped = Grouped()
        self._partitions, self._until = partitions, until
        self._starts = array("Q")
        self._digests = bytearray()

    def __len__(self) -> int:
        return len(self.offsets)

    def absent(self, subjects: Iterable[str]) -> list[str]:
        """Those of these work items of which no record is here."""
        homes = {one: Group(one.encode(), partition_of(one, self._partitions)) for one in subjects}
        return [one for one, home in homes.items() if home not in self.groups]

    def add(self, record: Record, start: int) -> int:
        """Keep what must be known of a record whose line starts there; the number of its group."""
        number = len(self.offsets)
        group = self.groups.setdefault(Group(record.key or b"", record.partition), len(self.groups))
        self.begins.setdefault(record.partition, number)
        self.offsets.append(record.offset)
        self._starts.append(start)
        self._digests += hashlib.sha256(record_bytes(record)).digest()
        self.grouped.add(group)
        if self.latest is None or record.recorded_at > self.latest:
            self.latest = record.recorded_at
        if group not in self.ending and ends(record, self._partitions, self._until):
            self.ending[group] = number
        return group

    def digest(self, number: int) -> bytes:
        """The SHA-256 of a record's bytes."""
        return bytes(self._digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)])

    def read(self, file: BinaryIO, numbers: Iterable[int]) -> Iterator[Record]:
        """These records once more. Raises ``Refused`` where they are not what they were."""
        for number in numbers:
            file.seek(self._starts[number])
            try:
                record = entry_of(read_line(file) or b"")
            except BadText:
                raise _changed_meanwhile() from None
            if hashlib.sha256(record_bytes(record)).digest() != self.digest(number):
                raise _changed_meanwhile()
            yield record

    def of_partition(self, partition: int) -> range:
        """The numbers of a partition's records."""
        begin = self.begins.get(partition)
        if begin is None:
            return range(0)
        behind = [one for one in self.begins.values() if one > begin]
        return range(begin, min(behind, default=len(self)))


def read_entries(file: BinaryIO, ends: Mapping[int, int], partitions: int, until: int | None) -> Entries:
    """All entries of a file. ``ends`` has for each partition that is covered the offset behind its last entry: so no
    file makes a reader keep more than what was signed. Raises ``Refused`` for the first line that is wrong.
    """
    entries = Entries(partitions, until)
    last: tuple[int, int] = (-1, -1)
    start = number = 0
    while True:
        number += 1
        try:
            line = read_line(file)
            if line is None:
                return entries
            record = read_entry_line(line)
        except BadText as error:
            raise Refused("malformed", f"entries.jsonl, line {number}: {error}") from None
        _refuse_misplaced(record, last, ends)
        entries.add(record, start)
        start += len(line) + 1
        last = (record.partition, record.offset)


def _changed_meanwhile() -> Refused:
    return Refused("changed", "entries.jsonl was changed while the bundle was read")


def _refuse_misplaced(record: Record, last: tuple[int, int], ends: Mapping[int, int]) -> None:
    place = (record.partition, record.offset)
    if place == last:
        raise Refused("added", "entries.jsonl has two records for this entry", record.entry)
    if place < last:
        raise Refused("reordered", "entries.jsonl has this record behind a later one", record.entry)
    if record.offset >= ends.get(record.partition, 0):
        raise Refused("added", "there is a record of an entry that no checkpoint here covers", record.entry)
