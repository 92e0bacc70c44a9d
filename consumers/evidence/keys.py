"""The folder of the notary's keys: what signs checkpoints, and what tags leaves. Both are secret.

1. A key is made once, and never written over. A file is there whole or not at all, readable by its owner alone.
2. A rotation makes a new key of the same name, which stands in every origin. The old key signs the new one, and that
   note is kept in ``earlier/``; the old private key is gone then. Killed in between, the next rotation ends it.
3. The tag key stays for the ledger's life: it is part of the genesis.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson

from ledger.errors import DiskFailed, UnusableLog, WrongUsage
from ledger.evidence.leaves import TAG_KEY_BYTES, tag_key_digest
from ledger.evidence.notes import (
    COSIGNATURE,
    ROTATION,
    BadNote,
    Note,
    VerifierKey,
    is_key_name,
    read_note,
    read_verifier_key,
)
from ledger.evidence.signatures import Signer, signed_by
from ledger.times import format_instant

NOTARY_KEY, TAG_KEY, NEXT_KEY, EARLIER, WITNESSES = "notary.key", "tag.key", "notary.key.next", "earlier", "witnesses"
JOURNAL, PUBLIC_KEY = "signed.db", "notary.vkey"
BEGUN = "keys.begun"
"""While keys are being made: the digest of their tag key, so that a later try knows the one that it may take."""
_SECRET = re.compile(r"[0-9a-f]{64}\Z")
_TAKE_COPY = "Restore the folder from a copy."


@dataclass(frozen=True)
class Keys:
    """The keys of one ledger's notary. Nothing secret is in its ``repr``."""

    folder: Path
    name: str
    signer: Signer = field(repr=False)
    verifier: VerifierKey
    tag_key: bytes = field(repr=False)
    witnesses: tuple[VerifierKey, ...] = ()
    earlier: tuple[VerifierKey, ...] = ()
    """The public keys before this one, the newest first."""

    @property
    def verifiers(self) -> tuple[VerifierKey, ...]:
        """Every public key that signed for this ledger, this one first."""
        return self.verifier, *self.earlier


def new_keys(folder: Path, name: str) -> Keys:
    """Make both keys. Raises ``WrongUsage`` for a bad name, and where there are keys already."""
    _refuse_bad_name(name)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise WrongUsage(f"The folder {folder} can't be made: {error.strerror}.", "Set PAUSELEDGER_KEYS.") from None
    _sync(folder.parent)
    with _locked(folder):
        if (folder / NOTARY_KEY).exists():
            raise WrongUsage(
                f"There is a key in {folder} already.",
                "See it: pauseledger keys show. Another ledger has its own folder.",
            )
        if (folder / JOURNAL).exists():
            raise WrongUsage(f"A key that is gone has signed in {folder}.", _TAKE_COPY)
        _refuse_others_folder(folder)
        folder.chmod(0o700)
        if not (folder / TAG_KEY).exists():  # else an earlier try got so far
            _make_tag_key(folder)
        _make(folder / NOTARY_KEY, _key_file(name, secrets.token_bytes(32)))
        with _disk(folder):
            (folder / BEGUN).unlink(missing_ok=True)
        _sync(folder)
    return open_keys(folder)


def _refuse_others_folder(folder: Path) -> None:
    """Raises ``WrongUsage`` where another ledger's keys are: its tag key must never come into a second genesis."""
    elsewhere = "Make a notary's key in a folder of its own: set PAUSELEDGER_KEYS."
    if (folder / PUBLIC_KEY).exists():
        raise WrongUsage(f"{folder} is an exporter's: it has a public key, {PUBLIC_KEY}.", elsewhere)
    if (folder / TAG_KEY).exists() and not _is_half_made(folder):
        raise WrongUsage(f"There is the tag key of another ledger in {folder}.", elsewhere)


def _is_half_made(folder: Path) -> bool:
    """Whether the tag key is that of keys that were begun here, and not ended: ``keys new`` was killed."""
    begun = folder / BEGUN
    if not begun.exists():
        return False
    with _disk(folder):
        return begun.read_bytes() == _begun(read_tag_key(folder / TAG_KEY))


def _begun(tag_key: bytes) -> bytes:
    return f"{tag_key_digest(tag_key)}\n".encode()


def _make_tag_key(folder: Path) -> None:
    tag_key = secrets.token_bytes(TAG_KEY_BYTES)
    with _disk(folder):
        (folder / BEGUN).unlink(missing_ok=True)  # of a try that did not get to a tag key
    _make(folder / BEGUN, _begun(tag_key))
    _make(folder / TAG_KEY, f"{tag_key.hex()}\n".encode())


def open_keys(folder: Path) -> Keys:
    """The keys that are there. Raises ``WrongUsage`` where there are none, or others can read them."""
    if not (folder / NOTARY_KEY).exists() and (folder / PUBLIC_KEY).exists():
        raise WrongUsage(
            f"{folder} is an exporter's: nothing is signed with what is in it.",
            "Do that where the notary's key is, and set PAUSELEDGER_KEYS.",
        )
    if not (folder / NOTARY_KEY).exists():
        raise WrongUsage(
            f"There is no notary's key in {folder}.", "Make one: pauseledger keys new NAME; or set PAUSELEDGER_KEYS."
        )
    signer = _read_signer(folder / NOTARY_KEY)
    name = signer.verifier.name
    return Keys(
        folder,
        name,
        signer,
        signer.verifier,
        read_tag_key(folder / TAG_KEY),
        _read_witnesses(folder / WITNESSES),
        tuple(_earlier(folder, signer.verifier)),
    )


