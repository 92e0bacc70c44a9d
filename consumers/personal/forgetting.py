"""Forgetting a data subject: the key goes first, then a note comes onto every work item on which it was used.

Whoever is stopped in between runs it again: the key stays destroyed, the notes that are missing are sent. A note has
the same id and bytes each time, so that one that was sent twice counts once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from consumers.personal.store import Destroyed, KeyStore
from ledger.actions import is_identifier
from ledger.errors import LedgerError, LogUnavailable, WrongUsage
from ledger.events import NoteAdded
from ledger.json_text import write_json
from ledger.publisher import Publisher
from ledger.times import format_instant, from_milliseconds

SOURCE = "urn:pauseledger:forget"
_AT_ONCE = 500
_NOTE: str = NoteAdded.model_fields["type"].default


class Forgotten(NamedTuple):
    """What became of it: the key that is gone, the work items that were told now, the logs that have yet to be."""

    key: Destroyed
    told: int
    elsewhere: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        return {
            "key": self.key.key_id,
            "destroyed_at": format_instant(from_milliseconds(self.key.at)),
            "by": self.key.by,
            "reason": self.key.reason,
            "notes": self.told,
            "elsewhere": list(self.elsewhere),
        }


def forget(
    store: KeyStore, open_publisher: Callable[[], Publisher], data_subject: str, *, by: str, reason: str
) -> Forgotten:
    """Destroy the key of a data subject, and tell the ledger. Raises ``NotFound`` where there never was one.

    ``open_publisher`` is only asked where there is somebody to tell.
    """
    refuse_naming(data_subject, reason=reason, by=by)
    key = store.destroy(data_subject, by=by, reason=reason)
    untold = store.untold(key.key_id)
    if untold:
        with open_publisher() as publisher:
            for work_items in _chunks(untold):
                _tell(publisher, key, work_items)
                store.told(key.key_id, work_items)
    return Forgotten(key, len(untold), store.elsewhere(key.key_id))


def refuse_naming(data_subject: str, **said: str) -> None:
    """Raises ``WrongUsage`` where what stays on the log for good is empty, or names who is to be forgotten."""
    name = data_subject.casefold()
    own = name.partition(":")[2]
    for what, text in said.items():
        if not text.strip() or (what == "by" and not is_identifier(text)):
            raise WrongUsage(f"--{what} is empty or too long.", "It stays on the log: say it in a few words.")
        words = [one for one in (name, own) if one == name or len(own) > 2]
        if any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text.casefold()) for word in words):
            raise WrongUsage(f"--{what} names the data subject, and stays on the log.", "Say it without the name.")


def note_of(key: Destroyed, work_item: str) -> bytes:
    """The note on a work item, always the same bytes. It names the key, never the data subject."""
    data = {
        "text": f"The personal data sealed under the key {key.key_id} can't be read any more: {key.by} had the key"
        f" destroyed. {key.reason}",
        "forgotten": key.key_id,
        "reason": key.reason,
    }
    attributes = {
        "id": f"forgotten-{key.key_id}",
        "source": SOURCE,
        "subject": work_item,
        "time": format_instant(from_milliseconds(key.at)),
        "actor": key.by,
    }
    return write_json({"specversion": "1.0", "type": _NOTE, **attributes, "data": data})


def _tell(publisher: Publisher, key: Destroyed, work_items: Sequence[str]) -> None:
    """Record the notes. Raises where one is not known to be on the log."""
    for outcome in publisher.submit_all([note_of(key, one) for one in work_items]).result():
        if isinstance(outcome, LedgerError):
            raise outcome
        if outcome.verdict == "unknown" and outcome.entry is None:
            problem = f"The key {key.key_id} is destroyed, and the log did not acknowledge the note of it."
            raise LogUnavailable(problem, "Run the same command again.")


def _chunks(work_items: Sequence[str]) -> Iterator[list[str]]:
    left = iter(work_items)
    while chunk := list(islice(left, _AT_ONCE)):
        yield chunk
