"""``README.txt``: what a bundle is and how to check it, for somebody who has never seen one and trusts nobody.

Everything that it says holds for every bundle; what holds for this one alone comes from the view. It repeats no key:
the key must not come from the bundle.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ledger.evidence.view import BundleView
from ledger.evidence.visible import as_text, cut
from ledger.json_text import write_json
from ledger.times import format_instant, from_milliseconds

_WIDTH = 96
_BULLETED = textwrap.TextWrapper(_WIDTH, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False)

_FILES = {
    "manifest.json": "what was asked for, how many, the genesis of each tree, and the SHA-256 of each other file",
    "entries.jsonl": "the records of the log, byte for byte, one a line: what everything else is derived from. Of an "
    "export until an instant (`until` in manifest.json) each work item has one record more, the first later one that "
    "is not malformed, if there is one under the checkpoint: it shows that none before it is missing, and is not "
    "judged",
    "leaves-": "the leaves of all other records under the checkpoint of that partition, and of those that are here: 64 "
    "bytes each, digests, which show no more than whether a guess is right",
    "checkpoint-": "the signed checkpoint of that partition, as it was published",
    "key.txt": "which key the exporter says it is. Do not verify with it: see above",
    "tag-key.txt": "the key of the tags in the leaves, in hex. Who has it can test whether a name that they guess is a "
    "work item of this ledger",
    "verdicts.jsonl": "what the rules say of each entry: accepted, refused, duplicate or malformed, and why",
    "decisions.jsonl": "what the branch table says of each pause at the instant of this bundle",
    "README.txt": "this text",
    "report.html": "all of it for people; opens in any browser, loads nothing",
    "csv/": "entries, decisions and work items for spreadsheets. A text that a spreadsheet would take for a formula "
    "has an "
    "apostrophe before it, and so has one that begins with an apostrophe: take one away to get the text back",
    "parquet/": "the same tables for analysis. The verifier does not make these again: they are not proven",
    "ocsf.jsonl": "the entries for a SIEM: OCSF 1.8, class 3004, Entity Management",
}

_PROVEN = (
    "The notary's key signed the checkpoint: it had seen that many offsets of each partition, with exactly these "
    "digests.",
    "Each record in entries.jsonl is, byte for byte, the entry at that partition and offset of the log that the "
    "notary saw.",
    "Where this bundle names work items: no entry of theirs before the checkpoint, or before the instant asked for, is "
    "missing. Its leaf would be among the others, and carry the work item's tag.",
    "The verdicts and the decisions follow from the records by the published rules.",
    "This text, report.html, the CSV tables and ocsf.jsonl say what the records say.",
)
_NOT_PROVEN = (
    "Who wrote an entry. The actor of an event is a claim of whoever could write to the log.",
    "What time it was. The times of records are those of the log's clock; the times in events are their publishers'.",
    "That nothing happened which nobody recorded.",
    "That nothing is newer than the checkpoint. Only a later checkpoint shows that: keep those that you get, and "
    "give the earlier one with --since.",
    "That the notary had not left anything out when it read the log. Another notary, or a witness that reads the log "
    "itself, would have another root.",
    "Entries that were recorded under another key or on another partition than their work item's: they change "
    "nothing, and are "
    "no part of its history.",
    "What cosignatures on a checkpoint say, before they are verified with the witness's own key.",
    "What a text that begins with sealed:v1: says. It is personal data, encrypted before it was recorded, under the "
    "key that it names. That key is not here, and may have been destroyed; no verdict rests on what it hides.",
)
_BY_HAND = (
    "Digests of the files: compare `sha256sum FILE` with manifest.json.",
    "The checkpoint is a C2SP signed note (c2sp.org/signed-note, c2sp.org/tlog-checkpoint): any tool for these "
    "verifies it "
    "with the key, such as the Go package golang.org/x/mod/sumdb/note. Its three lines: origin LEDGER/TOPIC/PARTITION, "
    "number of leaves, root in base64.",
    "The root is that of RFC 6962: SHA-256 of 0x00 and a leaf, of 0x01 and two nodes. Leaf 0 is the genesis; leaf n "
    "+ 1 is the "
    "record at offset n. The leaf of a record that is here: HMAC-SHA-256 of the record's key under tag-key.txt, "
    "then the SHA-256 of the record bytes. All leaves but the genesis lie in leaves-PARTITION in order. 64 zero bytes: "
    "no readable record.",
    "Record bytes: offset and time in milliseconds, 8 bytes each; key; value; number of headers, 4 bytes; each "
    "header's "
    "name and value. Big-endian; before each byte string its length, 4 bytes, ff ff ff ff for null.",
    "Genesis: SHA-256 of the text `pauseledger genesis v1`, then SHA-256 of the genesis in manifest.json as RFC 8785 "
    "JSON, of these members: ledger, topic, topic_id, partition, partitions, protocol, tag_key_sha256.",
    'Bytes that are not UTF-8 stand in entries.jsonl as {"base64": ...}. For the tag a key that is null counts as '
    "empty. tag_key_sha256 is the SHA-256 of the tag key's 32 bytes, not of their hex.",
    "What to check for completeness is `subjects` in manifest.json: null for everything of the partitions there, else "
    "every work item of this bundle. Each lies on one partition: murmur2 of its name in UTF-8 as Kafka's default "
    "partitioner has it (seed 0x9747b28c, the sign bit cleared), modulo `partitions`; that one must be here. A leaf "
    "there with the tag of such a name, and no record at its offset, is a record that was withheld. With `until` in "
    "`query` that holds up to that first later record of the work item; what lies behind it is not here.",
)


def readme_txt(view: BundleView) -> bytes:
    """The text."""
    return "\n".join(_lines(view)).encode(errors="backslashreplace")


def _lines(view: BundleView) -> Iterator[str]:
    yield from _titled(f"Evidence from the pause ledger {_one_line(view.ledger)}", "=")
    yield from _paragraph(
        "A pause ledger records what paused agents were about to do, who allowed it, and what came of it. This is an "
        "export of it that you can verify yourself: offline, without trusting whoever gave it to you."
    )
    yield f"Topic:      {_one_line(view.topic)}"
    yield f"Asked for:  {_one_line(write_json(view.asked).decode())}"
    if view.as_of is not None:
        yield f"As of:      {format_instant(from_milliseconds(view.as_of))}"
    for one in view.checkpoints:
        yield f"Partition:  {one.partition}, {max(0, one.size - 1)} offsets under root {one.root}"
    yield ""
    yield from _verifying()
    yield from _titled("What that proves")
    yield from _listed(_PROVEN)
    yield from _titled("What it does not prove")
    yield from _listed((*map(_one_line, view.limits), *_NOT_PROVEN))
    yield from _titled("The files")
    yield from _files(view)
    yield from _titled("With other tools, or a program of your own")
    yield from _listed(_BY_HAND)


def _verifying() -> Iterator[str]:
    yield from _titled("How to verify it")
    yield from _paragraph(
        "Get the ledger's public key from its owner, by a way that this bundle did not take: a contract, a web page, a "
        "letter, a call. It is one line, NAME+ID+KEY, which `pauseledger keys show` prints for them. The key.txt "
        "beside "
        "this text is only what the exporter says: whoever forges a bundle writes their own key there. Then, on a "
        "machine that "
        "needs no network:"
    )
    yield "    pauseledger verify BUNDLE --key 'NAME+ID+KEY'"
    yield ""
    yield from _paragraph(
        "BUNDLE is this folder, or the zip file as you got it. It ends with exit code 0 only when everything holds; "
        "otherwise it "
        "names the first entry at fault, and the kind of fault. If you have an earlier checkpoint of this ledger, "
        "give it too: --since CHECKPOINT-FILE finds a history that was rewritten since. `pauseledger` is open "
        "source; the "
        "version that made this bundle is in manifest.json."
    )


def _files(view: BundleView) -> Iterator[str]:
    """What each file is; those that are the same thing together."""
    alike: dict[str, list[str]] = {}
    for name in sorted(view.files):
        alike.setdefault(_about(name), []).append(_one_line(name))
    yield from _listed(tuple(f"{', '.join(names)}: {about}." for about, names in alike.items()))


def _titled(title: str, under: str = "-") -> Iterator[str]:
    yield title
    yield under * len(title)
    yield ""


def _paragraph(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, break_on_hyphens=False)
    yield ""


def _listed(texts: tuple[str, ...]) -> Iterator[str]:
    for text in texts:
        yield from _BULLETED.wrap(text)
    yield ""


def _one_line(text: str) -> str:
    """A text that is not ours: what is hidden is shown, and what is endless ends."""
    shown, left = cut(text)
    return as_text(shown) + (f" ... and {left} more characters" if left else "")


def _about(name: str) -> str:
    if name in _FILES:
        return _FILES[name]
    family = next((one for one in _FILES if one.endswith(("-", "/")) and name.startswith(one)), None)
    return "unknown to the version that wrote this text" if family is None else _FILES[family]
