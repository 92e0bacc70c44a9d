"""What is exported verifies, and shows what it must; by hand-written expectations and by an independent reading."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bench.workload import Workload, records
from ledger.decision import decide
from ledger.evidence.bundle import Query, written_instant
from ledger.evidence.notes import Signature
from ledger.evidence.verify import Trusted, verify
from ledger.fold import Replay
from ledger.times import from_milliseconds
from tests.ledger.evidence import forging
from tests.ledger.evidence.ledgers import (
    MINUTE,
    SIGNER,
    START,
    SUBJECTS,
    TAG_KEY,
    Signed,
    decoded,
    ledger,
    life,
    lines_of,
    told,
)

KEY = SIGNER.verifier


QUERIES = {
    "all": Query(all=True),
    "one partition": Query(all=True, partitions=(1,)),
    "one": Query(subjects=("T-1",)),
    "two": Query(subjects=("T-1", "Tø-4")),
    "none such": Query(subjects=("T-nobody",)),
    "until": Query(subjects=("T-2", "T-3"), until=written_instant(START + 9 * MINUTE)),
    "all until": Query(all=True, until=written_instant(START + 13 * MINUTE)),
    "before all": Query(all=True, until=written_instant(START - 1)),
    "of the future": Query(subjects=("T-1",), until=written_instant(START + 9_999 * MINUTE)),
    "owner": Query(owner="user:ann"),
    "owner until": Query(owner="user:ann", until=written_instant(START + 9 * MINUTE)),
    "verdict": Query(verdict="refused"),
    "code": Query(verdict="key-mismatch", active_from=written_instant(START)),
    "time": Query(active_to=written_instant(START + MINUTE)),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("partitions", [1, 2])
def test_what_is_exported_verifies(query: Query, partitions: int, tmp_path: Path) -> None:
    """Whatever was asked for, the bundle holds and says so."""
    if partitions == 1 and query.partitions:
        query = query.model_copy(update={"partitions": (0,)})
    manifest = ledger(partitions).export(tmp_path / "bundle", query)
    found = verify(tmp_path / "bundle", Trusted(KEY))
    assert found.failures == []
    assert found.ok
    assert (found.entries, found.work_items) == (manifest.counts.entries, manifest.counts.work_items)
    assert found.proven
    assert found.not_proven


def test_all_verdicts_are_those_of_the_fold(tmp_path: Path) -> None:
    """Work item by work item gives what the fold of the whole log gives, entry by entry and in their order."""
    manifest = ledger().export(tmp_path / "bundle", QUERIES["all"])
    replay = Replay(2)
    verdicts = {one.entry: one.as_dict() for one in map(replay.take, told())}
    lines = lines_of(tmp_path / "bundle", "verdicts.jsonl")
    assert [f"{one['partition']}:{one['offset']}" for one in lines] == sorted(
        verdicts, key=lambda entry: tuple(map(int, entry.split(":")))
    )
    assert [{name: one[name] for name in one if name != "event"} for one in lines] == [
        verdicts[f"{one['partition']}:{one['offset']}"] for one in lines
    ]
    assert manifest.counts.work_items == len(replay.items) == len(SUBJECTS)
    assert {one["verdict"] for one in lines} == {"accepted", "refused", "duplicate", "malformed"}


def test_no_verdict_depends_on_another_work_item(tmp_path: Path) -> None:
    """On a ledger like life the verdicts of each work item alone are those of the fold over all of them."""
    found = tuple(records(Workload(3, active=20), 1_500))
    ends = [max(one.offset for one in found if one.partition == number) + 2 for number in range(3)]
    signed = Signed(SIGNER, found, 3, ends)
    signed.export(tmp_path / "bundle", QUERIES["all"])
    assert verify(tmp_path / "bundle", Trusted(KEY)).ok
    replay = Replay(3)
    verdicts = {one.entry: one.as_dict() for one in map(replay.take, found)}
    lines = lines_of(tmp_path / "bundle", "verdicts.jsonl")
    assert len(lines) == len(found)
    for line in lines:
        del line["event"]
        assert line == verdicts[f"{line['partition']}:{line['offset']}"]
    assert len({one["verdict"] for one in lines}) == 4
    last = max(one.recorded_at for one in found)
    decisions = [
        decide(item, pause, from_milliseconds(last)).as_dict()
        for item in sorted(replay.items.values(), key=lambda one: one.subject)
        for pause in item.pauses.values()
    ]
    assert lines_of(tmp_path / "bundle", "decisions.jsonl") == json.loads(json.dumps(decisions))


def test_the_records_are_there_byte_for_byte(tmp_path: Path) -> None:
    """What is not text is base64, and all else is what it was, headers and null included."""
    ledger().export(tmp_path / "bundle", QUERIES["all"])
    found = {
        (one["partition"], one["offset"]): (
            one["recorded_at"],
            decoded(one["key"]),
            decoded(one["value"]),
            [(decoded(name), decoded(value)) for name, value in one["headers"]],
        )
        for one in lines_of(tmp_path / "bundle", "entries.jsonl")
    }
    assert found == {
        (one.partition, one.offset): (
            one.recorded_at,
            one.key,
            one.value,
            [(name.encode(errors="surrogateescape"), value) for name, value in one.headers],
        )
        for one in told()
    }


def test_a_work_items_bundle_shows_nobody_elses_records(tmp_path: Path) -> None:
    """Of all others there are leaves only: two digests each."""
    ledger(1).export(tmp_path / "bundle", QUERIES["one"])
    text = b"".join(path.read_bytes() for path in (tmp_path / "bundle").iterdir())
    assert b"T-1" in text
    assert not any(name.encode() in text for name in SUBJECTS[2:])
    assert {one["key"] for one in lines_of(tmp_path / "bundle", "entries.jsonl")} == {"T-1"}


def test_the_root_can_be_made_by_hand(tmp_path: Path) -> None:
    """Leaves, genesis and root are those of the protocol, hashed here once more without our tree."""
    signed = ledger(1)
    signed.export(tmp_path / "bundle", QUERIES["one"])
    leaves = (tmp_path / "bundle" / "leaves-0").read_bytes()
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())
    genesis = {name: value for name, value in manifest["partitions"][0].items() if name != "size"}
    assert genesis["tag_key_sha256"] == hashlib.sha256(TAG_KEY).hexdigest()
    text = json.dumps(genesis, sort_keys=True, separators=(",", ":")).encode()
    first = hashlib.sha256(b"pauseledger genesis v1").digest() + hashlib.sha256(text).digest()
    level = [
        hashlib.sha256(b"\0" + one).digest()
        for one in [first, *(leaves[at : at + 64] for at in range(0, len(leaves), 64))]
    ]
    assert _root(level) == signed.checkpoint(0).root
    assert (tmp_path / "bundle" / "checkpoint-0").read_bytes() == signed.note(0)


def _root(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    middle = 1
    while middle * 2 < len(hashes):
        middle *= 2
    return hashlib.sha256(b"\1" + _root(hashes[:middle]) + _root(hashes[middle:])).digest()


def test_the_same_query_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two exports at one checkpoint differ in nothing, whatever came onto the log meanwhile."""
    for query in QUERIES.values():
        folders = [tmp_path / f"{hashlib.sha256(repr(query).encode()).hexdigest()}-{one}" for one in (1, 2)]
        ledger(less=2).export(folders[0], query.model_copy())
        signed = ledger(less=2)
        signed.export(folders[1], query)
        first, second = ({one.name: one.read_bytes() for one in folder.iterdir()} for folder in folders)
        assert first == second


