"""A proof of inclusion as a text that foreign tools verify: C2SP's tlog-proof (c2sp.org/tlog-proof)."""

from __future__ import annotations

import base64
from collections.abc import Sequence

PROOF_HEADER = "c2sp.org/tlog-proof@v1"


def inclusion_text(index: int, hashes: Sequence[bytes], note: str) -> str:
    """That a leaf is in the tree of a checkpoint, whose note stands at the end as it was signed."""
    proof = "".join(f"{base64.b64encode(one).decode()}\n" for one in hashes)
    return f"{PROOF_HEADER}\nindex {index}\n{proof}\n{note}"
