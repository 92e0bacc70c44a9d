"""Witnesses: whoever saw a checkpoint is kept beside it, whatever is published after, and nobody else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consumers.evidence.keys import WITNESSES, open_keys, rotate_keys
from consumers.evidence.witnesses import add_cosignatures, witnessed
from ledger.errors import WrongUsage
from ledger.evidence.notes import COSIGNATURE, Note, Signature, VerifierKey, read_note, verifier_key
from ledger.evidence.signatures import Cosigned
from tests.consumers.evidence.acme import Acme


class Witness:
    """A witness: it signs any checkpoint, with its time."""

    def __init__(self, name: str) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.key: VerifierKey = verifier_key(name, self._key.public_key().public_bytes_raw(), COSIGNATURE)

    def line(self, text: str, at: int = 1_790_000_000) -> Signature:
        signed = self._key.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        return Signature(self.key.name, self.key.number, at.to_bytes(8, "big") + signed)


@pytest.fixture
def witness() -> Witness:
    return Witness("witness.example/w1")


@pytest.fixture
def acme(tmp_path: Path, witness: Witness) -> Acme:
    acme = Acme(tmp_path)
    (acme.keys / WITNESSES).write_text(f"{witness.key}\n")
    acme.append(3)
    acme.checkpoint()
    return acme


def published(acme: Acme) -> Note:
    data = acme.store.read("checkpoint")
    assert data is not None
    return read_note(data)


def add(acme: Acme, data: bytes) -> None:
    with acme.notary() as notary:
        add_cosignatures(notary, data)


@pytest.mark.parametrize("form", ["note", "lines"])
def test_a_cosignature_is_kept_and_published(acme: Acme, witness: Witness, form: str) -> None:
    """As a note, or as the lines that a witness answers over HTTP; twice is once, and it stands beside ours."""
    text = published(acme).text
    line = witness.line(text)
    data = str(line) if form == "lines" else str(Note(text, (line,)))
    for _ in range(2):
        add(acme, data.encode())
    note = published(acme)
    assert witnessed(open_keys(acme.keys), note) == [Cosigned("witness.example/w1", 1_790_000_000)]
    assert len(note.signatures) == 2
    assert acme.checkpoint().note == note
    acme.look_at_all()


def test_it_stays_whatever_is_signed_after(acme: Acme, witness: Witness) -> None:
    """Of a newer checkpoint there is none, the old one keeps it, and a rotation adds to it."""
    line = witness.line(published(acme).text)
    add(acme, str(line).encode())
    rotate_keys(acme.keys)
    assert line in acme.checkpoint().note.signatures
    assert len(published(acme).signatures) == 3
    acme.append(1)
    acme.checkpoint()
    assert len(published(acme).signatures) == 1
    assert line in acme.signed()[0].note.signatures


def test_one_for_an_older_checkpoint_is_kept_with_that(acme: Acme, witness: Witness) -> None:
    """A witness that is slow is not lost; what is published is the newest still."""
    old = published(acme)
    acme.append(1)
    newest = acme.checkpoint()
    add(acme, str(Note(old.text, (*old.signatures, witness.line(old.text)))).encode())
    assert published(acme) == newest.note
    assert len(acme.signed()[0].note.signatures) == 2


def test_what_somebody_put_beside_the_published_checkpoint_is_taken_in(acme: Acme, witness: Witness) -> None:
    """A cosignature that was written there by another program is not lost when the checkpoint is published again."""
    note = published(acme)
    line = witness.line(note.text)
    acme.store.publish(str(note._replace(signatures=(*note.signatures, line))).encode(), str(note).encode())
    assert line in acme.checkpoint().note.signatures
    assert line in acme.signed()[0].note.signatures


def test_nobody_else_is_kept(acme: Acme, witness: Witness) -> None:
    """A stranger, a forger, another checkpoint, our own key alone, and what is no note."""
    before = published(acme)
    forged = witness.line(before.text)._replace(signature=bytes(72))
    other = before.text.replace("\n4\n", "\n5\n")
    refused = [
        str(Note(before.text, (Witness("witness.example/w1").line(before.text),))),
        str(Note(before.text, (Witness("stranger").line(before.text),))),
        str(Note(before.text, (forged,))),
        str(Note(other, (witness.line(other),))),
        str(Note("acme/other/0\n4\nAA==\n", (witness.line("x\n"),))),
        str(before),
        str(witness.line(other)),
        "",
        "— ",
        "\x00",
    ]
    for data in refused:
        with pytest.raises(WrongUsage):
            add(acme, data.encode())
    assert published(acme) == before


def test_strangers_beside_a_witness_are_left_out(acme: Acme, witness: Witness) -> None:
    """Only lines that hold by a known key are taken over."""
    text = published(acme).text
    lines = (witness.line(text), Witness("stranger").line(text))
    add(acme, str(Note(text, lines)).encode())
    assert len(published(acme).signatures) == 2


def test_lines_that_say_nothing_to_us_stay_where_they_were_put(acme: Acme, witness: Witness) -> None:
    """A stranger's is left beside the published checkpoint and is not in the journal; a forged one goes."""
    note = published(acme)
    stranger = Witness("stranger").line(note.text)
    forged = witness.line(note.text)._replace(signature=bytes(72))
    other = note._replace(signatures=(*note.signatures, stranger, forged))
    acme.store.publish(str(other).encode(), str(note).encode())
    assert acme.checkpoint().note == note
    line = witness.line(note.text)
    add(acme, str(line).encode())
    assert published(acme).signatures == (*note.signatures, line, stranger)
    assert acme.signed()[0].note.signatures == (*note.signatures, line)


def test_nobody_fills_the_journal_with_lines(acme: Acme) -> None:
    """Whoever may write where checkpoints are published makes nothing grow but that one file."""
    note = published(acme)
    many = [Witness("stranger").line(note.text)._replace(number=n) for n in range(5_000)]
    acme.store.publish(str(note._replace(signatures=(*note.signatures, *many))).encode(), str(note).encode())
    assert acme.checkpoint().note == note
    assert len(published(acme).signatures) == 65
    acme.append(1)
    assert acme.checkpoint().note == published(acme)
