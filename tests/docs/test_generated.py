"""The protocol's page says what the code does: its tables are generated, and its prose leaves no word out."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from ledger.events import EVENT_TYPES
from ledger.packet import packet_of
from ledger.partitions import murmur2, partition_of
from ledger.refusals import REFUSALS
from ledger.times import LATEST
from ledger.verdict import REASONS
from tests.vectors import files_in, item_at, read_vectors

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "protocol.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """``docs/generate.py``, which is a script and no part of a package."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hand_written() -> str:
    """The page without its generated tables."""
    return re.sub(r"<!-- generated: (.*?) -->.*?<!-- end: \1 -->", "", PAGE, flags=re.DOTALL)


def section(number: int) -> str:
    return hand_written().split(f"\n## {number}. ")[1].split("\n## ")[0]


def test_the_tables_are_as_the_code_says(generate: ModuleType) -> None:
    """Writing the page again changes nothing: the code and its page never part."""
    assert generate.generated(PAGE) == PAGE
    assert generate.main(["--check"]) == 0


def test_a_stale_table_is_seen(
    generate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that was edited by hand is a difference, which the check shows and writing repairs."""
    page = tmp_path / "protocol.md"
    page.write_text(PAGE.replace("| `clear` |", "| `fine` |"), encoding="utf-8")
    monkeypatch.setattr(generate, "PAGE", page)
    assert generate.main(["--check"]) == 1
    assert "+| `clear` |" in capsys.readouterr().out
    assert generate.main([]) == 0
    assert page.read_text(encoding="utf-8") == PAGE


def test_a_lost_marker_is_an_error(generate: ModuleType) -> None:
    """A table whose place was deleted is never dropped in silence."""
    with pytest.raises(ValueError, match="branch table"):
        generate.generated(PAGE.replace("<!-- end: branch table -->", ""))


def test_every_member_has_a_word(generate: ModuleType) -> None:
    """No member of an event's data stands in the table without saying what it holds."""
    for model in EVENT_TYPES.values():
        told = generate.members_of(model)
        assert re.fullmatch(r"(`\w+`\?? [^;]*[\w`](; )?)+", told)


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_every_type_is_explained(kind: str) -> None:
    """Each event type has its line of prose beside its row in the table."""
    assert f"\n- `{kind.removeprefix('pauseledger.')}`:" in section(3)


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_code_says_when_it_holds(code: str) -> None:
    """Each code stands in a table that people wrote, with its condition."""
    assert f"`{code}`" in section(7)


def test_every_refused_type_is_named_beside_its_codes() -> None:
    """A type that can be refused is spoken of where the conditions are told."""
    told = section(7).partition("### When each code holds")[2]
    for kind, rules in REFUSALS.items():
        named = f"`{kind.removeprefix('pauseledger.')}`" in told
        assert named or {rule[0] for rule in rules} <= {"no-such-pause", "pause-closed", "side-effect-open"}


def test_every_field_of_the_packet_is_explained() -> None:
    """Each field that a packet prints has its row."""
    vectors = read_vectors(files_in(DOCS / "vectors")[0])
    item = item_at(vectors.records, "T-1", LATEST)
    assert item is not None
    for field in packet_of(item, item.pauses["p1"], []):
        assert f"`{field}`" in section(4)


def test_the_partition_table_is_right() -> None:
    """The test values for murmur2 are what the code computes, as Kafka's own client does."""
    rows = re.findall(r"^\| `([^`]+)` \| (-?\d+) \| (\d) \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) == 6
    for key, signed, partition in rows:
        assert murmur2(key.encode()) == int(signed) & 0xFFFFFFFF
        assert partition_of(key, 6) == int(partition)
