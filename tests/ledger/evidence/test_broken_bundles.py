"""One named broken bundle for each way to cheat: the kind that it is refused for, and the first entry at fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.evidence.bundle import Query, entry_line, in_order, written_instant
from ledger.evidence.leaves import LEAF_BYTES, NO_RECORD, leaf_of
from ledger.evidence.merkle import leaf_hash, root_of
from ledger.evidence.notes import Checkpoint
from ledger.evidence.verify import Trusted, Verified, verify
from ledger.evidence.zips import write_zip
from tests.ledger.evidence import forging
from tests.ledger.evidence.forging import Files, changed_line, with_all, with_digests
from tests.ledger.evidence.ledgers import (
    MINUTE,
    SIGNER,
    START,
    STRANGER,
    TAG_KEY,
    ledger,
    signed,
    told,
)

KEY = SIGNER.verifier
Broken = Callable[[Files], Files]
BASES = {
    "one": Query(subjects=("T-1",)),
    "all": Query(all=True),
    "until": Query(subjects=("T-2", "T-3"), until=written_instant(START + 9 * MINUTE)),
}


def entries(files: Files, at: int, **members: Any) -> Files:
    """A record of the bundle with other members."""
    found = forging.lines(files, "entries.jsonl")
    found[at] = changed_line(found[at], **members)
    return forging.with_lines(files, "entries.jsonl", found)


def without(files: Files, name: str, at: int) -> Files:
    found = forging.lines(files, name)
    del found[at]
    return forging.with_lines(files, name, found)


def swapped(files: Files, name: str, at: int) -> Files:
    found = forging.lines(files, name)
    found[at], found[at + 1] = found[at + 1], found[at]
    return forging.with_lines(files, name, found)


def leaf(files: Files, name: str, offset: int, data: bytes) -> Files:
    leaves = files[name]
    return files | {name: leaves[: LEAF_BYTES * offset] + data + leaves[LEAF_BYTES * (offset + 1) :]}


def manifest(files: Files, **members: Any) -> Files:
    return forging.with_manifest(files, forging.manifest_of(files) | members)


def partition(files: Files, at: int, **members: Any) -> Files:
    content = forging.manifest_of(files)
    content["partitions"][at] |= members
    return forging.with_manifest(files, content)


def one_leaf_less(files: Files) -> Files:
    """The last entry of T-1 is gone with its leaf, and the manifest says so."""
    files = without(files, "entries.jsonl", -1)
    return with_all(
        partition(files | {"leaves-0": files["leaves-0"][:-LEAF_BYTES]}, 0, size=len(files["leaves-0"]) // 64)
    )


def records_exchanged(files: Files) -> Files:
    """Two records of a work item have each other's offsets."""
    found = forging.lines(files, "entries.jsonl")
    first, second = json.loads(found[0]), json.loads(found[1])
    found[0] = changed_line(found[1], offset=first["offset"])
    found[1] = changed_line(json.dumps(first).encode(), offset=second["offset"])
    return with_all(forging.with_lines(files, "entries.jsonl", found))


def anothers_record(files: Files) -> Files:
    """A genuine record of a work item that was not asked for lies between."""
    other = next(one for one in told() if one.key == b"T-3" and one.partition == 0)
    found = [*forging.lines(files, "entries.jsonl"), entry_line(other) + b"\n"]
    found.sort(key=lambda line: json.loads(line)["offset"])
    return with_all(forging.with_lines(files, "entries.jsonl", found))


def behind_the_checkpoint(files: Files) -> Files:
    found = forging.lines(files, "entries.jsonl")
    found.append(changed_line(found[-1], offset=10_000))
    return with_all(forging.with_lines(files, "entries.jsonl", found))


def from_an_unknown_partition(files: Files) -> Files:
    found = forging.lines(files, "entries.jsonl")
    found.append(changed_line(found[-1], partition=1))
    return with_digests(forging.with_lines(files, "entries.jsonl", found))


def signed_by_a_stranger(files: Files) -> Files:
    """Everything is as it was, under the signature of another key of the same name."""
    note = signed(STRANGER, ledger().checkpoint(0))
    return with_all(files | {"checkpoint-0": note, "key.txt": f"{STRANGER.verifier}\n".encode()})


def strangers_signature(files: Files) -> Files:
    """As before, but the bundle says that it is of our key."""
    return with_all(files | {"checkpoint-0": signed(STRANGER, ledger().checkpoint(0))})


