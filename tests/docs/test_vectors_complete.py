"""The project's own vectors leave nothing out: whoever passes them has met every code, rule, signal and ending."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import pytest

from ledger.branch_table import FRESHNESSES, OWNERSHIPS, SIDE_EFFECTS, TABLE, Branch
from ledger.events import EVENT_TYPES
from ledger.packet import Ending
from ledger.refusals import REFUSALS
from ledger.times import parse_instant
from ledger.verdict import REASONS
from tests import vectors_writer
from tests.vectors import files_in, item_at, vectors_of

SIGNALS = {
    "no-pending-action",
    "no-owner",
    "no-freshness-deadline",
    "side-effect-unproven",
    "acted-without-grant",
    "unrecorded-takeover",
    "debt-waived",
}


@cache
def contents() -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in files_in(vectors_writer.FOLDER)]


def judged() -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Every entry's type, where its line says one, with its verdict."""
    for content in contents():
        for entry, verdict in zip(content["entries"], content["verdicts"], strict=True):
            yield _type_of(entry), verdict


def _type_of(entry: dict[str, Any]) -> str | None:
    for name, text in entry.get("headers", []):
        if name == "ce_type":
            return str(text)
    try:
        event = json.loads(entry["line"])
    except (KeyError, ValueError):
        return None
    kind = event.get("type") if isinstance(event, dict) else None
    return kind if isinstance(kind, str) else None


def decisions() -> list[dict[str, Any]]:
    return [one for content in contents() for question in content["decisions"] for one in question["decisions"]]


def test_the_files_are_as_their_stories_tell_them() -> None:
    """Nobody edits a vector by hand: writing the stories again gives the same bytes."""
    assert vectors_writer.stale(vectors_writer.files()) == []


def test_every_code_occurs() -> None:
    """Each code that a verdict may carry is some entry's."""
    assert {verdict["code"] for _, verdict in judged()} == set(REASONS)


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_every_type_is_accepted_and_refused_for_each_reason(kind: str) -> None:
    """An event of each type is accepted once, and refused once for each code that is asked of it."""
    met = {verdict["code"] for one, verdict in judged() if one == kind}
    assert {"ok", *(rule[0] for rule in REFUSALS[kind])} <= met


def test_every_rule_and_decision_occurs() -> None:
    """Each row of the branch table decides some pause, and so does being closed."""
    assert {one["rule"] for one in decisions()} == {row.rule for row in TABLE} | {"closed"}
    assert {one["decision"] for one in decisions()} == set(get_args(Branch))


def test_every_result_of_the_checks_occurs() -> None:
    """Each of the three checks comes out each way."""
    for check, results in (("freshness", FRESHNESSES), ("ownership", OWNERSHIPS), ("side_effect", SIDE_EFFECTS)):
        assert {one[check] for one in decisions()} == set(results)


def test_every_stop_signal_occurs() -> None:
    """Each stop signal holds for some pause."""
    assert {signal for one in decisions() for signal in one["stop_signals"]} == SIGNALS


def test_obligations_and_debts_occur() -> None:
    """Both obligations are owed, debts fall due or never do, and some pause owes nothing."""
    assert {owed for one in decisions() for owed in one["obligations"]} == {"reconcile-old-branch", "adopt-outcome"}
    debts = [one["debt"] for one in decisions()]
    assert None in debts
    assert {debt["due"] is None for debt in debts if debt is not None} == {True, False}


def test_every_ending_occurs() -> None:
    """A pause ends in each way that a pause can end."""
    endings = set()
    for content in contents():
        vectors = vectors_of(content)
        for asked in content["decisions"]:
            item = item_at(vectors.records, asked["subject"], parse_instant(asked["at"]), vectors.partitions)
            endings |= set() if item is None else {pause.outcome for pause in item.pauses.values()}
    assert endings == {None, *get_args(Ending)}


def test_each_file_says_what_it_is_about() -> None:
    """A file's name is its story's, and it says in a sentence what the story shows."""
    for path, content in zip(files_in(vectors_writer.FOLDER), contents(), strict=True):
        assert path.stem.partition("-")[2] == content["name"]
        assert content["about"].endswith(".")


def test_a_wrong_story_is_not_written() -> None:
    """A story that expects what no rule says is a fault, so that what is written was read from the protocol."""
    text = next(iter(vectors_writer.files().values()))
    assert vectors_writer.faults(text) == []
    assert vectors_writer.faults(text.replace('"code": "ok"', '"code": "no-debt"', 1)) != []