def rotate_keys(folder: Path) -> Keys:
    """Sign with a new key of the same name from now on; the one before signs that it is so, and is no more."""
    keys = open_keys(folder)
    with _locked(folder):
        coming = folder / NEXT_KEY
        if not coming.exists():
            _make(coming, _key_file(keys.name, secrets.token_bytes(32)))
        fresh = _read_signer(coming)
        keys = open_keys(folder)  # now that nobody else rotates
        _keep_rotation(folder, keys.signer, fresh)
        with _disk(folder):
            coming.replace(folder / NOTARY_KEY)
        _sync(folder)
    return open_keys(folder)


def _keep_rotation(folder: Path, old: Signer, new: Signer) -> None:
    with _disk(folder):
        (folder / EARLIER).mkdir(mode=0o700, exist_ok=True)
    _sync(folder)
    path = folder / EARLIER / f"{old.verifier.number:08x}"
    if path.exists():  # signed before a kill
        if f"\n{new.verifier}\n" in path.read_text(encoding="utf-8", errors="replace"):
            return
        path.unlink()  # the key that it names was lost before it signed anything
    at = format_instant(datetime.now(UTC))
    text = f"{ROTATION}\n{old.verifier}\n{new.verifier}\n{at}\n"
    _make(path, str(Note(text, (old.sign(text), new.sign(text)))).encode())


def rotations(folder: Path) -> list[str]:
    """The notes in which each key signed the one after it, the newest first."""
    return [note for _, note in _chain(folder, open_keys(folder).verifier)]


def _earlier(folder: Path, newest: VerifierKey) -> Iterator[VerifierKey]:
    return (key for key, _ in _chain(folder, newest))


def _chain(folder: Path, newest: VerifierKey) -> Iterator[tuple[VerifierKey, str]]:
    """From the newest key back: the key before it, and the note in which that signed it. Raises ``UnusableLog``."""
    by_new: dict[str, tuple[VerifierKey, str]] = {}
    for path in sorted((folder / EARLIER).glob("*")) if (folder / EARLIER).is_dir() else []:
        if path.name.startswith("."):
            continue
        try:
            note = read_note(path.read_bytes())
            what, old, new, _, _ = note.text.split("\n")
            key = read_verifier_key(old)
            if what != ROTATION or not signed_by(note, key) or not signed_by(note, read_verifier_key(new)):
                raise BadNote("it is no rotation that both keys signed")
        except (BadNote, ValueError, OSError) as error:
            raise UnusableLog(f"{path} is no rotation of a key: {error}.", _TAKE_COPY) from None
        by_new[new] = key, str(note)
    at = str(newest)
    while at in by_new:
        found = by_new.pop(at)
        yield found
        at = str(found[0])


def _refuse_bad_name(name: str) -> None:
    parts = name.split("/")
    if not is_key_name(name) or not name.isprintable() or "\\" in name or any(one in ("", ".", "..") for one in parts):
        raise WrongUsage(
            f"{name!r} is no name for a ledger.",
            "Give up to 256 letters, digits and dots, such as acme-refunds or ledger.example.com/refunds.",
        )


def _key_file(name: str, seed: bytes) -> bytes:
    content = {"name": name, "seed": seed.hex(), "vkey": str(Signer(name, seed).verifier)}
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def _read_signer(path: Path) -> Signer:
    data = _read_secret(path)
    try:
        content = orjson.loads(data)
        if not _SECRET.match(content["seed"]):
            raise ValueError
        signer = Signer(content["name"], bytes.fromhex(content["seed"]))
        if str(signer.verifier) != content["vkey"]:
            raise ValueError
    except (ValueError, KeyError, TypeError):  # what is in it must not be shown
        raise UnusableLog(f"{path} is no key of a notary, or is damaged.", _TAKE_COPY) from None
    return signer


def read_tag_key(path: Path) -> bytes:
    """The key of the tags, from its file. Raises ``UnusableLog``, or ``WrongUsage`` where others can read it."""
    text = _read_secret(path).decode(errors="replace").strip()
    if not _SECRET.match(text):
        raise UnusableLog(f"{path} is no tag key, or is damaged.", _TAKE_COPY)
    return bytes.fromhex(text)


def _read_secret(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise WrongUsage(f"{path} may be read by others: it is secret.", f"chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise UnusableLog(f"{path} can't be read: {error.strerror}.", _TAKE_COPY) from None


def _read_witnesses(path: Path) -> tuple[VerifierKey, ...]:
    """One verifier key a line; empty lines, and those that start with ``#``, say nothing."""
    if not path.exists():
        return ()
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            key = read_verifier_key(line)
            if key.algorithm != COSIGNATURE:
                raise BadNote("it is a log's key, not a witness's")
        except BadNote as error:
            raise WrongUsage(f"Line {number} of {path} is no witness's key: {error}.", "Give a key a line.") from None
        found.append(key)
    return tuple(found)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time, of all that change keys here."""
    with _disk(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(path: Path, data: bytes) -> None:
    """Make a file, whole and for its owner alone, where there is none; what is there is never written over."""
    temporary = path.with_name(f".{path.name}.new")
    with _disk(path.parent):
        with suppress(FileNotFoundError):
            temporary.unlink()  # of a process that was killed: nobody else is here
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        finally:
            temporary.unlink()
        _sync(path.parent)


def _sync(folder: Path) -> None:
    with _disk(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """The disk's errors in the ledger's words."""
    try:
        yield
    except FileExistsError as error:
        raise WrongUsage(
            f"{error.filename2 or error.filename} is there already.", "It is never written over."
        ) from None
    except OSError as error:
        raise DiskFailed(
            f"{folder} can't be written: {error.strerror}.", "See that there is room, and a right."
        ) from None