def strangers_ledger(files: Files) -> Files:
    """A whole ledger that somebody else made up and signed with a key of our name."""
    record = told()[0]._replace(offset=0)
    size = 2
    root = root_of([leaf_hash(ledger().genesis(0).leaf()), leaf_hash(leaf_of(TAG_KEY, record))])
    note = signed(STRANGER, Checkpoint(ledger().genesis(0).origin, size, root))
    files = files | {"checkpoint-0": note, "leaves-0": leaf_of(TAG_KEY, record)}
    return with_all(
        partition(forging.with_lines(files, "entries.jsonl", forging.lines(files, "entries.jsonl")[:1]), 0, size=2)
    )


def one_checkpoint_for_two(files: Files) -> Files:
    """Partition 1 is shown under the checkpoint of partition 0."""
    return with_all(files | {"checkpoint-1": files["checkpoint-0"]})


def one_tree_for_two(files: Files) -> Files:
    """Partition 1 is shown as a second partition 0, leaves and all."""
    files = files | {"checkpoint-1": files["checkpoint-0"], "leaves-1": files["leaves-0"]}
    return with_digests(partition(files, 1, size=forging.manifest_of(files)["partitions"][0]["size"]))


def a_partition_left_out(files: Files) -> Files:
    """All was asked for, and one of two partitions is not there."""
    content = forging.manifest_of(files)
    content["partitions"] = content["partitions"][:1]
    rest = {name: data for name, data in files.items() if not name.endswith("-1")}
    found = [line for line in forging.lines(files, "entries.jsonl") if b'{"partition":0' in line]
    return with_all(forging.with_manifest(forging.with_lines(rest, "entries.jsonl", found), content))


def fewer_partitions(files: Files) -> Files:
    """And the genesis says that there is only one."""
    content = forging.manifest_of(a_partition_left_out(files))
    content["partitions"][0]["partitions"] = 1
    return with_all(forging.with_manifest(a_partition_left_out(files), content))


def a_claim_of_all(files: Files) -> Files:
    """What was exported of one work item says that it is all."""
    content = forging.manifest_of(files)
    content["query"] |= {"all": True, "subjects": [], "partitions": [0]}
    content["subjects"] = None
    return with_all(forging.with_manifest(files, content))


def a_work_item_more(files: Files) -> Files:
    """A work item is named of which not a record is here, although the tree has some."""
    content = forging.manifest_of(files)
    content["subjects"] = content["query"]["subjects"] = ["T-1", "T-3"]
    return with_all(forging.with_manifest(files, content))


def a_work_item_elsewhere(files: Files) -> Files:
    """A work item is named whose partition is not here."""
    content = forging.manifest_of(files)
    content["subjects"] = content["query"]["subjects"] = ["T-1", "T-2"]
    return with_all(forging.with_manifest(files, content))


def re_judged(files: Files) -> Files:
    """A refusal is called an acceptance, with digests, report and README to match."""
    found = forging.lines(files, "verdicts.jsonl")
    at = next(at for at, line in enumerate(found) if json.loads(line)["code"] == "no-authority")
    found[at] = changed_line(found[at], verdict="accepted", code="ok", reason="Recorded.")
    return with_digests(forging.with_lines(files, "verdicts.jsonl", found))


def decided_otherwise(files: Files) -> Files:
    found = forging.lines(files, "decisions.jsonl")
    found[0] = changed_line(found[0], decision="resume", rule="clear")
    return with_digests(forging.with_lines(files, "decisions.jsonl", found))


def as_of_earlier(files: Files) -> Files:
    """Everything is judged as of an instant before the last entries."""
    return with_all(manifest(files, as_of=written_instant(START)))


def the_boundary_left_out(files: Files) -> Files:
    """The entry that proves where the history ends is not there."""
    return with_all(without(files, "entries.jsonl", -1))


def longer_than_asked(files: Files) -> Files:
    """Genuine records behind the end of what was asked for."""
    last = json.loads(forging.lines(files, "entries.jsonl")[-1])
    more = next(one for one in told() if one.key == last["key"].encode() and one.recorded_at > last["recorded_at"])
    return with_all(files | {"entries.jsonl": files["entries.jsonl"] + entry_line(more) + b"\n"})


def another_report(files: Files) -> Files:
    return with_digests(files | {"report.html": files["report.html"].replace(b"refused", b"accepted")})


def leaves_swapped(files: Files) -> Files:
    """The leaves of two others' entries have each other's places."""
    one, other = files["leaves-0"][LEAF_BYTES : 2 * LEAF_BYTES], files["leaves-0"][2 * LEAF_BYTES : 3 * LEAF_BYTES]
    return with_all(leaf(leaf(files, "leaves-0", 1, other), "leaves-0", 2, one))


