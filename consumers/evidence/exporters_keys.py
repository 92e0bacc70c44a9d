"""What an exporter needs of the keys: the public one, and the one of the tags. It signs nothing.

So it runs under an account that can't: its folder has ``notary.vkey``, the line that ``pauseledger keys show`` prints,
and a copy of ``tag.key``. The notary's own folder will do, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from consumers.evidence.keys import NOTARY_KEY, PUBLIC_KEY, TAG_KEY, open_keys, read_tag_key
from ledger.errors import WrongUsage
from ledger.evidence.leaves import Genesis, tag_key_digest
from ledger.evidence.notes import BadNote, VerifierKey, read_verifier_key
from ledger.log import Identity


class ExportersKeys(NamedTuple):
    """The public key of the ledger, and the key of its tags."""

    verifier: VerifierKey
    tag_key: bytes

    def genesis(self, identity: Identity, partition: int) -> Genesis:
        """Leaf 0 of a partition's tree."""
        digest = tag_key_digest(self.tag_key)
        return Genesis(self.verifier.name, identity.topic, identity.topic_id, partition, identity.partitions, digest)

    def __repr__(self) -> str:
        return f"ExportersKeys({self.verifier})"


def open_exporters_keys(folder: Path) -> ExportersKeys:
    """The keys of a folder, the notary's or an exporter's own. Raises ``WrongUsage`` where there are none."""
    if not is_exporters(folder):
        keys = open_keys(folder)
        return ExportersKeys(keys.verifier, keys.tag_key)
    return ExportersKeys(read_public_key(folder), read_tag_key(folder / TAG_KEY))


def is_exporters(folder: Path) -> bool:
    """Whether the folder has a public key, and no notary's."""
    return not (folder / NOTARY_KEY).exists() and (folder / PUBLIC_KEY).exists()


def read_public_key(folder: Path) -> VerifierKey:
    """The public key that an exporter was given. Raises ``WrongUsage`` where there is none."""
    public = folder / PUBLIC_KEY
    try:
        return read_verifier_key(public.read_text(encoding="utf-8"))
    except (OSError, BadNote, UnicodeDecodeError) as error:
        raise WrongUsage(f"{public} has no public key: {error}.", "Put there what `keys show` prints.") from None
