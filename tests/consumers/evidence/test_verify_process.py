"""The verifier in a process of its own: what it imports, that it reads only, and how much memory it takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledger.evidence.bundle import Query, in_order
from ledger.evidence.zips import write_zip
from tests.ledger.evidence import forging
from tests.ledger.evidence.ledgers import SIGNER, ledger
from tests.test_structure import ROOT

MOST_MEMORY = 256 * 1024 * 1024
KEY = str(SIGNER.verifier)
FORBIDDEN = {
    "kafka", "confluent_kafka", "eventsourcing", "sqlite3", "_sqlite3", "psycopg", "fastapi", "starlette", "uvicorn",
    "consumers.settings", "consumers.indexer", "ledger.index", "ledger.log", "ledger.publisher", "requests", "httpx",
    "urllib3", "boto3", "fsspec", "pydantic_settings", "structlog", "prometheus_client",
}  # fmt: skip
_SCRIPT = """
import json, re, sys
events = []
def hook(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.mkdir",
                         "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
                         "shutil.", "sqlite3.", "ctypes.", "urllib.", "ftplib.", "http.")):
        events.append(event)
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o1103:
        events.append(f"open {arguments[0]} {arguments[2]:o}")
sys.argv = ["pauseledger", "verify", *sys.argv[1:]]
sys.addaudithook(hook)
from consumers.cli.main import main
code = 0
try:
    main()
except SystemExit as leaving:
    code = leaving.code or 0
status = open("/proc/self/status").read()  # getrusage() would begin with the memory of whoever started us
peak = int(re.search(r"VmHWM:\\s*(\\d+)", status)[1]) * 1024
print(json.dumps({"code": code, "modules": sorted(sys.modules), "events": events, "peak": peak}), file=sys.stderr)
"""


def verified(bundle: Path, folder: Path) -> dict[str, Any]:
    """What a new process does with a bundle: its exit code, its output, and what it did beside."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-B", "-c", _SCRIPT, str(bundle), "--key", KEY, "--json"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    assert list(folder.iterdir()) == []
    return told | {"found": json.loads(done.stdout)}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    ledger().export(folder, Query(all=True, formats=("csv", "ocsf")))
    return folder


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_verifier_is_alone_with_the_bundle(kind: str, bundle: Path, tmp_path: Path) -> None:
    """It imports no client, no database and no part of ours that knows one; it opens no socket, and writes nothing."""
    if kind == "zip":
        packed = tmp_path / "bundle.zip"
        with packed.open("wb") as out:
            write_zip(out, bundle, in_order(list(forging.read(bundle))))
        bundle = packed
    before = forging.touched(tmp_path)
    told = verified(bundle, tmp_path.parent / f"{tmp_path.name}-here")
    assert told["code"] == 0
    assert told["found"]["ok"]
    loaded = set(told["modules"])
    assert loaded & FORBIDDEN == set()
    assert {one for one in loaded if one.startswith(("consumers.", "projections"))} == {
        "consumers.cli", "consumers.cli.ending", "consumers.cli.main", "consumers.cli.options", "consumers.cli.verify",
    }  # fmt: skip
    assert told["events"] == []
    assert forging.touched(tmp_path) == before


def test_what_is_endless_takes_little_memory(bundle: Path, tmp_path: Path) -> None:
    """Files of hundreds of megabytes, without a line's end or of line's ends alone, are refused within bounds."""
    large = 300 * 1024 * 1024
    sound = forging.read(bundle)
    for name in ("entries.jsonl", "manifest.json", "leaves-0"):
        forging.write(sound, bundle)
        with (bundle / name).open("r+b") as file:
            file.truncate(large)
        told = verified(bundle, tmp_path / "here")
        assert told["code"] == 1, name
        assert told["found"]["failures"], name
        assert told["peak"] < MOST_MEMORY, (name, told["peak"])
    forging.write(sound, bundle)
    (bundle / "verdicts.jsonl").write_bytes(sound["verdicts.jsonl"] + b"\n" * (large // 10))
    told = verified(bundle, tmp_path / "here")
    assert told["code"] == 1
    assert told["peak"] < MOST_MEMORY


def test_nobody_who_reads_is_no_refusal(bundle: Path) -> None:
    """A pipe that is closed before anything was said ends it as SIGPIPE does, not with the exit code of a refusal."""
    for more in ([], ["--json"]):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "consumers.cli.main", "verify", str(bundle), "--key", KEY, *more],
                env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"},
                stdout=writing,
                stderr=subprocess.PIPE,
                timeout=120,
                check=False,
            )
        finally:
            os.close(writing)
        assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
