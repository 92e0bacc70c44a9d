"""Checkpoints on the embedded log: what is signed, what is never signed, and how a recheck mends."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from consumers.evidence.keys import JOURNAL, new_keys, open_keys, rotate_keys
from consumers.evidence.recheck import recheck
from consumers.evidence.tile_store import FolderStore
from ledger.errors import Fenced, LogChanged, UnusableLog, WrongUsage
from ledger.evidence.merkle import consistency_proof, root_of, verify_consistency
from ledger.evidence.notes import Checkpoint, Note, read_note
from ledger.evidence.signatures import Signer, signed_by, signed_checkpoint
from ledger.evidence.tiles import subtrees_of
from tests.consumers.evidence.acme import ORIGIN, Acme


@pytest.fixture
def acme(tmp_path: Path) -> Acme:
    return Acme(tmp_path)


def test_an_empty_log_has_a_checkpoint(acme: Acme) -> None:
    """Its tree is the genesis alone."""
    signed = acme.checkpoint()
    assert signed.checkpoint == Checkpoint(ORIGIN, 1, root_of(acme.leaf_hashes()))
    acme.look_at_all()


@pytest.mark.parametrize("steps", [[1], [254, 1, 1], [255, 300], [1, 700, 0, 1]])
def test_what_is_signed_is_the_log(acme: Acme, steps: list[int]) -> None:
    """Root, tiles and published checkpoint are those that the log gives, and each extends the one before."""
    found = []
    for count in steps:
        acme.append(count)
        found.append(acme.checkpoint().checkpoint)
        acme.look_at_all()
    assert [one.size for one in found] == [1 + sum(steps[: n + 1]) for n in range(len(steps))]
    subtrees = subtrees_of(found[-1].size, acme.store.read)
    for old in found:
        proof = consistency_proof(old.size, found[-1].size, subtrees)
        verify_consistency(old.size, found[-1].size, proof, old.root, found[-1].root)


def test_where_nothing_is_new_nothing_is_signed(acme: Acme) -> None:
    """The checkpoint signed last is given again, byte for byte."""
    acme.append(3)
    first = acme.checkpoint()
    assert acme.checkpoint() == first
    assert len(acme.signed()) == 1


def test_partial_tiles_go_when_the_full_one_is_there(acme: Acme) -> None:
    """A tree that is signed often does not fill the disk with what nobody needs."""
    with acme.notary() as notary:
        for _ in range(6):
            acme.append(60)
            notary.checkpoint(0)
    assert sorted(path.name for path in (acme.tiles / ORIGIN / "tile" / "0").iterdir()) == ["000", "001.p"]
    acme.look_at_all()


def test_an_offset_without_a_record_is_a_leaf_of_zeros(acme: Acme) -> None:
    """It is counted, and the next notary goes on counting."""
    acme.append(6)
    acme.change_log("DELETE FROM log_records WHERE offset IN (2, 3)")
    assert acme.checkpoint().no_record == 2
    acme.append(3)
    acme.change_log("DELETE FROM log_records WHERE offset = 7")
    assert acme.checkpoint().no_record == 3
    acme.look_at_all()


TAMPERED = {
    "the last record is another": ("UPDATE log_records SET value = x'78' WHERE offset = 9", ()),
    "its key is another": ("UPDATE log_records SET key = x'78' WHERE offset = 9", ()),
    "its time is another": ("UPDATE log_records SET recorded_at = recorded_at + 1 WHERE offset = 9", ()),
    "its headers are others": ("UPDATE log_records SET headers = x'00000000' WHERE offset = 9", ()),
    "the end is gone": ("DELETE FROM log_records WHERE offset > 6", ()),
    "all is gone": ("DELETE FROM log_records", ()),
    "the beginning is gone": ("DELETE FROM log_records WHERE offset < 3", ()),
    "it was made again": ("UPDATE log_identity SET topic_id = 'another'", ()),
}


@pytest.mark.parametrize("what", TAMPERED)
@pytest.mark.parametrize("grows", [0, 4])
def test_another_past_is_never_signed(acme: Acme, what: str, grows: int) -> None:
    """Whatever was done to the log, the notary refuses with what to do, and what was signed stays as it was."""
    acme.append(10)
    before = acme.checkpoint()
    acme.change_log(TAMPERED[what][0])
    acme.append(grows)
    with pytest.raises(LogChanged, match="Nothing is signed") as found:
        acme.checkpoint()
    assert found.value.exit_code == 1
    assert acme.signed() == [before]
    assert acme.published() == before.checkpoint
    with acme.notary() as notary, pytest.raises(LogChanged, match="Nothing is signed"):
        recheck(notary, 0)


@pytest.mark.parametrize("what", TAMPERED)
def test_a_notary_that_runs_sees_it_too(acme: Acme, what: str) -> None:
    """Also where the tree is in memory already, and grew since."""
    acme.append(10)
    with acme.notary() as notary:
        before = notary.checkpoint(0)
        acme.append(2)
        notary.tree(0).catch_up()
        acme.change_log(TAMPERED[what][0])
        with pytest.raises(LogChanged):
            notary.sign(0)
    assert acme.signed() == [before]


def test_the_end_that_was_cut_and_written_again_is_refused(acme: Acme) -> None:
    """As many records as before, and others."""
    acme.append(10)
    before = acme.checkpoint()
    acme.change_log("DELETE FROM log_records WHERE offset > 6")
    acme.append(5, text="another")
    with pytest.raises(LogChanged, match="Entry 0:9 was signed, and another record lies there now"):
        acme.checkpoint()
    assert acme.signed() == [before]


def test_an_old_record_that_was_changed_is_found_by_a_recheck(acme: Acme) -> None:
    """In the middle, with all signed ends untouched: only hashing it again finds it, and says which entry it is."""
    acme.append(600)
    acme.checkpoint()
    acme.append(100)
    acme.checkpoint()
    acme.change_log("UPDATE log_records SET value = x'78' WHERE offset = 321")
    acme.append(1)
    with acme.notary() as notary, pytest.raises(LogChanged, match="entry 0:321 is the first"):
        recheck(notary, 0)


def test_other_keys_are_refused(acme: Acme) -> None:
    """Another tag key makes another tree: the journal says what differs."""
    acme.append(2)
    acme.checkpoint()
    (acme.keys / "tag.key").write_text("ab" * 32)
    with pytest.raises(LogChanged, match="tag_key_sha256"):
        acme.checkpoint()


def test_a_log_that_was_repartitioned_is_refused(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger keeps its partition count for life."""
    acme.checkpoint()
    with acme.notary() as notary:
        notary.identity = notary.identity._replace(partitions=2)
        with pytest.raises(LogChanged, match="partitions was 1, and is 2"):
            notary.checkpoint(0)


