"""Zips and folders that were made to hurt whoever reads them: nothing is written, followed or waited for."""

from __future__ import annotations

import io
import os
import socket
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.evidence.bundle import Query, in_order
from ledger.evidence.covering import covered
from ledger.evidence.verify import Trusted, verify
from ledger.evidence.zips import read_zip, write_zip
from tests.ledger.evidence import forging
from tests.ledger.evidence.forging import Files
from tests.ledger.evidence.ledgers import SIGNER, ledger

KEY = SIGNER.verifier
ZipTrick = Callable[[bytes, Files], bytes]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "bundle"
    ledger().export(folder, Query(subjects=("T-1",), formats=("csv",)))
    with (folder.parent / "bundle.zip").open("wb") as out:
        write_zip(out, folder, in_order(list(forging.read(folder))))
    return folder


def rezipped(files: Files, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The same files, by the standard library."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name in in_order(list(files)):
            archive.writestr(zipfile.ZipInfo(name), files[name], compression)
    return out.getvalue()


def with_member(files: Files, name: str, data: bytes = b"x", mode: int = 0o100644) -> bytes:
    """The same files and one more, by the standard library."""
    out = io.BytesIO(rezipped(files))
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, data)
    return out.getvalue()


def with_name(packed: bytes, old: str, new: str) -> bytes:
    """A member under another name of the same length, in both headers."""
    assert len(old.encode()) == len(new.encode())
    return packed.replace(old.encode(), new.encode())


def at(packed: bytes, offset: int, data: bytes) -> bytes:
    return packed[:offset] + data + packed[offset + len(data) :]


def central(packed: bytes) -> int:
    return int.from_bytes(packed[-6:-2], "little")


