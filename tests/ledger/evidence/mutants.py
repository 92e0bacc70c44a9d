"""Bundles with one thing changed, by the thousand: every file, every line, every member, and repaired or not.

Each generator gives names with bundles, none of which may verify. Nothing here is chance: a mutant has the same bytes
in every run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any

from ledger.evidence.leaves import LEAF_BYTES
from tests.ledger.evidence import forging
from tests.ledger.evidence.forging import Files, Repair, as_it_is, with_all, with_digests

Mutants = Iterator[tuple[str, Files]]

FLIPS = 7
"""So many bytes of each file are changed, from its first to its last."""
RAW: tuple[Repair, ...] = (as_it_is, with_digests)
SOURCES: tuple[Repair, ...] = (as_it_is, with_digests, with_all)
"""For files that all else follows from: of others, :func:`with_all` makes the right ones again."""
_FROM_RECORDS = ("verdicts.jsonl", "decisions.jsonl", "README.txt", "report.html", "csv/", "ocsf.jsonl")


def repairs(name: str) -> tuple[Repair, ...]:
    """How a changed file may be put right without undoing the change."""
    if name == "manifest.json":
        return (as_it_is,)
    return RAW if name.startswith(_FROM_RECORDS) else SOURCES


def each_repaired(what: str, name: str, files: Files) -> Mutants:
    for repair in repairs(name):
        yield f"{name}: {what}, {repair.__name__}", repair(files)


def flipped(files: Files) -> Mutants:
    """A bit of a byte is another."""
    for name, data in files.items():
        chance = Random(name)
        count = min(FLIPS, len(data))
        for at in sorted({number * (len(data) - 1) // max(1, count - 1) for number in range(count)}):
            byte = data[at] ^ 1 << chance.randrange(8)
            changed = data[:at] + bytes([byte]) + data[at + 1 :]
            yield from each_repaired(f"byte {at}", name, files | {name: changed})


def cut_and_more(files: Files) -> Mutants:
    """A file is missing, empty, cut, longer, or another one's."""
    names = [name for name in files if name != "manifest.json"]
    for name, data in files.items():
        without = {one: content for one, content in files.items() if one != name}
        yield f"{name}: missing", without
        if name != "manifest.json":
            yield f"{name}: missing, with_digests", with_digests(without)
        for what, changed in (("empty", b""), ("cut", data[: len(data) // 2]), ("longer", data + b"\n")):
            yield from each_repaired(what, name, files | {name: changed})
    for one, other in pairwise(names):
        swapped = files | {one: files[other], other: files[one]}
        yield from ((f"{one}: swapped with {other}, {repair.__name__}", repair(swapped)) for repair in RAW)
    for extra in (
        "extra",
        "ENTRIES.JSONL",
        "entries.jsonl.bak",
        "csv/more.csv",
        "parquet/x.parquet",
        "leaves-7",
        "leaves-00",
    ):
        yield from ((f"{extra}: added, {repair.__name__}", repair(files | {extra: b"x"})) for repair in RAW)


def other_lines(files: Files) -> Mutants:
    """Lines are dropped, swapped, there twice, or written in another way."""
    for name in ("entries.jsonl", "verdicts.jsonl", "decisions.jsonl", "ocsf.jsonl"):
        if name not in files:
            continue
        found = forging.lines(files, name)
        for at, line in enumerate(found):
            spaced = json.dumps(json.loads(line), ensure_ascii=False).encode() + b"\n"
            changes = {
                "dropped": [*found[:at], *found[at + 1 :]],
                "twice": [*found[: at + 1], *found[at:]],
                "moved to the end": [*found[:at], *found[at + 1 :], line],
                "with spaces": [*found[:at], spaced, *found[at + 1 :]],
            }
            for what, lines in changes.items():
                if lines != found:
                    changed = forging.with_lines(files, name, lines)
                    yield from each_repaired(f"line {at + 1} {what}", name, changed)


def other_forms(files: Files) -> Mutants:
    """The same records in other bytes."""
    found = forging.lines(files, "entries.jsonl")
    for at, line in enumerate(found):
        content = json.loads(line)
        forms = {
            "escaped": json.dumps(content, separators=(",", ":")).encode() + b"\n",
            "sorted": json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n",
            "a member twice": line.replace(b'{"partition":', b'{"partition":9,"partition":', 1),
            "a member more": line.replace(b'{"partition":', b'{"x":null,"partition":', 1),
            "as a float": line.replace(b',"key"', b'.0,"key"', 1),
            "a giant number": line.replace(b'"recorded_at":', b'"recorded_at":99999999999999999999', 1),
            "a surrogate": line.replace(b'"key":', b'"key":"\\ud800","was":', 1),
            "with a return": line.replace(b"\n", b"\r\n"),
            "with an empty line": b"\n" + line,
        }
        for what, form in forms.items():
            if form != line:
                changed = forging.with_lines(files, "entries.jsonl", [*found[:at], form, *found[at + 1 :]])
                yield f"line {at + 1} {what}", with_digests(changed)


def other_records(files: Files) -> Mutants:
    """Each part of each record is another, and all that follows from it is made anew."""
    found = forging.lines(files, "entries.jsonl")
    for at, line in enumerate(found):
        content = json.loads(line)
        changes: dict[str, Any] = {
            "partition": content["partition"] + 1,
            "offset": content["offset"] + 1,
            "recorded_at": content["recorded_at"] - 1,
            "key": "T-9" if content["key"] == "" else "",
            "value": "{}" if content["value"] is None else None,
            "headers": [*content["headers"], ["more", None]],
        }
        for member, value in changes.items():
            lines = [*found[:at], forging.changed_line(line, **{member: value}), *found[at + 1 :]]
            yield f"line {at + 1}, {member}", with_all(forging.with_lines(files, "entries.jsonl", lines))


def withheld(files: Files) -> Mutants:
    """An entry is left out, and all that follows is made anew: with its leaf, its leaf emptied, or its leaf gone."""
    found = forging.lines(files, "entries.jsonl")
    for at, line in enumerate(found):
        place = json.loads(line)
        name = f"leaves-{place['partition']}"
        begin = place["offset"] * LEAF_BYTES
        leaves = files[name]
        without = forging.with_lines(files, "entries.jsonl", [*found[:at], *found[at + 1 :]])
        gone = leaves[:begin] + leaves[begin + LEAF_BYTES :]
        content = forging.manifest_of(files)
        for one in content["partitions"]:
            one["size"] -= one["partition"] == place["partition"]
        variants = {
            "left out": without,
            "its leaf emptied": without | {name: leaves[:begin] + bytes(LEAF_BYTES) + leaves[begin + LEAF_BYTES :]},
            "its leaf gone": without | {name: gone},
            "its leaf gone, the size less": forging.with_manifest(without | {name: gone}, content),
            "another's leaf": without | {name: leaves[:begin] + b"\x07" * LEAF_BYTES + leaves[begin + LEAF_BYTES :]},
        }
        for what, variant in variants.items():
            yield f"line {at + 1} withheld, {what}", with_all(variant)


def other_verdicts(files: Files) -> Mutants:
    """Each verdict and each decision is another, and the digests are right."""
    for name in ("verdicts.jsonl", "decisions.jsonl"):
        found = forging.lines(files, name)
        for at, line in enumerate(found):
            content = json.loads(line)
            for member, value in content.items():
                other = "accepted" if value == "refused" else "refused" if isinstance(value, str) else not value
                changed = [*found[:at], forging.changed_line(line, **{member: other}), *found[at + 1 :]]
                yield f"{name} line {at + 1}, {member}", with_digests(forging.with_lines(files, name, changed))


def other_manifests(files: Files) -> Mutants:
    """Each member of the manifest is another, is missing, or has one beside it."""
    content = forging.manifest_of(files)
    for path in _paths(content):
        for what, changed in _variants(content, path):
            yield f"manifest: {'.'.join(map(str, path))} {what}", forging.with_manifest(files, changed)
    text = files["manifest.json"]
    for what, data in {
        "with a line's end": text + b"\n",
        "with a mark": b"\xef\xbb\xbf" + text,
        "with spaces": json.dumps(content).encode(),
        "a member twice": text.replace(b'"version":1', b'"version":1,"version":1'),
        "deep": b"[" * 100_000,
        "deep inside": text.replace(b'"version":1', b'"version":' + b"[" * 50_000 + b"]" * 50_000),
        "a surrogate": text.replace(b'"ledger":"', b'"ledger":"\\ud800', 1),
        "a giant number": text.replace(b'"size":', b'"size":' + b"9" * 5_000, 1),
        "no number": text.replace(b'"version":1', b'"version":NaN'),
        "a name that a terminal acts on": text.replace(b'"version":1', b'"version":1,"\\u001b[2J":1'),
        "no object": b"[]",
        "null": b"null",
    }.items():
        yield f"manifest: {what}", files | {"manifest.json": data}


def _paths(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in members:
        yield (*path, name)
        yield from _paths(value, (*path, name))


def _variants(content: Any, path: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    def changed(change: Any) -> Any:
        copy = json.loads(json.dumps(content))
        holder = copy
        for name in path[:-1]:
            holder = holder[name]
        change(holder)
        return copy

    def put(value: Any) -> Any:
        return changed(lambda holder: holder.__setitem__(path[-1], value))

    value = content
    for name in path:
        value = value[name]
    yield "gone", changed(lambda holder: holder.pop(path[-1]))
    if isinstance(value, dict):
        yield "with more", changed(lambda holder: holder[path[-1]].__setitem__("more", 1))
    elif isinstance(value, list):
        yield "with more", changed(lambda holder: holder[path[-1]].append(1))
    elif isinstance(value, bool) or value is None:
        yield "another", put(not value)
    elif isinstance(value, int):
        yield "more", put(value + 1)
        yield "a float", put(value + 0.5)
    else:
        yield "another", put(value[:-1] + ("0" if value[-1] != "0" else "1"))
        yield "no text", put(1)
        yield "in other letters", put(value[:-1] + "é")
    yield "null" if value is not None else "text", put(None if value is not None else "x")
