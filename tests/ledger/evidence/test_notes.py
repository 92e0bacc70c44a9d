"""Signed notes, keys, checkpoints: C2SP's own example, round trips, and what must not be read."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.evidence.notes import (
    COSIGNATURE,
    BadNote,
    Checkpoint,
    Note,
    Signature,
    read_checkpoint,
    read_note,
    read_verifier_key,
    verifier_key,
)
from ledger.evidence.signatures import Cosigned, ForgedNote, Signer, cosigned_by, signed_by, signed_checkpoint

# From the documentation of Go's golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SIGNER = Signer("acme", bytes(range(32)))
CHECKPOINT = Checkpoint("acme/log/0", 3, bytes(range(32)))
SIGNED = Note(CHECKPOINT.text, (SIGNER.sign(CHECKPOINT.text),))


def test_gos_own_example_holds() -> None:
    """A note that another implementation signed, and its key, come out as they went in."""
    key = read_verifier_key(GO_KEY)
    note = read_note(GO_NOTE.encode())
    assert (str(key), str(note)) == (GO_KEY, GO_NOTE)
    assert signed_by(note, key)
    with pytest.raises(ForgedNote):
        signed_by(note._replace(text=note.text + "?\n"), key)


def test_a_checkpoint_is_signed_and_read() -> None:
    """It says origin, size and root, and is the same bytes each time."""
    data = str(SIGNED).encode()
    assert signed_checkpoint(data, SIGNER.verifier) == CHECKPOINT
    assert CHECKPOINT.place() == ("acme", "log", 0)
    assert str(Note(CHECKPOINT.text, (SIGNER.sign(CHECKPOINT.text),))).encode() == data


def test_another_key_did_not_sign_it() -> None:
    """Neither another key of that name, nor the same key under another name."""
    data = str(SIGNED).encode()
    for other in (Signer("acme", bytes(32)), Signer("acme2", bytes(range(32)))):
        with pytest.raises(ForgedNote):
            signed_checkpoint(data, other.verifier)


def test_every_flipped_byte_is_found() -> None:
    """Whatever byte of a signed checkpoint changes, it is not that checkpoint any more."""
    data = str(SIGNED).encode()
    for at in range(len(data)):
        for bit in (1, 32):
            changed = bytearray(data)
            changed[at] ^= bit
            with pytest.raises(BadNote):
                signed_checkpoint(bytes(changed), SIGNER.verifier)


def test_a_private_key_is_not_shown() -> None:
    """What is printed of a signer is its public key."""
    assert repr(SIGNER) == f"Signer({SIGNER.verifier})"


def test_a_witness_cosigns() -> None:
    """With its own time; a time that was changed is a forgery, and a stranger's line says nothing."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    witness = verifier_key("witness.example/w", private.public_key().public_bytes_raw(), COSIGNATURE)
    message = f"cosignature/v1\ntime 1700000000\n{SIGNED.text}".encode()
    content = (1700000000).to_bytes(8, "big") + private.sign(message)
    line = Signature(witness.name, witness.number, content)
    note = read_note(str(SIGNED._replace(signatures=(*SIGNED.signatures, line))).encode())
    assert cosigned_by(note, witness) == Cosigned(witness.name, 1700000000)
    assert cosigned_by(SIGNED, witness) is None
    later = line._replace(signature=(1700000001).to_bytes(8, "big") + content[8:])
    with pytest.raises(ForgedNote):
        cosigned_by(SIGNED._replace(signatures=(later,)), witness)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme/log/0\n3\n",
        CHECKPOINT.text + "more\n",
        CHECKPOINT.text[:-1],
        CHECKPOINT.text.replace("\n3\n", "\n03\n"),
        CHECKPOINT.text.replace("\n3\n", "\n-3\n"),
        CHECKPOINT.text.replace("\n3\n", "\n٣\n"),
        CHECKPOINT.text.replace("=", ""),
        "\n3\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "acme/log/0\n3\n" + base64.b64encode(bytes(31)).decode() + "\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """Missing or additional lines, another way to write a number, a root of another length."""
    with pytest.raises(BadNote):
        read_checkpoint(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        "text\n\n— acme AAAA\n".encode(),
        "text\n\n— acme AAAAAAAA".encode(),
        "text\n\n— acme  AAAAAAAA\n".encode(),
        "text\n\n— ac+me AAAAAAAA\n".encode(),
        "text\n\n— acme AAAAAAAA\nmore\n".encode(),
        "te\rxt\n\n— acme AAAAAAAA\n".encode(),
        b"\xff\n\n\xe2\x80\x94 acme AAAAAAAA\n",
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    """No signatures, a line that is none, control characters, no UTF-8."""
    with pytest.raises(BadNote):
        read_note(data)


@pytest.mark.parametrize(
    "text", ["", "acme", "acme+1+2", GO_KEY.replace("c74f", "c74e"), "ac me" + GO_KEY, GO_KEY[:-4]]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    """A wrong id, a wrong name, a wrong length."""
    with pytest.raises(BadNote):
        read_verifier_key(text)
