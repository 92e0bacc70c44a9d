"""The bundle's README: what it tells an auditor to do, and that no name in it does anything else."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given, settings

from ledger.evidence.leaves import Genesis
from ledger.evidence.readme import readme_txt
from ledger.evidence.view import BundleView
from tests.ledger.evidence.views import HOSTILE, hostile_view, owed_view, views


def test_it_says_how_to_verify_and_where_the_key_is_from() -> None:
    """The command, the key that must not come from the bundle, an earlier checkpoint, and what isn't proven."""
    text = re.sub(r"\s+", " ", readme_txt(owed_view()).decode())
    assert "pauseledger verify BUNDLE --key 'NAME+ID+KEY'" in text
    assert "by a way that this bundle did not take" in text
    assert "--since CHECKPOINT-FILE" in text
    assert "* These work items were chosen by their owner. * Who wrote an entry." in text
    assert f"Partition: 0, 8 offsets under root {'ab' * 32}" in text
    assert 'Asked for: {"subjects":["T-1001"]} As of:' in text


def test_it_says_what_each_file_is() -> None:
    """Each file of the bundle is named, alike ones together, one that nobody knows as such."""
    names = ["leaves-0", "leaves-12", "checkpoint-3", "ocsf.jsonl", "parquet/entries.parquet", "mystery"]
    text = re.sub(r"\s+", " ", readme_txt(replace(owed_view(), files=names)).decode())
    assert "* leaves-0, leaves-12: the leaves of all other records" in text
    assert "* parquet/entries.parquet: the same tables for analysis. The verifier does not make these again" in text
    assert "* mystery: unknown to the version that wrote this text." in text


def test_its_recipe_names_every_member_of_the_genesis() -> None:
    """Who writes a verifier from this text alone hashes the same members."""
    text = re.sub(r"\s+", " ", readme_txt(owed_view()).decode())
    named = text.split("of these members: ")[1].split(".")[0].split(", ")
    assert sorted(named) == sorted(Genesis._fields)


def test_it_says_what_a_verifier_of_ones_own_needs() -> None:
    """The rules that nothing else in a bundle shows: partitions, keys without bytes, what is no text, and the end."""
    text = re.sub(r"\s+", " ", readme_txt(owed_view()).decode())
    for said in (
        "murmur2 of its name in UTF-8 as Kafka's default partitioner has it",
        "a key that is null counts as empty",
        '{"base64": ...}',
        "`subjects` in manifest.json: null for everything",
        "up to that first later record of the work item",
    ):
        assert said in text
    named = re.sub(r"\s+", " ", readme_txt(replace(owed_view(), files=["tag-key.txt", "entries.jsonl"])).decode())
    assert "key of the tags in the leaves, in hex." in named
    assert "one record more, the first later one that is not malformed" in named


def test_no_name_breaks_a_line() -> None:
    """Hostile names are one line each, shown as they are, and cut where they never end."""
    text = readme_txt(hostile_view()).decode()
    assert re.sub(r"[^\x00-\x1f\x7f-\xa0\u200b-\u206f\ufeff]", "", text).strip("\n") == ""
    assert text.startswith(f"Evidence from the pause ledger {HOSTILE[0]}\n=====")
    assert "<U+202E>" in text
    assert "... and 3000 more characters" in re.sub(r"\s+", " ", text)


@settings(deadline=None, max_examples=40)
@given(views())
def test_it_is_the_same_each_time(view: BundleView) -> None:
    """Any view makes a text, always the same, of lines that a terminal takes."""
    data = readme_txt(view)
    assert data == readme_txt(view)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\x9b]", data.decode())