def first_leaf_missing(files: Files) -> Files:
    return with_all(files | {"leaves-0": files["leaves-0"][LEAF_BYTES:]})


def its_leaf_emptied(files: Files) -> Files:
    """The leaf of what was withheld says that no readable record lies there."""
    return with_all(leaf(without(files, "entries.jsonl", 0), "leaves-0", 0, NO_RECORD))


def a_record_twice(files: Files) -> Files:
    return with_all(files | {"entries.jsonl": files["entries.jsonl"] + forging.lines(files, "entries.jsonl")[-1]})


def no_signature(files: Files) -> Files:
    return with_all(files | {"checkpoint-0": files["checkpoint-0"].partition(b"\n\n")[0]})


def missing(name: str) -> Broken:
    return lambda files: {one: data for one, data in files.items() if one != name}


def in_entries(change: Callable[[Files, str, int], Files], at: int) -> Broken:
    """A line of the records is dropped or swapped, and all that follows from them is made anew."""
    return lambda files: with_all(change(files, "entries.jsonl", at))


def in_file(name: str, change: Callable[[Files, str, int], Files], at: int) -> Broken:
    """A line of another file is dropped or swapped, and the digests are right."""
    return lambda files: with_digests(change(files, name, at))


def record(at: int, **members: Any) -> Broken:
    """A record with other members, and all that follows from them."""
    return lambda files: with_all(entries(files, at, **members))


def tree(at: int, **members: Any) -> Broken:
    """A genesis with other members."""
    return lambda files: with_all(partition(files, at, **members))


