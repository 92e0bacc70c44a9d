"""Bundles that change while they are read: what was hashed must be what was judged and shown."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from ledger.evidence.bundle import ENTRIES, REPORT, VERDICTS, Query, in_order
from ledger.evidence.containers import FolderContainer, ZipContainer
from ledger.evidence.entries_file import read_entries
from ledger.evidence.failures import Refused
from ledger.evidence.verify import Trusted, verify
from ledger.evidence.zips import write_zip
from tests.ledger.evidence import forging
from tests.ledger.evidence.ledgers import SIGNER, ledger

TRUSTED = Trusted(SIGNER.verifier)


@pytest.mark.parametrize("name", [ENTRIES, VERDICTS, REPORT])
def test_a_folder_that_changes_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other bytes of the same length, once a file was read, make the bundle a refused one."""
    folder = tmp_path / "bundle"
    ledger().export(folder, Query(all=True))
    assert verify(folder, TRUSTED).ok
    _write_when_opened(monkeypatch, FolderContainer, name, folder / name)
    found = verify(folder, TRUSTED)
    assert not found.ok
    assert found.failures[0].kind == "changed"
    assert name in found.failures[0].detail
    assert not found.proven


def test_a_zip_that_changes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of a zip that is written over in its place."""
    folder, packed = tmp_path / "bundle", tmp_path / "bundle.zip"
    ledger().export(folder, Query(all=True))
    with packed.open("wb") as out:
        write_zip(out, folder, in_order(list(forging.read(folder))))
    assert verify(packed, TRUSTED).ok
    _write_when_opened(monkeypatch, ZipContainer, REPORT, packed)
    assert verify(packed, TRUSTED).failures[0].kind == "changed"


def test_a_record_that_is_read_again_is_the_same() -> None:
    """A record that was put in the place of the one that was hashed is not judged."""
    line = b'{"partition":0,"offset":0,"recorded_at":1,"key":"T","value":"%s","headers":[]}\n'
    entries = read_entries(io.BytesIO(line % b"what was signed"), {0: 1}, 1, None)
    for other in (line % b"what was forged", b"no record\n", b""):
        with pytest.raises(Refused):
            list(entries.read(io.BytesIO(other), [0]))


def _write_when_opened(monkeypatch: pytest.MonkeyPatch, kind: Any, name: str, path: Path) -> None:
    """The last byte of a file becomes another, and what it was once more, each time the verifier has opened it."""
    opening = kind.open

    def opened(self: Any, asked: str, *more: int) -> BinaryIO:
        file: BinaryIO = opening(self, asked, *more)
        if asked == name:
            data = path.read_bytes()
            path.write_bytes(data[:-1] + b"x")
            path.write_bytes(data)
        return file

    monkeypatch.setattr(kind, "open", opened)
