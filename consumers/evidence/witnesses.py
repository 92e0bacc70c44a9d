"""Cosignatures of witnesses (c2sp.org/tlog-cosignature): whoever saw a checkpoint says so, and when.

A witness's answer is a note, or its signature lines alone, as a witness over HTTP gives them. One counts only if it
holds by a key of the file ``witnesses``; it is kept beside our signature, and published with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumers.evidence.keys import Keys
from ledger.errors import WrongUsage
from ledger.evidence.notes import BadNote, Note, Signature, read_checkpoint, read_note
from ledger.evidence.signatures import Cosigned, cosigned_by

if TYPE_CHECKING:
    from consumers.evidence.journal import Signed
    from consumers.evidence.notary import Notary

_KEY_FILE = "the file `witnesses` of the keys' folder"
_WHOLE = "Give the whole note that the witness returned: the checkpoint, an empty line, and the signature lines."
_ADVICE = "Give the note that the witness returned, and have its key in the file `witnesses` of the keys' folder."


def witnessed(keys: Keys, note: Note) -> list[Cosigned]:
    """Which of the witnesses have cosigned a note, and when. Raises ``ForgedNote``."""
    found = [cosigned_by(note, witness) for witness in keys.witnesses]
    return [one for one in found if one is not None]


def add_cosignatures(notary: Notary, data: bytes) -> tuple[int, Signed]:
    """Keep what witnesses have signed, and publish it where it is of the newest checkpoint; of which partition.

    Raises ``WrongUsage`` where no witness's key holds, or the checkpoint is none of ours.
    """
    note = _as_note(notary, data)
    try:
        checkpoint = read_checkpoint(note.text)
        ledger, topic, partition = checkpoint.place()
    except BadNote as error:
        raise WrongUsage(f"That is no checkpoint: {error}.", _ADVICE) from None
    known = notary.journal.at(checkpoint.origin, checkpoint.size)
    if (ledger, topic) != (notary.keys.name, notary.identity.topic) or known is None or known.checkpoint != checkpoint:
        where = f"{checkpoint.origin} at {checkpoint.size} leaves"
        raise WrongUsage(f"The checkpoint of {where} with that root was not signed here.", _ADVICE)
    added = lines_that_hold(notary.keys, note)
    if not added:
        _refuse_unknown_witness(notary.keys, note)
        raise WrongUsage("The witness's line does not hold for this checkpoint: it is of another one, or changed.")
    return partition, notary.add_signatures(partition, checkpoint, added)


def lines_that_hold(keys: Keys, note: Note) -> list[Signature]:
    """The signature lines of witnesses whose keys are known, where they hold."""
    return [line for line in note.signatures if _holds(keys, note._replace(signatures=(line,)))]


def lines_of_strangers(keys: Keys, note: Note) -> list[Signature]:
    """The lines of whoever is not known here: they are nobody's claim, and left to those who know them."""
    known = {(one.name, one.number) for one in (*keys.verifiers, *keys.witnesses)}
    return [line for line in note.signatures if (line.name, line.number) not in known]


def _holds(keys: Keys, note: Note) -> bool:
    try:
        return bool(witnessed(keys, note))
    except BadNote:
        return False


def _as_note(notary: Notary, data: bytes) -> Note:
    """A note; of signature lines alone, that of the newest checkpoint that they hold for."""
    try:
        return read_note(data)
    except BadNote as error:
        problem = error
    try:
        lines = read_note(b"\n\n" + data)
    except BadNote:
        raise WrongUsage(f"That is neither a signed note nor signature lines: {problem}.", _WHOLE) from None
    _refuse_unknown_witness(notary.keys, lines)
    for partition in range(notary.identity.partitions):
        newest = notary.journal.newest(notary.origin_of(partition))
        try:
            if newest is not None and witnessed(
                notary.keys, note := read_note(newest.note.text.encode() + b"\n" + data)
            ):
                return note
        except BadNote:
            continue
    raise WrongUsage("These lines hold for none of the newest checkpoints: they are of another one.", _WHOLE)


def _refuse_unknown_witness(keys: Keys, note: Note) -> None:
    """Raises ``WrongUsage`` where no line is of a key that is known."""
    known = {(one.name, one.number) for one in keys.witnesses}
    if all((one.name, one.number) not in known for one in note.signatures):
        who = ", ".join(sorted({f"{one.name} ({one.number:08x})" for one in note.signatures})[:3])
        raise WrongUsage(f"No line is by a witness whose key is known: they are by {who}.", f"Put it into {_KEY_FILE}.")
