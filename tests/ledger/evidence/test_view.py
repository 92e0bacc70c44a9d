"""A checkpoint for readers: who put a line under it, and when they say they did."""

from __future__ import annotations

import pytest

from ledger.evidence.merkle import EMPTY_ROOT
from ledger.evidence.notes import BadNote, Checkpoint, Note, Signature
from ledger.evidence.signatures import Signer
from ledger.evidence.view import Cosignature, checkpoint_view


def test_a_checkpoint_shows_its_cosignatures() -> None:
    """The notary's own line is not one; a witness's shows its time, another signature none."""
    text = Checkpoint("acme/pauses/2", 41, EMPTY_ROOT).text
    witness = Signature("witness.example", 7, (1_774_688_400).to_bytes(8, "big") + bytes(64))
    other = Signature("other", 8, bytes(64))
    data = str(Note(text, (Signer("acme", bytes(32)).sign(text), witness, other))).encode()
    view = checkpoint_view(2, data)
    assert view.cosigned == (Cosignature("witness.example", 1_774_688_400), Cosignature("other", None))
    assert (view.partition, view.size, view.root, view.origin) == (2, 41, EMPTY_ROOT.hex(), "acme/pauses/2")
    assert view.note.encode() == data


def test_what_is_no_checkpoint_is_refused() -> None:
    """Any other bytes raise what a bad note raises."""
    with pytest.raises(BadNote):
        checkpoint_view(0, b"acme/pauses/0\n1\n")
