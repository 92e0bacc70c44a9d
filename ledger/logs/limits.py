"""What no log takes, refused before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import WrongUsage
from ledger.log import Draft
from ledger.record import MOST_RECORD_BYTES


def draft_size(draft: Draft) -> int:
    """The bytes of key, value and headers; names count by their characters."""
    size = len(draft.key or b"") + len(draft.value or b"")
    for name, value in draft.headers:
        size += len(name) + len(value or b"")
    return size


def refuse_bad_drafts(drafts: Sequence[Draft], partitions: int) -> None:
    """Raises ``WrongUsage`` for a partition that isn't there and for a record that is too large."""
    for draft in drafts:
        refuse_bad_partition(draft.partition, partitions)
        if (size := draft_size(draft)) > MOST_RECORD_BYTES:
            raise WrongUsage(
                f"A record of {size} bytes is larger than a log takes ({MOST_RECORD_BYTES}).",
                "Record where the large part is kept, and its digest.",
            )


def refuse_bad_partition(partition: int, partitions: int) -> None:
    """Raises ``WrongUsage`` for a partition that isn't there."""
    if not 0 <= partition < partitions:
        raise WrongUsage(f"The log has the partitions 0 to {partitions - 1}; {partition} was asked for.")
