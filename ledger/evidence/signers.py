"""Who signed a bundle: one and the same of the keys that the auditor brought must have signed every checkpoint in it.

A ledger whose key was rotated has had several. The auditor may give all that the ledger's owner vouches for; a bundle
rests on one of them, never on one key here and on another there. A key has the name of its ledger.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.evidence.failures import Refused
from ledger.evidence.notes import BadNote, Checkpoint, VerifierKey, read_checkpoint, read_note, read_verifier_key
from ledger.evidence.signatures import ForgedNote, signed_by

NOT_GIVEN = "key.txt is not a key that was given: another key signed this bundle"


class Signers:
    """The given keys that have signed every checkpoint so far. ``key_file`` is what ``key.txt`` holds."""

    def __init__(self, given: Sequence[VerifierKey], ledger: str, key_file: bytes) -> None:
        self._given, self._ledger = tuple(dict.fromkeys(given)), ledger
        self.keys = self._given
        self.named = self._read_named(key_file)
        """The key that ``key.txt`` names, where it is none of those given: nothing rests on it."""

    def _read_named(self, data: bytes) -> VerifierKey | None:
        if data in [f"{one}\n".encode() for one in self._given]:
            return None
        try:
            key = read_verifier_key(data.decode())
        except (BadNote, UnicodeDecodeError):
            raise Refused("forged", NOT_GIVEN) from None
        if f"{key}\n".encode() != data or key.name != self._ledger:
            raise Refused("forged", NOT_GIVEN)
        return key

    def checkpoint(self, name: str, data: bytes) -> Checkpoint:
        """The checkpoint of a file, which one of the keys signed that signed all before it. Raises ``Refused``.

        A key in ``key.txt`` that was not given must have signed beside it, as both do after a rotation.
        """
        try:
            note = read_note(data)
            checkpoint = read_checkpoint(note.text)
            signed = [one for one in self._given if signed_by(note, one)]  # each is looked at: a forged one is an end
            is_named = self.named is None or signed_by(note, self.named)
        except ForgedNote as error:
            raise Refused("forged", f"{name}: {error}") from None
        except BadNote as error:
            raise Refused("malformed", f"{name}: {error}") from None
        if not is_named:
            raise Refused("forged", NOT_GIVEN)
        if not signed:
            raise Refused("forged", f"{name}: no key that was given signed this checkpoint")
        ours = [one for one in signed if one.name == self._ledger]
        if not ours:
            raise Refused("forged", f"{name} is signed by {signed[0].name}, which is not this ledger")
        self.keys = tuple(one for one in ours if one in self.keys)
        if not self.keys:
            raise Refused("forged", f"{name}: no key that was given signed both this checkpoint and those before it")
        return checkpoint