def test_until_leaves_out_what_came_later(tmp_path: Path) -> None:
    """The first later entry proves the end, is not judged, and what follows it is leaves."""
    until = START + 9 * MINUTE
    ledger(1).export(tmp_path / "bundle", QUERIES["until"])
    entries = lines_of(tmp_path / "bundle", "entries.jsonl")
    later = [one for one in entries if one["recorded_at"] > until]
    assert sorted(one["key"] for one in later) == ["T-2", "T-3"]
    verdicts = lines_of(tmp_path / "bundle", "verdicts.jsonl")
    assert len(verdicts) == len(entries) - 2
    decisions = lines_of(tmp_path / "bundle", "decisions.jsonl")
    assert {one["as_of"] for one in decisions} == {"2026-03-28T09:09:00.000Z"}
    assert [one["decision"] for one in decisions] == ["resume", "resume"]


def test_without_until_decisions_are_of_the_last_instant(tmp_path: Path) -> None:
    """The last instant is that of all entries under the checkpoint, other work items' too."""
    manifest = ledger(1).export(tmp_path / "bundle", QUERIES["one"])
    assert manifest.as_of == written_instant(max(one.recorded_at for one in told(1)))
    decisions = lines_of(tmp_path / "bundle", "decisions.jsonl")
    assert [one["rule"] for one in decisions] == ["stale", "clear"]


def test_chosen_work_items_are_whole(tmp_path: Path) -> None:
    """A work item that was chosen for one entry is there with all of them, and that others may be missing is said."""
    ledger(1).export(tmp_path / "bundle", QUERIES["time"])
    assert len(lines_of(tmp_path / "bundle", "entries.jsonl")) == len(life("T-1")) + 3
    found = verify(tmp_path / "bundle", Trusted(KEY))
    assert any("left out" in one for one in found.not_proven)