def moved(packed: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Something before the list of files, which still lies where the end says that it does."""
    begin = central(packed)
    members = change(packed[:begin])
    return members + packed[begin:-6] + struct.pack("<I", len(members)) + packed[-2:]


def overlapping(packed: bytes, files: Files) -> bytes:
    """The second file's header is the first one's: one body, read twice."""
    second = packed.index(b"PK\x01\x02", central(packed) + 1)
    return at(packed, second + 42, bytes(4))


def bomb(packed: bytes, files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in in_order(list(files)):
            archive.writestr(zipfile.ZipInfo(name), bytes(50_000_000) if name == "entries.jsonl" else files[name], 8)
    return out.getvalue()


ZIP_TRICKS: dict[str, ZipTrick] = {
    "compressed": lambda packed, files: rezipped(files, zipfile.ZIP_DEFLATED),
    "by another program": lambda packed, files: rezipped(files),
    "a bomb": bomb,
    "a path out": lambda packed, files: with_member(files, "../../evil"),
    "an absolute path": lambda packed, files: with_member(files, "/tmp/ev-export-evil"),
    "a drive": lambda packed, files: with_member(files, "C:\\evil"),
    "a backslash": lambda packed, files: with_member(files, "..\\evil"),
    "an empty name": lambda packed, files: with_name(packed, "key.txt", "\0\0\0\0\0\0\0"),
    "a link": lambda packed, files: with_member(files, "link", b"/etc/passwd", 0o120777),
    "a folder": lambda packed, files: with_member(files, "csv/", b""),
    "folders in folders": lambda packed, files: with_member(files, "csv/a/b"),
    "a name that is no text": lambda packed, files: packed.replace(b"key.txt", b"key.tx\xff"),
    "two of one name": lambda packed, files: with_name(packed, "README.txt", "report.htm"),
    "a twin in another case": lambda packed, files: with_member(files, "MANIFEST.JSON"),
    "a name that leads out in place": lambda packed, files: with_name(packed, "key.txt", "../../k"),
    "encrypted": lambda packed, files: at(packed, 6, b"\x01\x08"),
    "sizes behind the data": lambda packed, files: at(packed, 6, b"\x08\x08"),
    "another method": lambda packed, files: at(packed, 8, b"\x08\x00"),
    "another date": lambda packed, files: at(packed, 12, b"\x22\x00"),
    "another checksum": lambda packed, files: at(packed, 14, b"\0\0\0\0"),
    "another checksum in both places": lambda packed, files: at(
        at(packed, 14, b"\0\0\0\0"), central(packed) + 16, b"\0\0\0\0"
    ),
    "another size in one place": lambda packed, files: at(packed, 18, b"\1\0\0\0"),
    "a mode that runs": lambda packed, files: at(packed, central(packed) + 38, b"\0\0\xff\x81"),
    "a comment": lambda packed, files: packed[:-2] + b"\4\0more",
    "something before": lambda packed, files: b"#!/bin/sh\n" + packed,
    "something before, all moved": lambda packed, files: moved(packed, lambda members: b"PK" + members),
    "something behind": lambda packed, files: packed + b"\0",
    "something between": lambda packed, files: moved(packed, lambda members: members + b"hidden"),
    "files that overlap": overlapping,
    "cut": lambda packed, files: packed[:-1],
    "cut in the middle": lambda packed, files: packed[: len(packed) // 2],
    "nothing but an end": lambda packed, files: b"PK\5\6" + bytes(18),
    "too many files": lambda packed, files: packed[:-14] + b"\xfe\xff\xfe\xff" + packed[-10:],
    "a list that lies outside": lambda packed, files: packed[:-6] + b"\xf0\xff\xff\xff\0\0",
    "a large end that is none": lambda packed, files: packed[:-6] + b"\xff\xff\xff\xff\0\0",
    "a large list": lambda packed, files: packed[:-10] + b"\xf0\xff\xff\x7f" + packed[-6:],
    "empty": lambda packed, files: b"",
    "no zip": lambda packed, files: b"%PDF-1.7\n" * 100,
    "a zip in front": lambda packed, files: packed + packed,
    "folded names": lambda packed, files: with_name(packed, "key.txt", "key.TXT"),
}


@pytest.mark.parametrize("name", ZIP_TRICKS)
def test_a_zip_that_plays_tricks_is_refused(name: str, sound: Path, tmp_path: Path) -> None:
    """Nothing in a zip is anything but what we write there, and reading it leaves no trace."""
    packed = (sound.parent / "bundle.zip").read_bytes()
    trick = ZIP_TRICKS[name](packed, forging.read(sound))
    assert trick != packed
    path = tmp_path / "inner" / "bundle.zip"
    path.parent.mkdir()
    path.write_bytes(trick)
    found = verify(path, Trusted(KEY))
    assert [one.kind for one in found.failures] == ["malformed"], found.failures
    assert [str(one.relative_to(tmp_path)) for one in sorted(tmp_path.rglob("*"))] == ["inner", "inner/bundle.zip"]
    assert not Path("/tmp/ev-export-evil").exists()


def test_every_byte_of_a_zips_headers_counts(sound: Path, tmp_path: Path) -> None:
    """There is no byte in the headers that may be another."""
    packed = (sound.parent / "bundle.zip").read_bytes()
    begin = central(packed)
    path = tmp_path / "bundle.zip"
    for offset in [*range(30), *range(begin, begin + 60), *range(len(packed) - 22, len(packed))]:
        path.write_bytes(at(packed, offset, bytes([packed[offset] ^ 1])))
        assert not verify(path, Trusted(KEY)).ok, offset


def test_a_zip_is_one_for_other_programs_too(sound: Path) -> None:
    """The standard library reads it, checks it, and finds the same files in it."""
    with zipfile.ZipFile(sound.parent / "bundle.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == forging.read(sound)
        assert archive.namelist()[0] == "manifest.json"


@pytest.mark.soak
def test_a_zip_may_be_larger_than_four_gigabytes(sound: Path, tmp_path: Path) -> None:
    """Members behind the limit of old zips, and larger than it, are found again, by the standard library too."""
    folder = tmp_path / "large"
    folder.mkdir()
    with (folder / "leaves-0").open("wb") as file:
        file.truncate(2**32 + 5)
    (folder / "verdicts.jsonl").write_bytes(b"behind")
    packed = tmp_path / "large.zip"
    with packed.open("wb") as out:
        write_zip(out, folder, ["leaves-0", "verdicts.jsonl"])
    with zipfile.ZipFile(packed) as archive:
        assert [(one.filename, one.file_size) for one in archive.infolist()] == [
            ("leaves-0", 2**32 + 5),
            ("verdicts.jsonl", 6),
        ]
        assert archive.read("verdicts.jsonl") == b"behind"
    with packed.open("rb") as file:
        assert [(one.name, one.size) for one in read_zip(file.fileno())] == [
            ("leaves-0", 2**32 + 5),
            ("verdicts.jsonl", 6),
        ]
    packed.unlink()


def linked(folder: Path) -> None:
    """A file is a link to the very same bytes outside."""
    (folder / "entries.jsonl").rename(folder.parent / "outside")
    (folder / "entries.jsonl").symlink_to(folder.parent / "outside")


def linked_folder(folder: Path) -> None:
    (folder / "csv").rename(folder.parent / "outside")
    (folder / "csv").symlink_to(folder.parent / "outside")


def piped(folder: Path) -> None:
    """A file is a pipe that nobody writes into."""
    (folder / "entries.jsonl").unlink()
    os.mkfifo(folder / "entries.jsonl")


def bound(folder: Path) -> None:
    (folder / "entries.jsonl").unlink()
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket may not be long
        try:
            one.bind("entries.jsonl")
        finally:
            os.chdir(here)


def to_a_device(folder: Path) -> None:
    (folder / "entries.jsonl").unlink()
    (folder / "entries.jsonl").symlink_to("/dev/zero")


def nested(folder: Path) -> None:
    (folder / "csv" / "more").mkdir()


def a_folder_more(folder: Path) -> None:
    (folder / "more").mkdir()


def an_empty_folder(folder: Path) -> None:
    (folder / "parquet").mkdir()


def a_folder_for_a_file(folder: Path) -> None:
    (folder / "entries.jsonl").unlink()
    (folder / "entries.jsonl").mkdir()


def a_name_in_other_bytes(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff\x1b[2J")).write_bytes(b"")


def hidden(folder: Path) -> None:
    (folder / ".hidden").write_bytes(b"")


FOLDER_TRICKS = [
    linked, linked_folder, piped, bound, to_a_device, nested, a_folder_more, an_empty_folder, a_folder_for_a_file,
    a_name_in_other_bytes, hidden,
]  # fmt: skip


@pytest.mark.parametrize("trick", FOLDER_TRICKS, ids=lambda trick: trick.__name__)
def test_a_folder_that_plays_tricks_is_refused(trick: Callable[[Path], None], sound: Path, tmp_path: Path) -> None:
    """No link is followed, no pipe is waited for, and nothing is shown that a terminal would act on."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    forging.write(forging.read(sound), folder)
    assert verify(folder, Trusted(KEY)).ok
    trick(folder)
    found = verify(folder, Trusted(KEY))
    assert found.failures[0].kind == "malformed"
    assert "\x1b" not in found.failures[0].detail


def test_what_is_neither_folder_nor_file_is_no_bundle(tmp_path: Path) -> None:
    """A pipe that is named as the bundle is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    assert verify(tmp_path / "pipe", Trusted(KEY)).failures[0].kind == "malformed"
    assert verify(Path("/dev/zero"), Trusted(KEY)).failures[0].kind == "malformed"


def test_a_bundle_may_lie_behind_a_link(sound: Path, tmp_path: Path) -> None:
    """Where the bundle lies is the caller's own word: a link there is followed."""
    (tmp_path / "link").symlink_to(sound)
    (tmp_path / "link.zip").symlink_to(sound.parent / "bundle.zip")
    assert verify(tmp_path / "link", Trusted(KEY)).ok
    assert verify(tmp_path / "link.zip", Trusted(KEY)).ok


def test_a_bundle_that_changes_while_it_is_read_is_refused(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is judged is what was found under the signed root, not what lies there a moment later."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    forging.write(forging.read(sound), folder)
    entries = folder / "entries.jsonl"

    def change_afterwards(*given: Any) -> Any:
        found = covered(*given)
        entries.write_bytes(entries.read_bytes().replace(b"an annotation", b"no annotation"))
        return found

    monkeypatch.setattr("ledger.evidence.verify.covered", change_afterwards)
    found = verify(folder, Trusted(KEY))
    assert [one.kind for one in found.failures] == ["changed"]
    assert "while the bundle was read" in found.failures[0].detail


@pytest.mark.parametrize(
    "name", [".DS_Store", "Thumbs.db", "desktop.ini", "._README.txt", "csv/.DS_Store", "__MACOSX/x"]
)
def test_what_a_system_dropped_is_to_be_deleted(name: str, tmp_path: Path) -> None:
    """It is refused, as is all that is no part of a bundle, and people are told what to do about it."""
    folder = tmp_path / "bundle"
    ledger().export(folder, Query(all=True, formats=("csv",)))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"\x00")
    (failure,) = verify(folder, Trusted(KEY)).failures
    assert failure.kind == "malformed"
    assert repr(name.partition("/")[0] if "MACOSX" in name else name) in failure.detail
    assert "delete it, it's no part of the bundle" in failure.detail
