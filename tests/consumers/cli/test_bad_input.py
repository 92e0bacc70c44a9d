"""Bad input: each one clear line on stderr, exit code 1 or 2, never a traceback; and ``doctor`` says what to do."""

from __future__ import annotations

import resource
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.broker import Broker, free_port
from tests.faults.command import Result, run
from tests.faults.ledgers import url
from tests.faults.lines import day, note

NOBODY = 65_534


class Case(NamedTuple):
    """Something wrong: the settings that lead to it, what the error must say, and the exit code."""

    env: dict[str, str]
    words: tuple[str, ...]
    code: int = 1
    user: int | None = None


def sound(folder: Path, name: str = "sound.db") -> Path:
    """A ledger with one entry, its index in the same file."""
    env = {"PAUSELEDGER_LOG": url(folder / name)}
    assert run("publish", folder=folder, stdin=note(1), env=env).code == 0
    return folder / name


def execute(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


def log_at(path: Path) -> dict[str, str]:
    return {"PAUSELEDGER_LOG": url(path)}


def index_at(folder: Path, path: Path) -> dict[str, str]:
    return {"PAUSELEDGER_LOG": url(sound(folder)), "PAUSELEDGER_INDEX": url(path)}


def read_only(folder: Path) -> Path:
    path = sound(folder)
    for each in folder.glob("sound.db*"):
        each.chmod(0o444)
    folder.chmod(0o555)
    return path


def noise(path: Path) -> Path:
    path.write_bytes(b"this is no database, whatever it is. " * 50)
    return path


def foreign(path: Path) -> Path:
    return execute(path, "CREATE TABLE birds (name TEXT)", "INSERT INTO birds VALUES ('wren')")


def newer_index(folder: Path) -> dict[str, str]:
    execute(sound(folder), "UPDATE index_identity SET format = 99")
    return log_at(folder / "sound.db")


def of_another_log(folder: Path) -> dict[str, str]:
    return {"PAUSELEDGER_LOG": url(sound(folder)), "PAUSELEDGER_INDEX": url(sound(folder, "another.db"))}


def cut_log(folder: Path) -> dict[str, str]:
    return log_at(execute(sound(folder), "DELETE FROM log_records"))


def rewritten_log(folder: Path) -> dict[str, str]:
    return log_at(execute(sound(folder), "UPDATE log_records SET value = x'00'"))


NO_SERVER = "postgresql://nobody:secret@127.0.0.1:1/none"


def no_server(folder: Path) -> dict[str, str]:
    return {"PAUSELEDGER_LOG": url(sound(folder)), "PAUSELEDGER_INDEX": NO_SERVER}


CASES: dict[str, Callable[[Path], Case]] = {
    "a log that is a folder": lambda f: Case(log_at(f), ("folder",)),
    "a log of noise": lambda f: Case(log_at(noise(f / "x.db")), ("no SQLite file",)),
    "a log of something else": lambda f: Case(log_at(foreign(f / "x.db")), ("no ledger",)),
    "a log in no folder": lambda f: Case(log_at(f / "no" / "x.db"), ("no",)),
    "a newer log": lambda f: Case(log_at(execute(sound(f), "UPDATE log_identity SET format = 99")), ("newer",)),
    "a log that is read-only": lambda f: Case(log_at(read_only(f)), ("can't be written",), 1, NOBODY),
    "a log that was cut": lambda f: Case(cut_log(f), ("cut", "rebuild")),
    "a log that was rewritten": lambda f: Case(rewritten_log(f), ("another history", "rebuild")),
    "an unknown scheme": lambda f: Case({"PAUSELEDGER_LOG": "redis://x:1/y"}, ("no address",), 2),
    "an index that is a folder": lambda f: Case(index_at(f, f), ("folder",)),
    "an index of noise": lambda f: Case(index_at(f, noise(f / "i.db")), ("index", "no SQLite file")),
    "an index of something else": lambda f: Case(index_at(f, foreign(f / "i.db")), ("index",)),
    "an index in no folder": lambda f: Case(index_at(f, f / "no" / "i.db"), ("no folder",)),
    "a newer index": lambda f: Case(newer_index(f), ("newer",)),
    "an index of another log": lambda f: Case(of_another_log(f), ("rebuild",)),
    "no PostgreSQL there": lambda f: Case(no_server(f), ("did not answer", "PostgreSQL runs")),
    "a schema that is none": lambda f: Case({"PAUSELEDGER_INDEX": f"{NO_SERVER}?schema=A-b"}, ("schema",), 2),
}


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that others may enter."""
    import shutil
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="ledger-"))
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


def one_clear_line(found: Result, case: Case) -> None:
    """What every refusal has in common."""
    assert found.code == case.code, found
    assert found.out == ""
    assert found.err.count("\n") == 1, found.err
    assert found.err.startswith("pauseledger: ")
    for word in case.words:
        assert word in found.err


@pytest.mark.parametrize("name", CASES)
def test_every_command_says_it_in_one_line(name: str, folder: Path) -> None:
    """publish, decision, packet and trail alike; and what lay there is as it was."""
    case = CASES[name](folder)
    there = {path: path.read_bytes() for path in folder.glob("*.db") if path.is_file()}
    commands = (("publish", "--timeout", "2"), ("decision", "T-1"), ("packet", "T-1", "--pause", "p"), ("trail", "T-1"))
    for command in commands:
        one_clear_line(run(*command, "--json", folder=folder, env=case.env, stdin=note(2), user=case.user), case)
    for path, content in there.items():
        if "something else" in name or "noise" in name:
            assert path.read_bytes() == content


@pytest.mark.parametrize("name", CASES)
def test_doctor_finds_it_and_says_what_to_do(name: str, folder: Path) -> None:
    """As JSON a list of findings, one of them a problem with advice; exit code 1, or 2 for an address."""
    case = CASES[name](folder)
    found = run("doctor", "--json", folder=folder, env=case.env, user=case.user)
    assert found.code == case.code, found
    if case.code == 2:
        one_clear_line(found, case)
        return
    problems = [one for one in found.json if one["level"] == "problem"]
    assert found.err == ""
    assert all(one["advice"] for one in problems)
    said = " ".join(f"{one['finding']} {one['advice']}" for one in problems)
    for word in case.words:
        assert word in said
    shown = run("doctor", folder=folder, env=case.env, user=case.user)
    assert (shown.code, shown.err) == (1, "")
    assert "mend" in shown.out


def test_rebuild_mends_an_index_of_another_log_and_a_log_that_was_cut(folder: Path) -> None:
    """As the advice said: afterwards everything works."""
    for make in (of_another_log, cut_log, rewritten_log):
        env = make(folder)
        assert run("trail", "T-1", folder=folder, env=env).code == 1
        assert run("rebuild", "--json", folder=folder, env=env).code == 0
        assert run("trail", "T-1", folder=folder, env=env).code == 0
        for path in folder.glob("*.db*"):
            path.unlink()


def test_a_file_of_events_that_can_not_be_read_is_wrong_usage(folder: Path) -> None:
    """A folder, a file that isn't there: said before a ledger is made."""
    for name in (".", "none.jsonl"):
        one_clear_line(run("publish", name, folder=folder), Case({}, (name, "can't be read"), 2))
    assert list(folder.iterdir()) == []


def small_files() -> None:
    """No file of this process may grow beyond 512 KiB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 * 1024, 512 * 1024))


def test_a_disk_that_is_full_for_the_log(folder: Path) -> None:
    """What is printed as recorded is recorded; then an error or unknown, never a traceback; with room it goes on."""
    events = b"\n".join(day(5_000)) + b"\n"
    env = log_at(folder / "x.db") | {"PAUSELEDGER_INDEX": url(folder / "i.db")}
    found = run("publish", "--json", "--timeout", "2", folder=folder, env=env, stdin=events, limit=small_files)
    assert found.code in (1, 4), found.err
    assert "Traceback" not in found.err
    assert found.err.count("\n") <= 1
    said = {one["offset"]: one for one in found.lines if one["verdict"] != "unknown"}
    again = run("publish", "--json", folder=folder, env=env, stdin=events)
    assert again.code == 0
    assert len(again.lines) == 5_000
    shown = {}
    for subject in ("T-0", "T-7", "T-199"):
        shown |= {one["offset"]: one for one in run("trail", subject, "--json", folder=folder, env=env).json}
    assert all(one.items() <= shown[offset].items() for offset, one in said.items() if offset in shown)
    assert len(shown) >= 3 * 25


def test_a_disk_that_is_full_for_the_index(folder: Path) -> None:
    """Commands that read say it in one line; with room they go on."""
    env = log_at(folder / "x.db") | {"PAUSELEDGER_INDEX": url(folder / "i.db")}
    assert run("publish", folder=folder, env=env, stdin=b"\n".join(day(3_000))).code == 0
    for path in folder.glob("i.db*"):
        path.unlink()
    case = Case(env, ("index",))
    for command in (("trail", "T-1"), ("rebuild",)):
        one_clear_line(run(*command, "--json", folder=folder, env=env, limit=small_files), case)
    assert len(run("trail", "T-1", "--json", folder=folder, env=env).json) == 15


@pytest.mark.kafka
def test_a_broker_that_is_not_there_is_told_within_ten_seconds(folder: Path) -> None:
    """Nobody listens, or somebody who never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = (free_port(), silent.getsockname()[1])
        for port, command in zip((*ports, ports[0]), (("publish",), ("trail", "T-1"), ("doctor",)), strict=True):
            env = {"PAUSELEDGER_LOG": f"kafka://127.0.0.1:{port}/ledger"}
            began = time.monotonic()
            found = run(*command, folder=folder, env=env, stdin=note(1))
            assert time.monotonic() - began < 10.0
            if command == ("doctor",):
                assert (found.code, found.err) == (1, "")
            else:
                one_clear_line(found, Case(env, (f"127.0.0.1:{port}",)))


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("settings", "words"),
    [(None, ("no topic", "topic create")), ({"cleanup.policy": "compact"}, ("compacted", "topic create"))],
    ids=["missing", "compacted"],
)
def test_a_topic_that_can_be_no_ledger(
    folder: Path, broker: Broker, settings: dict[str, str] | None, words: tuple[str, ...]
) -> None:
    """Missing or compacted: every command says so, and what to do."""
    name = f"t-{uuid.uuid4()}"
    if settings is not None:
        make_topic(broker, name, settings)
    case = Case({"PAUSELEDGER_LOG": f"kafka://{broker.address}/{name}"}, words)
    for command in (("publish",), ("trail", "T-1"), ("rebuild",)):
        one_clear_line(run(*command, folder=folder, env=case.env, stdin=note(1)), case)
    found = run("doctor", "--json", folder=folder, env=case.env)
    assert found.code == 1
    assert all(word in str(found.json) for word in words)


def make_topic(broker: Broker, name: str, settings: dict[str, str]) -> None:
    from kafka import KafkaAdminClient

    with KafkaAdminClient(bootstrap_servers=broker.address) as admin:
        wanted: dict[str, Any] = {"num_partitions": 1, "replication_factor": 1, "configs": settings}
        admin.create_topics({name: wanted})
        admin.wait_for_topics([name])
