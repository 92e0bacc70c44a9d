"""Foreign verification: Go's golang.org/x/mod/sumdb takes our checkpoints, proofs and tiles, and no altered ones."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from consumers.cli.app import app
from consumers.evidence.keys import open_keys
from ledger.evidence.leaves import NO_RECORD, leaf_of
from ledger.evidence.signatures import Signer
from ledger.logs.sqlite import SqliteLog
from tests.consumers.evidence.acme import ORIGIN, Acme

HERE = Path(__file__).parent
GO_MOD = "module verifier\n\ngo 1.22\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n"
SIZES = [1, 255, 256, 700]

Check = Callable[..., str]


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built without a network: the compiler's sources have the modules that it needs."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no Go: install it to verify with foreign code")
    root = Path(subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip())
    sumdb = root / "src" / "cmd" / "vendor" / "golang.org" / "x" / "mod" / "sumdb"
    if not sumdb.is_dir():
        pytest.skip(f"this Go has no {sumdb}")
    folder = tmp_path_factory.mktemp("go")
    shutil.copytree(sumdb / "note", folder / "mod" / "sumdb" / "note")
    shutil.copytree(sumdb / "tlog", folder / "mod" / "sumdb" / "tlog")
    (folder / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.22\n")
    (folder / "go.mod").write_text(GO_MOD)
    shutil.copy(HERE / "verifier.go", folder / "main.go")
    settings = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    built = subprocess.run(
        [go, "build", "-o", "verifier", "."], cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return folder / "verifier"


@pytest.fixture(scope="module")
def check(verifier: Path) -> Iterator[Check]:
    """Asks the Go program: "ok", or what is wrong."""
    process = subprocess.Popen([verifier], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(kind: str, vkey: str, **case: Any) -> str:
        line = json.dumps({"kind": kind, "vkey": vkey, "origin": ORIGIN, **case})
        process.stdin.write(line + "\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        return process.stdout.readline().strip()  # type: ignore[union-attr]

    yield ask
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Acme:
    """A ledger that was signed at each of the sizes, with an offset that holds no record."""
    acme = Acme(tmp_path_factory.mktemp("acme"))
    size = 1
    for wanted in SIZES:
        acme.append(wanted - size)
        if wanted == 255:
            acme.change_log("DELETE FROM log_records WHERE offset = 77")
        size = acme.checkpoint().checkpoint.size
        assert size == wanted
    return acme


@pytest.fixture
def command(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command on that ledger; what it says on stdout."""
    monkeypatch.setenv("PAUSELEDGER_LOG", f"sqlite:///{acme.log_path}")
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(acme.keys))
    monkeypatch.setenv("PAUSELEDGER_TILES", str(acme.tiles))

    def run(*given: str) -> str:
        done = CliRunner().invoke(app, list(given))
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def vkey(acme: Acme) -> str:
    return str(open_keys(acme.keys).verifier)


def leaves(acme: Acme) -> list[bytes]:
    from consumers.evidence.trees import genesis_of

    keys, log = open_keys(acme.keys), SqliteLog(acme.log_path)
    records = {one.offset: one for one in log.read(0, 0, most=10_000).records}
    genesis = genesis_of(keys, log.identity(), 0).leaf()
    log.close()
    made = [leaf_of(keys.tag_key, records[n]) if n in records else NO_RECORD for n in range(SIZES[-1] - 1)]
    return [genesis, *made]


@pytest.mark.parametrize("offset", [0, 77, 254, 255, 698])
def test_inclusion(acme: Acme, command: Callable[..., str], check: Check, offset: int) -> None:
    """Of any entry, and of an offset without a record, as JSON and as text: and of nothing else."""
    proof = json.loads(command("prove", "inclusion", "--entry", f"0:{offset}", "--json"))
    assert check("inclusion", vkey(acme), **proof) == "ok"
    assert base64.b64decode(proof["leaf"]) == leaves(acme)[offset + 1]
    altered = [
        {**proof, "index": proof["index"] + 1},
        {**proof, "tree_size": 699},
        {**proof, "hashes": proof["hashes"][1:]},
        {**proof, "hashes": [*proof["hashes"], "00" * 32]},
        {**proof, "hashes": ["00" * 32, *proof["hashes"][1:]]},
        {**proof, "leaf": base64.b64encode(bytes(63) + b"x").decode()},
        {**proof, "checkpoint": proof["checkpoint"].replace("\n700\n", "\n701\n")},
        {**proof, "checkpoint": proof["checkpoint"].replace("acme/log/0", "acme/log/1")},
    ]
    assert [check("inclusion", vkey(acme), **one)[:7] for one in altered] == ["refused"] * len(altered)
    other = str(Signer("acme", bytes(32)).verifier)
    assert check("inclusion", other, **proof).startswith("refused")
    text = command("prove", "inclusion", "--entry", f"0:{offset}")
    assert check("text", vkey(acme), text=text, leaf=proof["leaf"]) == "ok"
    assert check("text", vkey(acme), text=text.replace("index ", "index 1"), leaf=proof["leaf"])[:7] == "refused"


@pytest.mark.parametrize("old", SIZES)
def test_consistency(acme: Acme, command: Callable[..., str], check: Check, old: int) -> None:
    """From any checkpoint to the newest, and from none that was not signed."""
    proof = json.loads(command("prove", "consistency", "--partition", "0", "--from", str(old), "--json"))
    assert check("consistency", vkey(acme), **proof) == "ok"
    altered = [
        {**proof, "old_size": old + 1},
        {**proof, "hashes": [*proof["hashes"], "00" * 32]},
        {**proof, "old_checkpoint": proof["old_checkpoint"].replace(f"\n{old}\n", f"\n{old + 1}\n")},
        {**proof, "new_checkpoint": proof["new_checkpoint"].replace("\n700\n", "\n701\n")},
    ]
    if old != SIZES[-1]:
        altered.append({**proof, "hashes": proof["hashes"][1:]})
        altered.append({**proof, "new_checkpoint": proof["old_checkpoint"]})
    assert [check("consistency", vkey(acme), **one)[:7] for one in altered] == ["refused"] * len(altered)


def test_tiles(acme: Acme, check: Check, tmp_path: Path) -> None:
    """Every leaf comes out of the tiles, authenticated by the checkpoint; a tile that was changed does not."""
    told = [base64.b64encode(one).decode() for one in leaves(acme)]
    place = acme.tiles / ORIGIN
    assert check("tiles", vkey(acme), folder=str(place), leaves=told) == "ok"
    assert check("tiles", vkey(acme), folder=str(place), leaves=told[::-1]).startswith("refused: leaf 0 is another")
    for name in ("tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(place, copy)
        data = bytearray((copy / name).read_bytes())
        data[40] ^= 1
        (copy / name).write_bytes(data)
        assert check("tiles", vkey(acme), folder=str(copy), leaves=told).startswith("refused")