def test_a_recheck_of_a_sound_log_says_what_it_saw(acme: Acme) -> None:
    """Every signed root comes out again, also those at sizes that no batch ends at."""
    for count in (10, 300, 4_500):
        acme.append(count)
        acme.checkpoint()
    with acme.notary() as notary:
        assert recheck(notary, 0) == (4_810, 3, 0)


@pytest.mark.parametrize("lost", ["all", "one", "changed", "cut short"])
def test_a_recheck_mends_tiles(acme: Acme, lost: str) -> None:
    """Tiles are made anew from the log once its signed roots came out again; until then nothing is signed."""
    for count in (700, 60):
        acme.append(count)
        acme.checkpoint()
    tile = acme.tiles / ORIGIN / "tile" / "0" / "002.p" / "249"
    if lost == "all":
        shutil.rmtree(acme.tiles)
    elif lost == "one":
        tile.unlink()
    else:
        tile.write_bytes(tile.read_bytes()[:-32] + (bytes(32) if lost == "changed" else b""))
    acme.append(1)
    with pytest.raises(UnusableLog, match="--recheck"):
        acme.checkpoint()
    with acme.notary() as notary:
        assert recheck(notary, 0).mended > 0
        assert notary.checkpoint(0).checkpoint.size == 762
    acme.look_at_all()


def test_tiles_that_were_never_signed_may_become_others(acme: Acme) -> None:
    """A log that lost its newest records before they were signed goes on after a recheck."""
    acme.append(10)
    acme.checkpoint()
    acme.append(600)
    with acme.notary() as notary:
        notary.tree(0).catch_up()
        notary.tree(0).stage()
    acme.change_log("DELETE FROM log_records WHERE offset > 20")
    acme.append(600, text="another")
    with pytest.raises(UnusableLog, match="--recheck"):
        acme.checkpoint()
    with acme.notary() as notary:
        recheck(notary, 0)
        notary.checkpoint(0)
    acme.look_at_all()


def test_a_journal_from_an_old_copy_is_refused(acme: Acme) -> None:
    """What was published is newer: it signs nothing until the log was hashed again, and then it knows it."""
    acme.append(3)
    acme.checkpoint()
    shutil.copy(acme.keys / JOURNAL, acme.folder / "old.db")
    acme.append(3)
    newest = acme.checkpoint()
    shutil.copy(acme.folder / "old.db", acme.keys / JOURNAL)
    acme.append(3)
    with pytest.raises(LogChanged, match=r"is of 7 leaves, and the journal .* knows of 4"):
        acme.checkpoint()
    assert len(acme.signed()) == 1
    with acme.notary() as notary:
        assert recheck(notary, 0).checkpoints == 2
    assert acme.signed()[-1].checkpoint == newest.checkpoint
    assert acme.checkpoint().checkpoint.size == 10
    acme.look_at_all()


def test_an_old_journal_does_not_hide_another_log(acme: Acme) -> None:
    """Where the published checkpoint is not of this log, a recheck takes it up neither."""
    acme.append(3)
    acme.checkpoint()
    shutil.copy(acme.keys / JOURNAL, acme.folder / "old.db")
    acme.append(3)
    acme.checkpoint()
    shutil.copy(acme.folder / "old.db", acme.keys / JOURNAL)
    acme.change_log("DELETE FROM log_records WHERE offset > 2")
    acme.append(9, text="another")
    with acme.notary() as notary, pytest.raises(LogChanged, match="entry 0:3 is the first"):
        recheck(notary, 0)
    assert len(acme.signed()) == 1


