"""A sealed event is judged as the plain one would be: the stories of the vectors, with all sealed that may be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.actions import action_digest
from ledger.cloudevents import content_of, in_binary_mode
from ledger.fold import Replay
from ledger.json_text import write_json
from ledger.personal import Mark, member_at, refuse_judged, write_marking
from ledger.record import Headers, Record
from ledger.sealing import Sealing
from ledger.verdict import Verdict
from tests.ledger.rings import Ring
from tests.vectors import files_in, read_vectors

VECTORS = files_in(Path(__file__).parents[2] / "docs" / "vectors")
SAID = ("verdict", "code", "reason", "fence", "valid_until")


def sealable(content: dict[str, Any], data: Any, at: str = "") -> Iterator[str]:
    """The outermost members of ``data`` that may be sealed."""
    for name, member in data.items() if isinstance(data, dict) else ():
        pointer = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
        try:
            refuse_judged(content["type"], pointer, member_at(content["data"], pointer))
            Sealing(Ring()).sealed(content | {"personaldata": write_marking([Mark("user:anna", pointer)])})
        except ValueError:
            yield from sealable(content, member, pointer)
        else:
            yield pointer


def content_to_seal(record: Record) -> dict[str, Any] | None:
    try:
        content = dict(content_of(record))
    except ValueError:
        return None
    return content if isinstance(content.get("data"), dict) and isinstance(content.get("type"), str) else None


def with_marking(record: Record, content: dict[str, Any], marking: str) -> tuple[bytes, Headers]:
    """What a publisher of this event would hand over, had it marked members."""
    if in_binary_mode(record.headers):
        return write_json(content["data"]), (*record.headers, ("ce_personaldata", marking.encode()))
    return write_json(content | {"personaldata": marking}), record.headers


Digests = dict[tuple[Any, Any], str]
"""Of the actions of work items: what each digest is once the action is sealed."""


def with_digests(content: dict[str, Any], digests: Digests) -> dict[str, Any]:
    """An event that names actions by the digests which they have once they are sealed."""
    digest = content["data"].get("action_digest")
    found = digests.get((content.get("subject"), digest)) if isinstance(digest, str) else None
    return content if found is None else {**content, "data": {**content["data"], "action_digest": found}}


def all_sealed(records: list[Record]) -> tuple[list[Record], Digests]:
    """Records with everything sealed that may be, and the digest that each action has now."""
    sealing, changed = Sealing(Ring()), []
    digests: Digests = {}
    for record in records:
        content = content_to_seal(record)
        pointers = [] if content is None else list(sealable(content, content["data"]))
        if content is None or not pointers:
            changed.append(record)
            continue
        marking = write_marking(Mark("user:anna", one) for one in pointers)
        value, headers = sealing(*with_marking(record, content, marking))
        changed.append(record._replace(value=value, headers=headers))
        plain = content["data"].get("pending_action")
        sealed = content_of(changed[-1])["data"].get("pending_action")
        if isinstance(plain, dict) and isinstance(sealed, dict):
            digests[content["subject"], action_digest(plain)] = action_digest(sealed)
    return [naming(record, digests) for record in changed], digests


def naming(record: Record, digests: Digests) -> Record:
    """A record that names actions by their new digests."""
    content = content_to_seal(record)
    if content is None or (changed := with_digests(content, digests)) is content:
        return record
    return record._replace(value=write_json(changed["data"] if in_binary_mode(record.headers) else changed))


def test_the_vectors_have_much_to_seal() -> None:
    """Hundreds of members of the stories are sealed, actions among them."""
    found = [one for path in VECTORS for one in all_sealed(read_vectors(path).records)[0]]
    assert sum((one.value or b"").count(b"sealed:v1:") for one in found) > 300
    assert sum(len(all_sealed(read_vectors(path).records)[1]) for path in VECTORS) > 30


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_sealed_story_has_the_verdicts_of_the_plain_one(path: Path) -> None:
    """Whatever may be sealed is: each verdict is the same, but for the digests of actions."""
    vectors = read_vectors(path)
    records, digests = all_sealed(vectors.records)
    plain, sealed = Replay(vectors.partitions), Replay(vectors.partitions)
    before, after = plain.take_all(vectors.records), sealed.take_all(records)

    def said(verdict: Verdict, digests: Digests) -> list[Any]:
        content = verdict.as_dict()
        digest = content.get("action_digest")
        first = (content.get("first") or {}).get("code")
        return [*(content.get(name) for name in SAID), digests.get((verdict.subject, digest), digest), first]

    assert [said(one, {}) for one in after] == [said(one, digests) for one in before]
