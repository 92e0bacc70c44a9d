"""Key stores for tests: in a file, and in a real PostgreSQL."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from consumers.personal.opening import key_store
from consumers.personal.store import KeyStore
from consumers.settings import Settings
from tests.faults.ledgers import url

STORE_KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_STORE_KEY = base64.b64encode(bytes(range(1, 33))).decode()


def settings(folder: Path, keys: str | None = None, store_key: str = "", **given: Any) -> Settings:
    """The settings of a ledger in a folder, with a key store beside it unless told otherwise."""
    place = keys or url(folder / "keys.db")
    return Settings.read(
        url(folder / "pauseledger.db"), personal_keys=place, personal_store_key=store_key or None, **given
    )


def store(folder: Path, keys: str | None = None, store_key: str = "") -> KeyStore:
    return key_store(settings(folder, keys, store_key), create=True)


def files_of(path: Path) -> bytes:
    """All that lies in an SQLite file and beside it."""
    return b"".join(one.read_bytes() for one in sorted(path.parent.glob(f"{path.name}*")))
