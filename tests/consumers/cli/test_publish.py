"""``pauseledger publish`` as scripts rely on it: verdicts in the order read, as soon as they are there."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from tests.broker import Broker
from tests.faults.command import COMMAND, complete_lines, environment, run, start
from tests.faults.ledgers import url
from tests.faults.lines import DANA, day, line, note, pause, resume
from tests.faults.waiting import until

UNKNOWN_MEMBERS = {"partition", "offset", "recorded_at", "subject", "id", "source", "type", "verdict", "code", "reason"}


def test_a_verdict_a_line_in_the_order_read(tmp_path: Path) -> None:
    """From a file or stdin alike; blank lines are skipped, CRLF and a last line without an end are taken."""
    noise = [b"no json", b"[]", line("note.added", {"no": "text"}, id="bad"), b'{"type":["x"],"id":7}', b"\xff\xfe"]
    values = [pause(), b"", b" \t\r", resume() + b"\r", *noise, note(1)]
    (tmp_path / "events").write_bytes(b"\n".join(values))
    found = run("publish", "events", "--json", folder=tmp_path)
    assert (found.code, found.err) == (0, "")
    assert [one["offset"] for one in found.lines] == list(range(8))
    codes = ["ok", "ok", "not-cloudevent", "not-cloudevent", "bad-data", "not-cloudevent", "not-cloudevent", "ok"]
    assert [one["code"] for one in found.lines] == codes
    granted = found.lines[1]
    assert (granted["fence"], granted["action_digest"][:7]) == (1, "sha256:")
    assert (found.lines[4]["subject"], found.lines[2]["subject"]) == ("T-1", None)
    again = run("publish", "-", "--json", folder=tmp_path, stdin=(tmp_path / "events").read_bytes()).lines
    assert [one["verdict"] for one in again] == ["duplicate"] * 2 + ["malformed"] * 5 + ["duplicate"]
    assert again[1]["first"]["verdict"] == "accepted"
    assert (again[1]["first"]["offset"], again[1]["first"]["fence"]) == (1, 1)


def test_nothing_to_publish_makes_a_ledger_and_no_entry(tmp_path: Path) -> None:
    """An empty stdin is no error; the default files are the ledger's."""
    found = run("publish", "--json", folder=tmp_path)
    assert (found.code, found.out, found.err) == (0, "", "")
    assert (tmp_path / "pauseledger.db").exists()
    assert run("rebuild", "--json", folder=tmp_path).json["entries"] == 0


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([pause(), note(1)], 0),
        ([pause(), pause(), note(1), note(1)], 0),
        ([pause(), resume("a"), resume("b")], 3),
        ([pause(), resume("a"), resume("b"), resume("b")], 3),
        ([b"no json"], 3),
        ([], 0),
    ],
    ids=["all accepted", "duplicates of accepted ones", "refused", "duplicate of a refused one", "malformed", "none"],
)
def test_strict_exits_with_3_where_one_was_not_accepted(tmp_path: Path, lines: list[bytes], code: int) -> None:
    """Of a duplicate the first counts; without the flag all of this is exit 0."""
    stdin = b"\n".join(lines) + b"\n"
    assert run("publish", "--strict", "--json", folder=tmp_path, stdin=stdin).code == code
    (tmp_path / "lax").mkdir()
    assert run("publish", "--json", folder=tmp_path / "lax", stdin=stdin).code == 0


def test_strict_on_a_duplicate_whose_first_was_refused(tmp_path: Path) -> None:
    """Resent alone by a later process, it is still not accepted."""
    run("publish", folder=tmp_path, stdin=b"\n".join([pause(), resume("a"), resume("b")]))
    assert run("publish", "--strict", folder=tmp_path, stdin=resume("b")).code == 3
    assert run("publish", "--strict", folder=tmp_path, stdin=resume("a")).code == 0


def test_people_get_a_line_a_verdict_and_a_tally(tmp_path: Path) -> None:
    """Verdict first, entry, work item, type; the tally goes to stderr."""
    found = run("publish", folder=tmp_path, stdin=b"\n".join([pause(), resume("a"), resume("b"), b"x"]))
    shown = [row.split() for row in found.out.splitlines()]
    assert [row[0] for row in shown] == ["accepted", "accepted", "refused", "malformed"]
    assert shown[0][1:4] == ["0:0", "T-1", "pause.opened"]
    assert "decision-reconcile" in found.out
    assert found.err == "published: 2 accepted, 1 refused, 1 malformed\n"


def test_a_line_too_long_is_refused_after_what_came_before_it(tmp_path: Path) -> None:
    """It is named by its number; the verdicts before it are printed."""
    found = run("publish", "--json", folder=tmp_path, stdin=note(1) + b"\n" + b"x" * (4 * 2**20 + 1) + b"\n")
    assert (found.code, len(found.lines), len(found.err.splitlines())) == (2, 1, 1)
    assert run("rebuild", "--json", folder=tmp_path).json["entries"] == 1


