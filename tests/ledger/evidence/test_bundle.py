"""Each record has one line, and each line one record; an end of a history is where the protocol puts it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.evidence.bundle import WRITERS, BadText, Query, entry_line, read_entry_line, read_instant, written_instant
from ledger.evidence.verify import Trusted, verify
from ledger.fold import Replay
from ledger.record import Record, record_bytes
from ledger.times import from_milliseconds
from tests.ledger.evidence.ledgers import MINUTE, SIGNER, START, SUBJECTS, Signed, ledger, lines_of, told

KEY = SIGNER.verifier
DATA = st.none() | st.binary(max_size=20) | st.text(max_size=20).map(str.encode)
NAMES = st.binary(max_size=8).map(lambda data: data.decode(errors="surrogateescape"))
NUMBERS = st.integers(0, 2**63 - 1)
RECORDS = st.builds(
    Record, NUMBERS, NUMBERS, NUMBERS, DATA, DATA, st.lists(st.tuples(NAMES, DATA), max_size=3).map(tuple)
)


@settings(max_examples=300, deadline=None)
@given(RECORDS)
def test_a_record_is_its_line(record: Record) -> None:
    """Whatever bytes a record has, its line is one line of JSON and gives the same bytes again."""
    line = entry_line(record)
    assert b"\n" not in line
    json.loads(line)
    assert record_bytes(read_entry_line(line)) == record_bytes(record)
    assert read_entry_line(line) == record


@settings(max_examples=300, deadline=None)
@given(RECORDS, st.data())
def test_a_changed_line_is_another_record_or_none(record: Record, data: st.DataObject) -> None:
    """No two lines give one record: what is not written as it must be is refused."""
    line = entry_line(record)
    at = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != line[at]))
    changed = data.draw(st.sampled_from([line[:at] + bytes([byte]) + line[at + 1 :], line[:at] + line[at + 1 :]]))
    try:
        found = read_entry_line(changed)
    except BadText:
        return
    assert found != record
    assert entry_line(found) == changed


@pytest.mark.parametrize(
    "text", ["2026-03-28T09:00:00Z", "2026-03-28T09:00:00.0001Z", "2026-03-28T10:00:00.000+01:00", "x"]
)
def test_an_instant_has_one_form(text: str) -> None:
    """An instant in a manifest is in UTC, with milliseconds."""
    with pytest.raises(BadText):
        read_instant(text)
    assert read_instant(written_instant(START)) == START


def test_this_version_is_among_those_that_write_bundles() -> None:
    """A new version is listed before it writes bundles that it would then refuse."""
    assert WRITERS[-1] == version("pauseledger")


def test_a_tree_of_nothing_proves_that_there_is_nothing(tmp_path: Path) -> None:
    """A partition without an entry has a checkpoint of one leaf, and an export of it verifies."""
    empty = Signed(SIGNER, (), 2, (1, 1))
    for number, query in enumerate((Query(all=True), Query(subjects=("T-1",)))):
        empty.export(tmp_path / str(number), query)
        found = verify(tmp_path / str(number), Trusted(KEY))
        assert found.ok
        assert found.entries == 0
        (tmp_path / str(number) / "leaves-0").write_bytes(bytes(64))
        assert not verify(tmp_path / str(number), Trusted(KEY)).ok


def back_and_forth() -> Signed:
    """The same ledger on a broker whose clock goes back now and then."""
    records = [one._replace(recorded_at=one.recorded_at - (at % 5) * 7 * MINUTE) for at, one in enumerate(told())]
    return ledger()._replace(records=records)


@pytest.mark.parametrize("signed", [ledger(), back_and_forth()], ids=["steady", "back and forth"])
def test_at_every_instant_it_is_as_time_travel_says(signed: Signed, tmp_path: Path) -> None:
    """What is judged under ``until`` is what has an instant of at most that: the prefix that ``--at`` folds."""
    for number, until in enumerate(range(START - 30 * MINUTE, START + 60 * MINUTE, 5 * MINUTE)):
        folder = tmp_path / str(number)
        signed.export(folder, Query(subjects=SUBJECTS, until=written_instant(until)))
        found = verify(folder, Trusted(KEY))
        assert found.ok, found
        expected = set()
        for subject in SUBJECTS:
            replay, instant = Replay(2), 0
            for record in signed.records:
                if record.key != subject.encode():
                    continue
                verdict = replay.take(record)
                happened = max(instant, record.recorded_at)
                if verdict.verdict != "malformed":
                    instant = happened
                if happened <= until:
                    expected.add(record.entry)
        lines = lines_of(folder, "verdicts.jsonl")
        assert {f"{one['partition']}:{one['offset']}" for one in lines} == expected
        decisions = lines_of(folder, "decisions.jsonl")
        assert {one["as_of"] for one in decisions} <= {written_instant(until)}
        for subject in SUBJECTS:
            mine = [one for one in signed.records if one.key == subject.encode() and one.entry in expected]
            replay = Replay(2)
            replay.take_all(mine)
            item = replay.items.get(subject)
            assert [one["pause"] for one in decisions if one["subject"] == subject] == list(item.pauses if item else ())
            assert item is None or item.instant is None or item.instant <= from_milliseconds(until)


TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["id", "source", "type", "subject", "data", "actor", "actorroles", "time", "x", "specversion"]),
    JSON,
    max_size=3,
)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["content-type", "ce_id", "ce_type", "ce_data", "ce_subject", "x"]), DATA), max_size=3
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(DATA, ATTRIBUTES, st.none() | HEADERS, st.booleans()), min_size=1, max_size=6))
def test_whatever_is_on_the_log_is_exported_and_verifies(
    tmp_path_factory: pytest.TempPathFactory, drafts: list[tuple[bytes | None, dict[str, object], object, bool]]
) -> None:
    """No record that somebody may write keeps a bundle from being made, rendered, and made again."""
    records = []
    for at, (key, attributes, headers, is_mine) in enumerate(drafts):
        head = {"specversion": "1.0", "id": f"e{at}", "source": "/s", "type": "pauseledger.note.added", "subject": "T"}
        value = json.dumps(head | {"data": {"text": "t"}} | attributes).encode()
        given_headers = STRUCTURED_HEADERS if headers is None else tuple(headers)  # type: ignore[arg-type]
        records.append(Record(0, at, START + at, b"T" if is_mine else key, value, given_headers))
    folder = tmp_path_factory.mktemp("any") / "bundle"
    Signed(SIGNER, records, 1, (len(records) + 1,)).export(folder, Query(all=True, formats=("csv", "ocsf")))
    found = verify(folder, Trusted(KEY))
    assert found.ok, found.failures