NAMED: dict[str, tuple[str, Broken, str, str | None]] = {
    "a record's text changed": ("one", record(1, value="{}"), "changed", "0:3"),
    "a record's time changed": ("one", record(0, recorded_at=START - 1), "changed", "0:0"),
    "a record's key changed": ("one", record(0, key="T-3"), "changed", "0:0"),
    "a header changed": ("all", record(0, headers=[]), "changed", "0:0"),
    "a leaf changed": ("one", lambda files: with_all(leaf(files, "leaves-0", 1, b"\7" * 64)), "changed", None),
    "leaves swapped": ("one", leaves_swapped, "changed", None),
    "two records exchanged": ("one", records_exchanged, "changed", "0:0"),
    "the report changed": ("one", another_report, "changed", None),
    "a record withheld": ("one", in_entries(without, 2), "withheld", "0:7"),
    "the first record withheld": ("all", in_entries(without, 0), "withheld", "0:0"),
    "a record withheld with its leaf": ("one", one_leaf_less, "withheld", None),
    "a leaf missing": ("one", first_leaf_missing, "withheld", None),
    "a record withheld, its leaf emptied": ("one", its_leaf_emptied, "changed", None),
    "a work item without its records": ("one", a_work_item_more, "withheld", None),
    "a work item of another partition": ("one", a_work_item_elsewhere, "malformed", None),
    "one called all": ("one", a_claim_of_all, "withheld", "0:1"),
    "the boundary left out": ("until", the_boundary_left_out, "withheld", None),
    "longer than asked": ("until", longer_than_asked, "added", None),
    "a partition left out": ("all", a_partition_left_out, "malformed", None),
    "fewer partitions": ("all", fewer_partitions, "changed", None),
    "another partition count": ("one", tree(0, partitions=1_000_000), "malformed", None),
    "a record twice": ("one", a_record_twice, "added", None),
    "a stranger's record": ("one", anothers_record, "added", None),
    "a record behind the checkpoint": ("one", behind_the_checkpoint, "added", "0:10000"),
    "a record of another partition": ("one", from_an_unknown_partition, "added", None),
    "a leaf more": ("one", lambda files: with_all(files | {"leaves-0": files["leaves-0"] + bytes(64)}), "added", None),
    "records swapped": ("one", in_entries(swapped, 0), "reordered", "0:0"),
    "verdicts swapped": ("one", in_file("verdicts.jsonl", swapped, 0), "re-judged", "0:0"),
    "a verdict changed": ("one", re_judged, "re-judged", None),
    "a verdict missing": ("one", in_file("verdicts.jsonl", without, 1), "re-judged", "0:3"),
    "a decision changed": ("one", decided_otherwise, "re-judged", "0:0"),
    "a decision missing": ("one", in_file("decisions.jsonl", without, -1), "re-judged", None),
    "decided as of earlier": ("one", as_of_earlier, "re-judged", None),
    "another key": ("one", signed_by_a_stranger, "forged", None),
    "another key's signature": ("one", strangers_signature, "forged", None),
    "another ledger": ("one", strangers_ledger, "forged", None),
    "another tag key": ("one", lambda files: with_all(files | {"tag-key.txt": b"00" * 32 + b"\n"}), "forged", None),
    "one checkpoint for two partitions": ("all", one_checkpoint_for_two, "forged", None),
    "one tree for two partitions": ("all", one_tree_for_two, "forged", None),
    "another topic": ("one", tree(0, topic="other"), "forged", None),
    "another topic of that name": ("one", tree(0, topic_id="0"), "changed", None),
    "no signature": ("one", no_signature, "malformed", None),
    "no manifest": ("one", missing("manifest.json"), "malformed", None),
    "a file missing": ("one", missing("verdicts.jsonl"), "withheld", None),
    "a file more": ("one", lambda files: files | {"more": b""}, "added", None),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    made = {}
    for name, query in BASES.items():
        folder = tmp_path_factory.mktemp("base") / "bundle"
        ledger().export(folder, query)
        made[name] = forging.read(folder)
    return made


def verified(files: Files, folder: Path, *earlier: Checkpoint) -> Verified:
    folder.mkdir()
    forging.write(files, folder)
    return verify(folder, Trusted(KEY, earlier))


@pytest.mark.parametrize("name", NAMED)
def test_a_broken_bundle_is_refused(name: str, bases: dict[str, Files], tmp_path: Path) -> None:
    """Each way to cheat is named for what it is, and the first entry at fault is named where there is one."""
    base, broken, kind, entry = NAMED[name]
    found = verified(broken(bases[base]), tmp_path / "bundle")
    assert not found.ok
    assert found.failures[0].kind == kind, found.failures
    if entry is not None:
        assert found.failures[0].entry == entry, found.failures


def test_every_kind_has_a_broken_bundle() -> None:
    """No kind of the protocol is without one; the last is found with an earlier checkpoint only, below."""
    kinds = {kind for _, _, kind, _ in NAMED.values()}
    assert kinds | {"rolled-back"} == {
        "changed", "withheld", "added", "reordered", "re-judged", "forged", "rolled-back", "malformed",
    }  # fmt: skip


def test_a_shorter_genuine_checkpoint_is_found_by_an_earlier_one(tmp_path: Path) -> None:
    """A bundle under an old checkpoint is sound by itself, and refused by whoever knows a newer one."""
    newest = ledger().checkpoint(0)
    for less in (1, 5):
        folder = tmp_path / str(less)
        ledger(less=less).export(folder, BASES["one"])
        assert verify(folder, Trusted(KEY)).ok
        found = verify(folder, Trusted(KEY, [newest]))
        assert [one.kind for one in found.failures] == ["rolled-back"]
        assert not found.ok


def test_a_rewritten_history_is_found_by_an_earlier_checkpoint(tmp_path: Path) -> None:
    """Somebody has the notary's key and signs another past: whoever kept a checkpoint sees it, at each of its sizes."""
    other = [one._replace(recorded_at=one.recorded_at + 1) for one in told()]
    rewritten = ledger()._replace(records=other)
    rewritten.export(tmp_path / "bundle", BASES["one"])
    assert verify(tmp_path / "bundle", Trusted(KEY)).ok
    for less in (0, 1, 7):
        found = verify(tmp_path / "bundle", Trusted(KEY, [ledger(less=less).checkpoint(0)]))
        assert [one.kind for one in found.failures] == ["rolled-back"]


def test_an_earlier_checkpoint_of_another_tree_is_no_proof(bases: dict[str, Files], tmp_path: Path) -> None:
    """Of a tree that is not in the bundle nothing is known, and nothing is passed over in silence."""
    found = verified(bases["one"], tmp_path / "bundle", ledger().checkpoint(1))
    assert [one.kind for one in found.failures] == ["rolled-back"]
    assert "does not cover" in found.failures[0].detail


def test_all_ways_to_cheat_are_seen_through_a_zip_too(bases: dict[str, Files], tmp_path: Path) -> None:
    """A broken bundle is as broken in a zip as in a folder."""
    for number, (base, broken, _, _) in enumerate(NAMED.values()):
        folder, packed = tmp_path / f"{number}", tmp_path / f"{number}.zip"
        files = broken(bases[base])
        in_folder = verified(files, folder)
        with packed.open("wb") as out:
            write_zip(out, folder, [name for name in in_order(list(files)) if name in files])
        assert {one.kind for one in verify(packed, Trusted(KEY)).failures} == {one.kind for one in in_folder.failures}