def test_a_slow_stdin_gets_each_verdict_without_more_input(tmp_path: Path) -> None:
    """A pipe that stays open is answered line by line."""
    process = start("publish", "--json", folder=tmp_path, stdin=subprocess.PIPE)
    for number in range(3):
        process.stdin.write(note(number) + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["offset"] == number
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize("command", ["publish events", "trail T-0", "trail T-0 --json", "decision T-0"])
def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path, command: str) -> None:
    """``| head -1``: the first line arrives, and nothing is on stderr."""
    (tmp_path / "events").write_bytes(b"\n".join(day(4_000, work_items=1)) + b"\n")
    if not command.startswith("publish"):
        run("publish", "events", folder=tmp_path)
    shell = f'"$@" {command} | head -1'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *COMMAND], cwd=tmp_path, env=environment(), capture_output=True, timeout=120
    )
    assert done.stdout.count(b"\n") == 1
    assert done.stderr in (b"", b"published: nothing\n")


_A_DAY = 5_000
"""So many lines, and other work items: a state is as large as its work item's history, and those are kept in memory."""


def _peak_kib(folder: Path, count: int) -> int:
    """The most memory that publishing so many lines took, in KiB, as the kernel counted it."""
    with (folder / "events").open("wb") as events:  # line by line: a process's peak begins with that of its parent
        for number in range(count // _A_DAY):
            events.writelines(line + b"\n" for line in day(_A_DAY, first=number * 200))
    process = start("publish", "events", "--json", folder=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


def _bounded(folder: Path, small: int, large: int) -> None:
    for name in ("small", "large"):
        (folder / name).mkdir()
    few, many = _peak_kib(folder / "small", small), _peak_kib(folder / "large", large)
    print(f"{small:,} lines: {few / 1024:.0f} MiB; {large:,} lines: {many / 1024:.0f} MiB")
    assert many < few + 96 * 1024


def test_memory_does_not_grow_with_the_lines(tmp_path: Path) -> None:
    """50,000 lines take at most 96 MiB more than 5,000 do: the caches, which are bounded, fill up."""
    _bounded(tmp_path, 5_000, 50_000)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_a_million_lines_in_bounded_memory(tmp_path: Path) -> None:
    """A million lines take at most 96 MiB more than 50,000 do."""
    _bounded(tmp_path, 50_000, 1_000_000)


@pytest.mark.kafka
def test_a_broker_that_goes_away_makes_lines_unknown(tmp_path: Path, own_broker: Broker) -> None:
    """Within --timeout each line is answered unknown, with exit code 4, also where --strict would say 3."""
    address = f"kafka://{own_broker.address}/ledger"
    assert run("topic", "create", "--log", address, folder=tmp_path).code == 0
    arguments = ("publish", "--json", "--strict", "--timeout", "3", "--log", address)
    process = start(*arguments, folder=tmp_path, stdin=subprocess.PIPE)
    process.stdin.write(b"no json\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["verdict"] == "malformed"
    own_broker.pause()
    began = time.monotonic()
    process.stdin.write(b"\n".join([pause(), resume(), note(1)]) + b"\n")
    process.stdin.close()
    found = complete_lines(process.stdout.read())
    process.wait(60)
    took = time.monotonic() - began
    own_broker.unpause()
    assert [(one["verdict"], one["code"]) for one in found] == [("unknown", "unacknowledged")] * 3
    assert all(set(one) == UNKNOWN_MEMBERS and one["partition"] is None for one in found)
    assert [one["id"] for one in found] == ["open-1", "resume-1", "note-1"]
    assert process.returncode == 4
    assert process.stderr.read().startswith(b"pauseledger: 3 of these events got no verdict within")
    assert 2.9 < took < 30.0
    process.stdout.close()
    process.stderr.close()
    settled = run("publish", "--json", "--log", address, folder=tmp_path, stdin=b"\n".join([pause(), note(1)]))
    assert settled.code == 0
    effective = [one.get("first", one)["verdict"] for one in settled.lines]
    assert effective == ["accepted", "accepted"]


def test_verdicts_are_printed_while_the_next_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict that is there is not held back by one that is not."""
    import sys

    from consumers.cli.publish import _json_line, _Printer
    from ledger.parcels import Answers, Parcel, answer_all
    from ledger.sending import Sending, Unknown

    read, write = os.pipe()
    with os.fdopen(write, "w") as out, os.fdopen(read, "rb") as reader:
        monkeypatch.setattr(sys, "stdout", out)
        printer = _Printer(_json_line, lambda _: None)
        sendings = [Sending(b"a"), Sending(b"b")]
        printer.put(cast(Answers, Parcel(sendings, 0.0, many=True).future))
        answer_all([(sendings[0], Unknown("T-1", "a", None, None))], threading.Lock())
        got: list[Any] = []
        reading = threading.Thread(target=lambda: got.append(reader.readline()))
        reading.start()
        try:
            until(lambda: got, what="the first verdict")
        finally:
            answer_all([(sendings[1], Unknown("T-1", "b", None, None))], threading.Lock())
            printed = printer.finish()
            out.flush()
            reading.join()
    assert printed["unknown"] == 2


def test_an_index_beside_the_log_is_used(tmp_path: Path) -> None:
    """PAUSELEDGER_INDEX names another file, and the log's then holds no index."""
    env = {"PAUSELEDGER_LOG": url(tmp_path / "log.db"), "PAUSELEDGER_INDEX": url(tmp_path / "index.db")}
    assert run("publish", folder=tmp_path, stdin=line("note.added", {"text": "x"}, actor=DANA), env=env).code == 0
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["index.db", "log.db"]
