"""An operator who may write the index and change the export code, but not the log, the notary's key or what was
published: no bundle of theirs verifies and withholds an entry.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from consumers.evidence import bundle_files
from consumers.evidence.bundle_files import Notary, Tree, write_bundle
from ledger.evidence.bundle import Query, written_instant
from ledger.evidence.judging import judge
from ledger.evidence.leaves import LEAF_BYTES, Genesis, leaf_of
from ledger.evidence.verify import Trusted, Verified, verify
from ledger.record import Record
from tests.consumers.evidence.test_export import Ledger, acme, done, signed  # noqa: F401
from tests.ledger.evidence.forging import read
from tests.ledger.evidence.ledgers import SIGNER, START, STRANGER, TAG_KEY, Signed, ledger

KEY = SIGNER.verifier
ASKED = Query(subjects=("T-1",))
VICTIM = 3
"""Of the work item's records this one must not be seen."""


def victim(record: Record) -> bool:
    mine = [one for one in ledger().of(record.partition) if one.key == b"T-1"]
    return record == mine[VICTIM]


Patches = pytest.MonkeyPatch


def not_written(patches: Patches) -> Sequence[Tree]:
    """The leaf is there, the record is not."""
    take = bundle_files._Bundle._take

    def lying(self: Any, record: Record, file: Any) -> None:
        if not victim(record):
            take(self, record, file)

    patches.setattr(bundle_files._Bundle, "_take", lying)
    return ledger().trees()


def not_read(patches: Patches) -> Sequence[Tree]:
    """As though the offset held no readable record."""
    under = bundle_files._under
    patches.setattr(bundle_files, "_under", lambda tree: (one for one in under(tree) if not victim(one)))
    return ledger().trees()


def under_another_tag(patches: Patches) -> Sequence[Tree]:
    """Its leaf is there with the tag of another work item."""
    leaves = bundle_files._Bundle._leaves

    def lying(self: Any, tree: Tree, file: Any) -> Iterator[bytes]:
        for block in leaves(self, tree, file):
            at = LEAF_BYTES * next(one.offset for one in ledger().of(0) if victim(one))
            yield block[:at] + leaf_of(TAG_KEY, ledger().of(0)[1])[:32] + block[at + 32 :]

    not_written(patches)
    patches.setattr(bundle_files._Bundle, "_leaves", lying)
    return ledger().trees()


def without_its_leaf(patches: Patches) -> Sequence[Tree]:
    """Its leaf is left out, so that all later ones move up."""
    leaves = bundle_files._Bundle._leaves

    def lying(self: Any, tree: Tree, file: Any) -> Iterator[bytes]:
        for block in leaves(self, tree, file):
            at = LEAF_BYTES * next(one.offset for one in ledger().of(0) if victim(one))
            yield block[:at] + block[at + LEAF_BYTES :]

    not_written(patches)
    patches.setattr(bundle_files._Bundle, "_leaves", lying)
    return ledger().trees()


def moved_up(patches: Patches) -> Sequence[Tree]:
    """A log of the exporter's own, without the record and without a gap, under the genuine checkpoint."""
    left = [one for one in ledger().of(0) if not victim(one)]
    gone = next(one.offset for one in ledger().of(0) if victim(one))
    records = [one._replace(offset=one.offset - (one.offset > gone)) for one in left]
    tree = ledger().trees()[0]
    return [tree._replace(records=lambda: iter(records)), ledger().trees()[1]]


def signed_by_themselves(patches: Patches) -> Sequence[Tree]:
    """That log under a checkpoint of a key that has the notary's name."""
    return _without_victim(ledger()._replace(signer=STRANGER)).trees()


def under_a_checkpoint_of_another_partition(patches: Patches) -> Sequence[Tree]:
    """The work item is said to live in a partition that has nothing of it."""
    patches.setattr(bundle_files, "partition_of", lambda subject, partitions: 1)
    return ledger().trees()


def of_fewer_partitions(patches: Patches) -> Sequence[Tree]:
    """The other partition is said to be the only one."""
    tree = ledger().trees()[1]
    return [tree._replace(genesis=tree.genesis._replace(partitions=1, partition=0))]


def under_another_name(patches: Patches) -> Sequence[Tree]:
    """The record is there under another key, as though it were another's."""
    other = [one._replace(key=b"T-3") if victim(one) else one for one in ledger().of(0)]
    tree = ledger().trees()[0]
    return [tree._replace(records=lambda: iter(other))]


def with_other_tags(patches: Patches) -> Sequence[Tree]:
    """All tags are made with a key of the operator's, under which nobody finds the work item's leaves."""
    patches.setattr(bundle_files, "tag_of", lambda tag_key, key: bytes(32))
    not_written(patches)
    return ledger().trees()