def test_an_earlier_checkpoint_is_found_again(tmp_path: Path) -> None:
    """Whatever was signed before, at any size, is still true in a later bundle."""
    whole = ledger(1)
    whole.export(tmp_path / "bundle", QUERIES["one"])
    for less in range(whole.sizes[0]):
        earlier = ledger(1, less=less).checkpoint(0)
        found = verify(tmp_path / "bundle", Trusted(KEY, [earlier]))
        assert found.ok
        assert any(f"begins with the {earlier.size} leaves" in one for one in found.proven)


@pytest.mark.parametrize("few", [0, 100])
def test_leaves_are_found_one_way_or_the_other(few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether tags are looked for one by one or all at once, what was withheld is found, and only that."""
    monkeypatch.setattr("ledger.evidence.covering._FEW_TAGS", few)
    ledger().export(tmp_path / "bundle", QUERIES["two"])
    assert verify(tmp_path / "bundle", Trusted(KEY)).ok
    entries = tmp_path / "bundle" / "entries.jsonl"
    found = entries.read_bytes().splitlines(keepends=True)
    for at in range(len(found)):
        entries.write_bytes(b"".join(found[:at] + found[at + 1 :]))
        gone = json.loads(found[at])
        failure = verify(tmp_path / "bundle", Trusted(KEY)).failures[0]
        assert (failure.kind, failure.entry) == ("withheld", f"{gone['partition']}:{gone['offset']}")


@pytest.mark.parametrize("leaves", [1, 3, 4, 7])
def test_blocks_of_any_length_give_the_same(leaves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where leaves are written, read and hashed in many blocks, nothing comes out otherwise, earlier roots included."""
    ledger(1).export(tmp_path / "whole", QUERIES["two"])
    monkeypatch.setattr("ledger.evidence.covering.BLOCK_LEAVES", leaves)
    monkeypatch.setattr("consumers.evidence.bundle_files.BLOCK_LEAVES", leaves)
    ledger(1).export(tmp_path / "bundle", QUERIES["two"])
    for one in (tmp_path / "whole").iterdir():
        assert (tmp_path / "bundle" / one.name).read_bytes() == one.read_bytes()
    for less in range(ledger(1).sizes[0]):
        assert verify(tmp_path / "bundle", Trusted(KEY, [ledger(1, less=less).checkpoint(0)])).ok
    wrong = ledger(1, less=3).checkpoint(0)._replace(root=bytes(32))
    assert [one.kind for one in verify(tmp_path / "bundle", Trusted(KEY, [wrong])).failures] == ["rolled-back"]


def test_a_work_item_without_entries_is_proven_to_have_none(tmp_path: Path) -> None:
    """That nothing was ever recorded under a name is an answer, too."""
    ledger().export(tmp_path / "bundle", QUERIES["none such"])
    found = verify(tmp_path / "bundle", Trusted(KEY))
    assert found.ok
    assert (found.entries, found.work_items) == (0, 0)
    assert any("Every entry of 'T-nobody'" in one and "0 records" in one for one in found.proven)


def test_a_witness_that_somebody_made_up_is_not_vouched_for(tmp_path: Path) -> None:
    """Anybody can write a line under a signed note: the page and the verifier say that nobody has looked at it."""
    folder = tmp_path / "bundle"
    ledger().export(folder, Query(all=True))
    files = forging.read(folder)
    line = str(Signature("witness.example/w1", 7, (1_774_700_000).to_bytes(8, "big") + bytes(64))).encode()
    for name in ("checkpoint-0", "checkpoint-1"):
        files[name] += line
    forging.write(forging.with_all(files), folder)
    found = verify(folder, Trusted(SIGNER.verifier))
    assert found.ok
    assert not any("witness.example" in said for said in found.proven)
    assert any("lines of other signers" in said for said in found.not_proven)
    assert "Lines of other signers, not verified here" in (folder / "report.html").read_text(encoding="utf-8")


def test_who_was_never_heard_of_may_have_begun_since(tmp_path: Path) -> None:
    """That nothing of a work item came between the checkpoint and ``--until`` isn't proven by its having no entry."""
    said = "That 1 work item had no entry between the checkpoint and"
    for name, minute, is_said in (("T-nobody", 9_999, True), ("T-1", 9_999, True), ("T-1", 9, False)):
        folder = tmp_path / f"{name}-{minute}"
        ledger().export(folder, Query(subjects=(name,), until=written_instant(START + minute * MINUTE)))
        found = verify(folder, Trusted(KEY))
        assert found.ok
        assert any(said in one for one in found.not_proven) is is_said
