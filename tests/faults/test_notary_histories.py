"""Random lives of a notary: crashes, old copies of everything, changed logs; whatever was seen is one history.

What was seen is every checkpoint that was ever in the journal, published or announced. All must be beginnings of one
sequence of leaves: what was signed first, and from there on what the log held when more was signed. So a notary that
signs a changed log, or forgets what it signed, is found out.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from consumers.evidence.keys import JOURNAL, open_keys, rotate_keys
from consumers.evidence.recheck import recheck
from ledger.errors import LedgerError, LogUnavailable
from ledger.evidence.merkle import root_of
from ledger.evidence.notes import Checkpoint
from ledger.evidence.signatures import signed_checkpoint
from tests.consumers.evidence.acme import Acme
from tests.faults.notary_process import Topic
from tests.faults.test_notary import Faults, FaultyJournal, FaultyStore, FaultyTopic

COPIED = ("keys", "tiles", "topic", "log.db")


class Life(RuleBasedStateMachine):
    """A ledger, whoever may reach its files, and the world that keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory()
        now = Path(self._temporary.name) / "now"
        now.mkdir()
        self.acme = Acme(now)
        self.seen: dict[int, Checkpoint] = {}
        self.leaves: list[bytes] = []
        """The hashes of those that were signed."""
        self.copies: list[Path] = []
        self.changes = self.restored = 0

    @property
    def topic(self) -> Path:
        return self.acme.folder / "topic"

    @contextmanager
    def may_refuse(self, *also: type[Exception]) -> Iterator[None]:
        """It refuses only what was tampered with, and always with an error that says what to do."""
        refused = LedgerError if self.changes or self.restored else also
        with suppress(refused):
            yield

    @rule(count=st.sampled_from([1, 3, 256]))
    def append(self, count: int) -> None:
        self.acme.append(count)

    @rule()
    def checkpoint(self) -> None:
        with self.may_refuse(), self.acme.notary(announcer=Topic(self.topic)) as notary:
            notary.checkpoint(0)

    @rule(at=st.integers(1, 9), mode=st.sampled_from(["before", "half", "after"]))
    def checkpoint_that_fails(self, at: int, mode: str) -> None:
        faults = Faults()
        faults.at, faults.mode = at, mode
        journal = FaultyJournal(self.acme.keys / JOURNAL, faults)
        topic = FaultyTopic(self.topic, faults)
        notary = self.acme.notary(store=lambda one: FaultyStore(one, faults), announcer=topic, journal=journal)
        with self.may_refuse(LogUnavailable), notary:
            notary.checkpoint(0)

    @rule()
    def recheck(self) -> None:
        with self.may_refuse(), self.acme.notary(announcer=Topic(self.topic)) as notary:
            recheck(notary, 0)

    @rule()
    def rotate(self) -> None:
        rotate_keys(self.acme.keys)

    @rule(share=st.floats(0, 1))
    def cut(self, share: float) -> None:
        """The log loses its end, as after an unclean failover, or by an intruder."""
        self.changes += 1
        self.acme.change_log("DELETE FROM log_records WHERE offset >= ?", int(self.size() * share))

    @rule(share=st.floats(0, 1), more=st.integers(0, 3))
    def fork(self, share: float, more: int) -> None:
        """Its end is written anew, with as many records or some more."""
        count = self.size()
        self.cut(share)
        self.acme.append(count - int(count * share) + more, text=str(self.changes))

    @rule(share=st.floats(0, 1))
    def change(self, share: float) -> None:
        self.changes += 1
        self.acme.change_log("UPDATE log_records SET value = x'00' WHERE offset = ?", int(self.size() * share))

    @rule()
    def copy(self) -> None:
        place = Path(self._temporary.name) / f"copy-{len(self.copies)}"
        place.mkdir()
        for name in COPIED:
            _put(self.acme.folder / name, place / name)
        self.copies.append(place)

    @precondition(lambda self: self.copies)
    @rule(share=st.floats(0, 1))
    def forget_and_fork(self, share: float) -> None:
        """The keys are an old copy, and the log goes on otherwise from somewhere behind what that one signed."""
        self.restore(len(self.copies) - 1, {"keys"})
        self.fork(share, 1)

    @precondition(lambda self: self.copies)
    @rule(number=st.integers(0, 9), names=st.sets(st.sampled_from(["keys", "tiles", "log.db"]), min_size=1))
    def restore(self, number: int, names: set[str]) -> None:
        """Some of it comes from an old copy; never all three of keys, tiles and topic: nothing could tell then."""
        self.restored += 1
        place = self.copies[number % len(self.copies)]
        for name in names:
            _put(place / name, self.acme.folder / name)

    def size(self) -> int:
        return len(self.acme.leaf_hashes()) - 1

    @invariant()
    def one_history(self) -> None:
        new = {one for one in self.shown() if self.seen.get(one.size) != one}
        if not new:
            return
        leaves = self.leaves + self.acme.leaf_hashes()[len(self.leaves) :]
        for one in new:
            assert one.size not in self.seen, f"two roots at {one.size}"
            assert one.size <= len(leaves)
            assert one.root == root_of(leaves[: one.size])
            self.seen[one.size] = one
        self.leaves = leaves[: max(self.seen)]

    def shown(self) -> list[Checkpoint]:
        """What is in the journal, published and announced now, by one of the keys that are known."""
        keys = open_keys(self.acme.keys)
        notes = [self.acme.store.read("checkpoint"), *(str(one.note).encode() for one in self.acme.signed())]
        if self.topic.exists():
            notes += [line.replace(b"|", b"\n") for line in self.topic.read_bytes().splitlines()]
        found = []
        for note in notes:
            for key in keys.verifiers:
                try:
                    found += [] if note is None else [signed_checkpoint(note, key)]
                except ValueError:
                    continue  # by a key that a restored folder does not know any more
        return found

    def teardown(self) -> None:
        self._temporary.cleanup()


def _put(source: Path, target: Path) -> None:
    for old in (target, *(Path(f"{target}{end}") for end in ("-wal", "-shm"))):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy(source, target)


def lives(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],  # a life that failed is told as it was: to find the shortest takes minutes
        suppress_health_check=list(HealthCheck),
    )


def test_whatever_happens_there_is_one_history() -> None:
    """Of some lives, each of some dozen misfortunes."""
    run_state_machine_as_test(Life, settings=lives(15, 15))


@pytest.mark.soak
def test_whatever_happens_for_long() -> None:
    """The same, for very many."""
    run_state_machine_as_test(Life, settings=lives(600, 40))
