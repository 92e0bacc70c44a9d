"""Texts that somebody signed: C2SP signed notes (c2sp.org/signed-note), verifier keys and tlog checkpoints.

Only the text is here; whether a signature holds is :mod:`ledger.evidence.signatures`. Reading is strict: a note has one
right way to be written, so that what is signed is what is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import NamedTuple

from ledger.evidence.merkle import HASH_BYTES

ED25519, COSIGNATURE = 0x01, 0x04
"""What a key signs: notes as they are, or a witness's cosignatures with a time (c2sp.org/tlog-cosignature)."""

LONGEST_NOTE = 1_000_000
ROTATION = "pauseledger key rotation"
"""The first line of a note in which a key signs the one after it; then come the old key and the new one."""
_PUBLIC_BYTES = 32
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]+\Z")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")
_ORIGIN = re.compile(r"(?P<ledger>.+)/(?P<topic>[^/]+)/(?P<partition>0|[1-9][0-9]{0,9})\Z", re.DOTALL)
_MARK = "— "


class BadNote(ValueError):
    """No note, key or checkpoint, or not written as it must be."""


class VerifierKey(NamedTuple):
    """A public key as its owner gives it out. ``number`` is the key id of notes: 4 bytes, big-endian."""

    name: str
    number: int
    algorithm: int
    public: bytes

    def __str__(self) -> str:
        data = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.number:08x}+{data}"


class Signature(NamedTuple):
    """One signature line."""

    name: str
    number: int
    signature: bytes

    def __str__(self) -> str:
        data = base64.b64encode(self.number.to_bytes(4, "big") + self.signature).decode()
        return f"{_MARK}{self.name} {data}\n"


class Note(NamedTuple):
    """A text, which ends with a line's end, and who signed it."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"


class Checkpoint(NamedTuple):
    """How far a tree was, and its root there."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def place(self) -> tuple[str, str, int]:
        """Ledger, topic and partition of the origin. Raises ``BadNote``."""
        found = _ORIGIN.match(self.origin)
        if not found:
            raise BadNote(f"the origin {self.origin!r} is not LEDGER/TOPIC/PARTITION")
        return found["ledger"], found["topic"], int(found["partition"])


def is_key_name(name: str) -> bool:
    """Whether a key may have this name: not empty, without spaces, plus signs and control characters."""
    return bool(_NAME.match(name)) and len(name) <= 256


def verifier_key(name: str, public: bytes, algorithm: int = ED25519) -> VerifierKey:
    """The verifier key of a public key of 32 bytes. Raises ``BadNote`` for a name that no key may have."""
    if not is_key_name(name):
        raise BadNote(f"{name!r} is no name for a key: no spaces, no plus signs, at most 256 characters")
    hashed = hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + public).digest()
    return VerifierKey(name, int.from_bytes(hashed[:4], "big"), algorithm, public)


def read_verifier_key(text: str) -> VerifierKey:
    """A verifier key from its text, ``NAME+8 hex digits+base64``. Raises ``BadNote``."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise BadNote("a verifier key is NAME+ID+KEY")
    name, number, data = parts
    content = _decoded(data, "the verifier key")
    if len(content) != 1 + _PUBLIC_BYTES or content[0] not in (ED25519, COSIGNATURE):
        raise BadNote("the verifier key is no Ed25519 key")
    key = verifier_key(name, content[1:], content[0])
    if number != f"{key.number:08x}":
        raise BadNote("the verifier key's id is not that of its name and key")
    return key


def read_note(data: bytes) -> Note:
    """A signed note from its bytes. Raises ``BadNote``."""
    if len(data) > LONGEST_NOTE:
        raise BadNote("the note is too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadNote("the note is no UTF-8") from None
    if any(ord(one) < 0x20 and one != "\n" for one in text):
        raise BadNote("the note has control characters")
    body, mark, signatures = text.rpartition(f"\n\n{_MARK}")
    if not mark or not signatures.endswith("\n"):
        raise BadNote("the note has no signatures")
    lines = (_MARK + signatures)[:-1].split("\n")
    return Note(body + "\n", tuple(map(_signature, lines)))


def _signature(line: str) -> Signature:
    name, space, data = line.removeprefix(_MARK).partition(" ")
    if not line.startswith(_MARK) or not space or not is_key_name(name):
        raise BadNote("a signature line is not as it must be")
    content = _decoded(data, "a signature")
    if len(content) < 5:
        raise BadNote("a signature is too short")
    return Signature(name, int.from_bytes(content[:4], "big"), content[4:])


def read_checkpoint(text: str) -> Checkpoint:
    """A checkpoint from a note's text, without extension lines. Raises ``BadNote``."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise BadNote("a checkpoint has three lines: origin, size, root")
    if not _NUMBER.match(lines[1]):
        raise BadNote("the checkpoint's size is no number")
    root = _decoded(lines[2], "the checkpoint's root")
    if len(root) != HASH_BYTES:
        raise BadNote("the checkpoint's root is no SHA-256")
    return Checkpoint(lines[0], int(lines[1]), root)


def _decoded(data: str, what: str) -> bytes:
    """Base64 in its one right form."""
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadNote(f"{what} is no base64") from None
    if base64.b64encode(content).decode() != data:
        raise BadNote(f"{what} is not base64 as it must be written")
    return content
