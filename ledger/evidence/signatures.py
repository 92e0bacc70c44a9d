"""Who signed a note: Ed25519, by ``cryptography``.

A note may carry signatures of keys that nobody here knows: they are left alone. One that carries a known key's name and
number, and does not hold, makes the whole note a forgery.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.evidence.notes import (
    COSIGNATURE,
    ED25519,
    BadNote,
    Checkpoint,
    Note,
    Signature,
    VerifierKey,
    read_checkpoint,
    read_note,
    verifier_key,
)

_TIME_BYTES, _SIGNATURE_BYTES = 8, 64


class ForgedNote(BadNote):
    """A note that the expected key did not sign."""


class Cosigned(NamedTuple):
    """A witness saw the checkpoint. ``at`` is its clock, in seconds since 1970."""

    name: str
    at: int


class Signer:
    """A private key under a name: it signs notes. Its ``repr`` shows the public key only."""

    def __init__(self, name: str, private: bytes) -> None:
        """``private`` is the seed, 32 bytes. Raises ``BadNote`` for a name that no key may have."""
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.verifier = verifier_key(name, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Signer({self.verifier})"

    def sign(self, text: str) -> Signature:
        """The signature line for a text. The same for the same text."""
        return Signature(self.verifier.name, self.verifier.number, self._key.sign(text.encode()))


def verify_signature(key: VerifierKey, signature: bytes, message: bytes) -> bool:
    """Whether a signature holds. False for keys and signatures that are none."""
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def signed_by(note: Note, key: VerifierKey) -> bool:
    """Whether a key signed this note; else false. Raises ``ForgedNote`` where it is said to, and did not."""
    found = [one.signature for one in note.signatures if (one.name, one.number) == (key.name, key.number)]
    for signature in found:
        if key.algorithm != ED25519 or not verify_signature(key, signature, note.text.encode()):
            raise ForgedNote(f"the signature of {key.name} does not hold")
    return bool(found)


def cosigned_by(note: Note, witness: VerifierKey) -> Cosigned | None:
    """When a witness cosigned this checkpoint; else null. Raises ``ForgedNote`` where that does not hold."""
    for one in note.signatures:
        if (one.name, one.number) != (witness.name, witness.number):
            continue
        if witness.algorithm != COSIGNATURE or len(one.signature) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise ForgedNote(f"the cosignature of {witness.name} is none")
        at = int.from_bytes(one.signature[:_TIME_BYTES], "big")
        message = f"cosignature/v1\ntime {at}\n{note.text}".encode()
        if not verify_signature(witness, one.signature[_TIME_BYTES:], message):
            raise ForgedNote(f"the cosignature of {witness.name} does not hold")
        return Cosigned(witness.name, at)
    return None


def signed_checkpoint(data: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint of a note that ``key`` signed. Raises ``BadNote``, or ``ForgedNote`` where it did not sign it."""
    note = read_note(data)
    if not signed_by(note, key):
        raise ForgedNote(f"{key.name} did not sign this checkpoint, or another key of that name did")
    return read_checkpoint(note.text)