def as_though_it_ended(patches: Patches) -> Sequence[Tree]:
    """An end of the history is put before the record, although nothing was asked about an earlier instant."""
    mine = [one for one in ledger().of(0) if one.key == b"T-1"]
    patches.setattr(
        bundle_files._Bundle, "_take", lambda self, record, file: _until(self, record, file, mine[VICTIM].offset)
    )
    return ledger().trees()


def _until(bundle: Any, record: Record, file: Any, end: int) -> None:
    if record.key == b"T-1" and record.offset < end:
        bundle_files._put(file, bundle._entries, record)


def unjudged(patches: Patches) -> Sequence[Tree]:
    """The record is there, and the verdicts pretend that it is not."""

    def lying(entries: Any, file: Any, terms: Any, sink: Any, progress: Any = None) -> Any:
        def verdict(number: int, line: bytes) -> None:
            if number != VICTIM:
                sink.verdict(number, line)

        return judge(entries, file, terms, sink._replace(verdict=verdict))

    patches.setattr(bundle_files, "judge", lying)
    return ledger().trees()


def _without_victim(whole: Signed) -> Signed:
    left = [one for one in whole.records if not (one.partition == 0 and victim(one))]
    return whole._replace(records=left)


WAYS: list[Callable[[Patches], Sequence[Tree]]] = [
    not_written, not_read, under_another_tag, without_its_leaf, moved_up, signed_by_themselves,
    under_a_checkpoint_of_another_partition, of_fewer_partitions, under_another_name, with_other_tags,
    as_though_it_ended, unjudged,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_patched_exporter_withholds_an_entry(
    way: Callable[[Patches], Sequence[Tree]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the export code does, the verifier that the auditor has does not accept it."""
    with monkeypatch.context() as patches:
        patches.setattr(bundle_files, "refuse_another_history", lambda tree, read: None)
        found = _exported(tmp_path / "bundle", way(patches))
    assert not found.ok
    assert found.failures
    assert _exported(tmp_path / "honest", ledger().trees()).ok


def _exported(folder: Path, trees: Sequence[Tree]) -> Verified:
    """What the auditor's verifier says of what was written."""
    folder.mkdir()
    write_bundle(folder, ASKED, trees, Notary(KEY, TAG_KEY))
    return verify(folder, Trusted(KEY))


def test_an_older_checkpoint_says_how_old_it_is(tmp_path: Path) -> None:
    """What an operator still can do is to show less of the time: the newest checkpoint of the notary finds that."""
    gone = next(one.offset for one in ledger().of(0) if victim(one))
    older = ledger(less=ledger().sizes[0] - 1 - gone)
    older.export(tmp_path / "bundle", ASKED)
    found = verify(tmp_path / "bundle", Trusted(KEY))
    assert found.ok
    assert any(f"with {gone} entries" in one for one in found.proven)
    assert any("newer than the checkpoints" in one for one in found.not_proven)
    assert [one.kind for one in verify(tmp_path / "bundle", Trusted(KEY, [ledger().checkpoint(0)])).failures] == [
        "rolled-back"
    ]


def test_an_earlier_instant_says_so(tmp_path: Path) -> None:
    """Nor does a bundle that was asked as of an earlier instant hide that it was."""
    until = written_instant(START)
    ledger().export(tmp_path / "bundle", Query(subjects=("T-1",), until=until))
    found = verify(tmp_path / "bundle", Trusted(KEY))
    assert found.ok
    assert any(f"up to {until}" in one for one in found.proven)


def test_a_lying_index_changes_nothing(signed: Ledger) -> None:  # noqa: F811
    """Rows of the index may say what they like: not a byte of a bundle comes from there."""
    done("decision", "T-1")  # there is an index now
    honest = read(signed.export("--subject", "T-1", name="honest"))
    with closing(sqlite3.connect(signed.log)) as connection, connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert {"trail", "stored_events", "decisions"} <= set(tables)
        connection.execute("UPDATE trail SET verdict = 'accepted', code = 'ok'")
        connection.execute("DELETE FROM trail WHERE offset = 4")
        connection.execute("DELETE FROM stored_events WHERE originator_version = 2")
        connection.execute("UPDATE decisions SET content = '{}', decision = 'resume'")
    assert read(signed.export("--subject", "T-1", name="lied-to")) == honest
    assert signed.verify(signed.folder / "lied-to")["ok"]


def test_the_genesis_of_the_tests_is_the_notarys() -> None:
    """What the operator can't change is bound by leaf 0: another count of partitions is another leaf."""
    genesis = ledger().genesis(0)
    assert isinstance(genesis, Genesis)
    assert genesis.leaf() != genesis._replace(partitions=3).leaf()