def forged(acme: Acme, size: int, signer: Signer | None = None, origin: str = ORIGIN) -> bytes:
    """A checkpoint that nobody meant."""
    text = Checkpoint(origin, size, bytes(32)).text
    return str(Note(text, ((signer or open_keys(acme.keys).signer).sign(text),))).encode()


@pytest.mark.parametrize(
    ("size", "other", "said"),
    [
        (4, {}, "two histories"),
        (3, {}, "two histories"),
        (9, {}, "another notary signs"),
        (4, {"signer": Signer("acme", bytes(32))}, "not ours"),
        (4, {"origin": "acme/log/1"}, "not ours"),
    ],
)
def test_a_published_checkpoint_that_is_not_in_the_journal_stops_it(
    acme: Acme, size: int, other: dict[str, object], said: str
) -> None:
    """Of the same size with another root, smaller, larger, by another key, of another tree: it signs nothing."""
    acme.append(3)
    before = acme.checkpoint()
    data = forged(acme, size, **other)  # type: ignore[arg-type]
    acme.store.publish(data, acme.store.read("checkpoint"))
    acme.append(2)
    with pytest.raises((LogChanged, UnusableLog), match=said):
        acme.checkpoint()
    assert acme.signed() == [before]
    assert acme.store.read("checkpoint") == data


def test_two_notaries_at_once_sign_one_history(acme: Acme) -> None:
    """The slower one loses at the journal, goes on from what the other signed, and never publishes an older one."""
    acme.append(3)
    with acme.notary() as one, acme.notary() as other:
        one.tree(0).catch_up()
        acme.append(2)
        other.tree(0).catch_up()
        assert other.sign(0).checkpoint.size == 6
        with pytest.raises(Fenced):
            one.sign(0)
        assert one.checkpoint(0).checkpoint.size == 6
        acme.append(1)
        one.checkpoint(0)
        assert other.checkpoint(0).checkpoint.size == 7
    assert [found.checkpoint.size for found in acme.signed()] == [6, 7]
    acme.look_at_all()


def test_a_slow_notary_does_not_publish_over_a_newer_checkpoint(acme: Acme) -> None:
    """One that was frozen between journal and publishing finds the other's, and leaves it."""
    acme.append(3)
    with acme.notary() as one, acme.notary() as other:
        old = one.checkpoint(0)
        acme.append(3)
        newest = other.checkpoint(0)
        one.publish(acme.store, old)
        assert acme.published() == newest.checkpoint


def test_a_rotation_signs_what_stands_again(acme: Acme) -> None:
    """The newest checkpoint gets the new key's signature beside the old one's; both verify the whole chain."""
    acme.append(3)
    before = acme.checkpoint()
    old = open_keys(acme.keys).verifier
    new = rotate_keys(acme.keys).verifier
    again = acme.checkpoint()
    assert again.checkpoint == before.checkpoint
    data = acme.store.read("checkpoint")
    assert data is not None
    assert signed_checkpoint(data, old) == signed_checkpoint(data, new) == before.checkpoint
    acme.append(1)
    later = acme.checkpoint()
    assert not signed_by(read_note(str(later.note).encode()), old)
    assert signed_by(later.note, new)
    acme.look_at_all()


def test_a_notary_that_runs_signs_with_the_rotated_key(acme: Acme) -> None:
    """It need not be started again."""
    with acme.notary() as notary:
        notary.checkpoint(0)
        new = rotate_keys(acme.keys).verifier
        acme.append(1)
        assert signed_by(notary.checkpoint(0).note, new)


def test_the_journal_of_another_ledger_knows_nothing_of_this(acme: Acme, tmp_path: Path) -> None:
    """Keys of another name sign another origin, beside."""
    acme.append(1)
    acme.checkpoint()
    new_keys(tmp_path / "other.keys", "other")
    acme.keys = tmp_path / "other.keys"
    with acme.notary() as notary:
        assert notary.checkpoint(0).checkpoint.origin == "other/log/0"
        with pytest.raises(WrongUsage, match="no partition 1"):
            notary.checkpoint(1)


class Forgetful(FolderStore):
    """A store that says it has written, and kept other bytes."""

    def write(self, files: Mapping[str, bytes], *, mend: bool = False) -> None:
        super().write({path: bytes(len(data)) for path, data in files.items()}, mend=mend)


def test_what_can_not_be_read_back_is_not_signed(acme: Acme) -> None:
    """A store that loses or changes tiles is found out before there is a signature."""
    acme.append(3)
    lying = acme.notary(store=lambda store: Forgetful(Path(store.where)))
    with lying as notary, pytest.raises(UnusableLog, match="not those that were written"):
        notary.checkpoint(0)
    assert acme.signed() == []
    assert acme.published() is None
