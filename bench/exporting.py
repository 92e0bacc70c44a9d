"""What evidence costs to take and to check: export and verify of a whole ledger, and of one work item of it.

Of the work item's bundle nearly all is leaves: what its verification takes is set beside reading these from the disk,
and beside hashing them with nothing but ``hashlib``, two hashes a leaf, which no verifier can do without.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.ledgers import filled, folder
from bench.rounds import Reported, say, seconds
from bench.sizes import Sizes
from bench.workload import ACTIVE_ITEMS
from consumers.evidence.keys import new_keys
from consumers.evidence.notary import open_notary
from consumers.settings import Settings
from ledger.evidence.leaves import LEAF_BYTES
from ledger.evidence.notes import VerifierKey
from ledger.evidence.verify import Trusted, verify

_BLOCK = 1024 * 1024
_MIB = 1024 * 1024


class _Ran(NamedTuple):
    """What a command took."""

    seconds: float
    peak_mib: float


class _Ledger:
    """A ledger of so many entries under a checkpoint, in a folder."""

    def __init__(self, place: Path, entries: int) -> None:
        self.place = place
        path = place / "ledger.db"
        say(f"  evidence-export: making a ledger of {entries} entries")
        workload = filled(path, entries, active=min(ACTIVE_ITEMS, max(1, entries // 40)))
        self.subject = workload.subjects[len(workload.subjects) // 2]
        self.key: VerifierKey = new_keys(place / "keys", "bench").verifier
        self._environment = {
            **os.environ,
            "PAUSELEDGER_LOG": f"sqlite:///{path}",
            "PAUSELEDGER_KEYS": str(place / "keys"),
            "PAUSELEDGER_TILES": str(place / "tiles"),
            "PYTHONPATH": str(Path.cwd()),
        }
        settings = Settings.read(f"sqlite:///{path}", keys=place / "keys", tiles=str(place / "tiles"))
        with open_notary(settings) as notary:
            notary.checkpoint(0)

    def run(self, *arguments: str) -> _Ran:
        """A whole ``pauseledger`` process."""
        told: list[str] = []

        def run() -> None:
            done = subprocess.run(
                [sys.executable, "-m", "bench.peak", *arguments],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=self._environment,
                text=True,
            )
            if done.returncode != 0:
                raise RuntimeError(f"pauseledger {arguments[0]} failed: {done.stderr[-500:]}")
            told.append(done.stderr.splitlines()[-1])

        took = seconds(run)
        say(f"  evidence-export: {arguments[0]} {took:.1f} s, {float(told[0]):.0f} MiB")
        return _Ran(took, float(told[0]))


def _forgotten(path: Path) -> None:
    """Let the system forget what it keeps of a bundle's files, so that they are read from the disk."""
    for file in path.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(_BLOCK):
            pass


def _hash(leaves: bytes) -> None:
    """As many hashes over as many bytes as a tree of these leaves takes: one of each leaf, and nearly as many nodes."""
    sha256 = hashlib.sha256
    for at in range(0, len(leaves), LEAF_BYTES):
        sha256(b"\x00" + leaves[at : at + LEAF_BYTES]).digest()
        sha256(b"\x01" + leaves[at : at + LEAF_BYTES]).digest()


def _median(action: Callable[[], object], before: Callable[[], object], rounds: int) -> float:
    """The milliseconds of an action, each time after something that is not counted."""
    each = []
    for _ in range(rounds):
        before()
        each.append(1_000 * seconds(action))
    return statistics.median(each)


def _bytes(path: Path) -> float:
    return sum(one.stat().st_size for one in path.iterdir()) / _MIB


def export_and_verify(sizes: Sizes) -> list[Reported]:
    with folder() as place:
        ledger = _Ledger(place, sizes.evidence)
        whole, one = place / "whole", place / "one"
        key = str(ledger.key)
        exported = ledger.run("export", "--all", "--out", str(whole))
        verified = ledger.run("verify", str(whole), "--key", key)
        exported_one = ledger.run("export", "--subject", ledger.subject, "--out", str(one))
        verified_one = ledger.run("verify", str(one), "--key", key)
        leaves = one / "leaves-0"
        reading = _median(lambda: _read(leaves), lambda: _forgotten(one), sizes.few_rounds)
        verifying = _median(lambda: verify(one, Trusted(ledger.key)), lambda: _forgotten(one), sizes.few_rounds)
        data = leaves.read_bytes()
        hashing = _median(lambda: _hash(data), lambda: None, sizes.few_rounds)
        values = [
            ("export of all, whole process", exported.seconds, "s"),
            ("its peak memory", exported.peak_mib, "MiB"),
            ("the bundle", _bytes(whole), "MiB"),
            ("verify of all, whole process", verified.seconds, "s"),
            ("its peak memory", verified.peak_mib, "MiB"),
            ("export of one work item, whole process", exported_one.seconds, "s"),
            ("its bundle", _bytes(one), "MiB"),
            ("verify of one work item, whole process", verified_one.seconds, "s"),
            ("its peak memory", verified_one.peak_mib, "MiB"),
            ("verify of one work item, in process, files not cached", verifying, "ms"),
            ("its leaves, read from the disk", reading, "ms"),
            ("its leaves, hashed twice by hashlib alone", hashing, "ms"),
            ("added by verify beyond reading its leaves", verifying - reading, "ms"),
        ]
    title = f"Export and verify, a ledger of {sizes.evidence:,} entries"
    return [Reported("evidence-export", title, values, notes={"entries": sizes.evidence})]
