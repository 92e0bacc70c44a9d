"""A key ring in memory, for tests of what needs keys and no store."""

from __future__ import annotations

import hashlib
from typing import Literal

from ledger.errors import WrongUsage
from ledger.sealing import PersonalKey


class Ring:
    """Keys made of their data subjects' names: the same in every process. ``uses`` is what was asked for."""

    def __init__(self) -> None:
        self.known: dict[str, PersonalKey] = {}
        self.forgotten: set[str] = set()
        self.uses: list[tuple[str, str]] = []

    def key_for(self, data_subject: str, work_item: str) -> PersonalKey:
        self.uses.append((data_subject, work_item))
        key_id = hashlib.sha256(data_subject.encode()).hexdigest()[:32]
        if key_id in self.forgotten:
            raise WrongUsage("forgotten")
        return self.known.setdefault(key_id, PersonalKey(key_id, hashlib.sha512(data_subject.encode()).digest()))

    def key_named(self, key_id: str) -> PersonalKey | Literal["forgotten", "unknown-key"]:
        if key_id in self.forgotten:
            return "forgotten"
        return self.known.get(key_id, "unknown-key")

    def forget(self, key_id: str) -> None:
        self.forgotten.add(key_id)

    def close(self) -> None:
        self.known.clear()
