"""A verifier by another hand: written from the words of a bundle's README.txt, with nothing of this project."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

GENESIS = ("ledger", "topic", "topic_id", "partition", "partitions", "protocol", "tag_key_sha256")


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, as it is defined there."""
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + root(leaves[:half]) + root(leaves[half:]))


def text_or_base64(value: Any) -> bytes | None:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return None if value is None else value.encode()


def murmur2(data: bytes) -> int:
    """Kafka's, of 32 bits."""
    hashed = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * 0x5BD1E995 & 0xFFFFFFFF
        mixed = (mixed ^ mixed >> 24) * 0x5BD1E995 & 0xFFFFFFFF
        hashed = hashed * 0x5BD1E995 & 0xFFFFFFFF ^ mixed
    if rest := data[whole:]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * 0x5BD1E995 & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return hashed ^ hashed >> 15


def framed(data: bytes | None) -> bytes:
    return b"\xff" * 4 if data is None else struct.pack(">I", len(data)) + data


def record_bytes(record: dict[str, Any]) -> bytes:
    data = struct.pack(">QQ", record["offset"], record["recorded_at"])
    data += framed(text_or_base64(record["key"])) + framed(text_or_base64(record["value"]))
    data += struct.pack(">I", len(record["headers"]))
    for name, value in record["headers"]:
        data += framed(text_or_base64(name)) + framed(text_or_base64(value))
    return data


def verify_note(note: str, vkey: str) -> list[str]:
    """The lines of a signed note. Raises ``InvalidSignature``, or ``StopIteration`` where the key has no line."""
    name, number, key = vkey.split("+", 2)
    text, _, lines = note.rpartition("\n\n")
    line = next(one for one in lines.splitlines() if one.startswith(f"\u2014 {name} "))
    signature = base64.b64decode(line.split(" ")[2])
    assert signature[:4].hex() == number
    Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:]).verify(signature[4:], f"{text}\n".encode())
    return text.split("\n")


def milliseconds(until: str | None) -> float:
    """Since 1970, of the instant of an export."""
    return float("inf") if until is None else int(datetime.fromisoformat(until).timestamp() * 1000)


def boundaries(records: list[dict[str, Any]], until: float) -> dict[bytes, int]:
    """The offset of the first later record of each key that is an event, of one partition's."""
    found: dict[bytes, int] = {}
    for one in records:
        key = text_or_base64(one["key"]) or b""
        if one["recorded_at"] > until and is_event(one["value"]):
            found.setdefault(key, one["offset"])
    return found


def is_event(value: Any) -> bool:
    try:
        return isinstance(json.loads(value), dict) and "specversion" in json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return False


def faults(bundle: Path, vkey: str) -> Iterator[str]:
    """What the recipe finds wrong with a bundle that is a folder."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    for name, said in manifest["files"].items():
        if hashlib.sha256((bundle / name).read_bytes()).hexdigest() != said["sha256"]:
            yield f"the digest of {name}"
    tag_key = bytes.fromhex((bundle / "tag-key.txt").read_text().strip())
    records = [json.loads(line) for line in (bundle / "entries.jsonl").read_bytes().splitlines()]
    there = {part["partition"] for part in manifest["partitions"]}
    for one in manifest["subjects"] or ():
        if (murmur2(one.encode()) & 0x7FFFFFFF) % manifest["partitions"][0]["partitions"] not in there:
            yield f"the partition of {one}"
    until = milliseconds(manifest["query"]["until"])
    for part in manifest["partitions"]:
        partition = part["partition"]
        members = rfc8785.dumps({name: part[name] for name in GENESIS})
        data = (bundle / f"leaves-{partition}").read_bytes()
        leaves = [sha256(b"pauseledger genesis v1") + sha256(members)]
        leaves += [data[at : at + 64] for at in range(0, len(data), 64)]
        here = [one for one in records if one["partition"] == partition]
        tags = {hmac.new(tag_key, one.encode(), "sha256").digest() for one in manifest["subjects"] or ()}
        ends = {hmac.new(tag_key, key, "sha256").digest(): end for key, end in boundaries(here, until).items()}
        named = {
            at - 1
            for at, leaf in enumerate(leaves)
            if at and (leaf[:32] in tags if manifest["subjects"] is not None else any(leaf))
            if at - 1 <= ends.get(leaf[:32], at)
        }
        for offset in sorted(named - {one["offset"] for one in here}):
            yield f"withheld {partition}:{offset}"
        for record in here:
            tag = hmac.new(tag_key, text_or_base64(record["key"]) or b"", "sha256").digest()
            if leaves[record["offset"] + 1] != tag + sha256(record_bytes(record)):
                yield f"the leaf of {partition}:{record['offset']}"
        origin, size, hashed = verify_note((bundle / f"checkpoint-{partition}").read_text(), vkey)
        if origin != f"{part['ledger']}/{part['topic']}/{partition}":
            yield "the origin"
        if int(size) != len(leaves) or base64.b64decode(hashed) != root(leaves):
            yield f"the root of {partition}"
