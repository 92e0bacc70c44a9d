"""The store key: what wraps the keys of data subjects, so that a copy of the key store alone opens nothing.

A store key is 32 to 64 random bytes in base64. It lies where the store does not: in the environment, from a vault.
"""

from __future__ import annotations

import base64
import binascii

from ledger.errors import WrongUsage
from ledger.sealing import decrypted, encrypted

NAME = "PAUSELEDGER_PERSONAL_STORE_KEY"
MAKE_ONE = 'Make one with: python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
_BYTES = range(32, 65)
_INFO = b"pauseledger personal store key v1"


class StoreKey:
    """Wraps what a store keeps. Never printed."""

    def __init__(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.hashes import SHA512
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        self._key = HKDF(algorithm=SHA512(), length=64, salt=None, info=_INFO).derive(secret)

    def wrap(self, plain: bytes, name: str) -> bytes:
        """A secret, bound to the name under which the store keeps it."""
        return encrypted(self._key, plain, [name.encode()])

    def unwrap(self, wrapped: bytes, name: str) -> bytes | None:
        """The inverse; null where another store key wrapped it, or under another name."""
        return decrypted(self._key, wrapped, [name.encode()])


def read_store_key(text: str, name: str = NAME) -> StoreKey | None:
    """The store key that a setting gives; null where it is empty. Raises ``WrongUsage``, which doesn't quote it."""
    if not text:
        return None
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) not in _BYTES:
        raise WrongUsage(f"{name} must be the base64 of 32 to 64 bytes.", MAKE_ONE)
    return StoreKey(secret)
