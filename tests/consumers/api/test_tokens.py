"""Static tokens: how they are made, that no file holds one, and that one that is taken out is refused."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from consumers.api.tokens import LOOK_SECONDS, Tokens, add_token, digest_of, new_token, read_tokens
from ledger.errors import WrongUsage
from tests.faults.command import run


def test_the_command_makes_one(tmp_path: Path) -> None:
    """It is printed once; the file holds its hash and what it may do, and only its owner reads the file."""
    file = tmp_path / "tokens.json"
    options = ("--actor", "user:dana", "--scope", "read", "--scope", "review", "--role", "role:ops", "--prefix", "T-")
    made = run("token", "new", *options, "--json", folder=tmp_path, env={"PAUSELEDGER_API_TOKENS": str(file)})
    token = made.json["token"]
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = Tokens(file).find(token)
    assert found is not None
    assert (found.actor, found.roles, found.prefixes) == ("user:dana", ("role:ops",), ("T-",))
    assert found.scopes == {"read", "review"}
    plain = run("token", "new", "--actor", "user:eve", "--scope", "read", folder=tmp_path)
    assert plain.out.startswith("plt_")
    assert digest_of(plain.out.strip()) in plain.err
    run("token", "new", "--actor", "user:eve", "--scope", "read", "--file", str(file), folder=tmp_path)
    assert len(read_tokens(file)) == 2


def test_the_file_stays_what_it_was(tmp_path: Path) -> None:
    """A link to it stays a link, and a mode, and an owner, that the server needs is kept."""
    file, link = tmp_path / "real" / "tokens.json", tmp_path / "tokens.json"
    file.parent.mkdir()
    link.symlink_to(file)
    add_token(link, new_token(actor="a", scopes=("read",))[1])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(file, 4_711, 4_712)
    (file.parent / "tokens.json.new").write_text("left by one that was killed")
    add_token(link, new_token(actor="b", scopes=("read",))[1])
    assert link.is_symlink()
    assert len(read_tokens(link)) == 2
    found = file.stat()
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert not is_root or (found.st_uid, found.st_gid) == (4_711, 4_712)


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each of many that add at the same time finds its token in the file."""
    file = tmp_path / "tokens.json"
    entries = [new_token(actor=f"user:{number}", scopes=("read",))[1] for number in range(24)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda entry: add_token(file, entry), entries))
    assert {one.actor for one in read_tokens(file).values()} == {entry.actor for entry in entries}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """It is said, with what to do, and not as a crash."""
    with pytest.raises(WrongUsage, match="can't be written"):
        add_token(tmp_path / "none" / "tokens.json", new_token(actor="a", scopes=("read",))[1])


@pytest.mark.parametrize(
    "entry",
    [
        {"actor": "", "scopes": ("read",)},
        {"actor": "user:dana", "scopes": ()},
        {"actor": "user:dana", "scopes": ("everything",)},
        {"actor": "user:dana", "scopes": ("read",), "roles": ("role:a,role:b",)},
        {"actor": "user:dana", "scopes": ("read",), "roles": (" role:a",)},
        {"actor": "user:dana", "scopes": ("read",), "prefixes": ("",)},
    ],
)
def test_what_can_not_be_meant(entry: dict[str, Any]) -> None:
    """No scope, a scope that is none, a role that would be two, a prefix that narrows nothing: refused."""
    with pytest.raises(WrongUsage):
        new_token(**entry)


@pytest.mark.parametrize("text", ["", "{}", '[{"sha256": "x"}]', '[{"token": "secret"}]'])
def test_a_file_that_is_not_as_it_should_be(tmp_path: Path, text: str) -> None:
    """The server does not start with it, and nothing is added to it."""
    file = tmp_path / "tokens.json"
    file.write_text(text)
    with pytest.raises(WrongUsage, match="not as it should be"):
        read_tokens(file)
    with pytest.raises(WrongUsage):
        add_token(file, new_token(actor="a", scopes=("read",))[1])
    assert file.read_text() == text


def test_what_is_taken_out_is_refused(tmp_path: Path) -> None:
    """Within a second of a change of the file; one that can't be read any more lets nobody in."""
    now = [0.0]
    file = tmp_path / "tokens.json"
    kept, entry = new_token(actor="user:kept", scopes=("read",))
    gone, other = new_token(actor="user:gone", scopes=("read",))
    add_token(file, entry)
    add_token(file, other)
    tokens = Tokens(file, lambda: now[0])
    assert tokens.find(gone) is not None
    file.write_text(json.dumps([entry.model_dump(mode="json")]))
    assert tokens.find(gone) is not None
    now[0] += LOOK_SECONDS
    assert tokens.find(gone) is None
    assert tokens.find(kept) is not None
    file.write_text("[")
    now[0] += LOOK_SECONDS
    for _ in range(2):
        with pytest.raises(WrongUsage):
            tokens.find(kept)
