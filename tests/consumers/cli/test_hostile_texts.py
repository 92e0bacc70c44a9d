"""Whatever a publisher writes into names and notes, in text output it neither drives a terminal nor makes lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consumers.cli import show
from consumers.cli.options import console
from tests.faults.command import Result, run
from tests.faults.lines import REFUND, line, opened

HOSTILE = "x\n0:99  accepted\r\x1b[2J\x1b]0;t\x07\x9b31m\x7f\u202e\u2066\u200b\u2028\ufeff\u00ad[red]y[/]z"
HARMLESS = "x"
_RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u200b\u2028\u202e\u2066\ufeff]")
COMMANDS = (
    ("decision", "SUBJECT"),
    ("packet", "SUBJECT", "--pause", "PAUSE"),
    ("trail", "SUBJECT"),
    ("decision", "NOBODY"),
    ("trail", "NOBODY"),
    ("packet", "NOBODY"),
    ("packet", "SUBJECT", "--pause", "NOBODY"),
    ("owners",),
    ("owners", "--changes"),
    ("inbox",),
    ("debts",),
    ("deadlines",),
    ("alerts",),
    ("alerts", "--undecided"),
    ("alerts", "replay", "NOBODY"),
    ("export", "--subject", "SUBJECT", "--out", "NOBODY"),
    ("export", "--all", "--until", "NOBODY", "--out", "there"),
    ("decision", "SUBJECT", "--at", "NOBODY"),
    ("doctor", "--index", "NOBODY"),
)


def ledger(name: str) -> bytes:
    """A day in which every text that a publisher chooses is this one, each behind a letter of its own."""
    action = REFUND | {key: f"{key}{name}" for key in ("kind", "name", "target")}
    members = {"execution": f"e{name}", "owner": f"o{name}", "pending_action": action, "trigger": f"t{name}"}
    unknown = members | {"side_effect": "indeterminate", "reconcile_within": "PT1H"}
    who = {"subject": f"T{name}", "actor": f"o{name}"}
    claim = {"execution": f"e{name}", "role": "canonical", "owner": f"o{name}"}
    lines = [
        line("branch.started", {"execution": f"e{name}", "by": f"o{name}", "owner": f"o{name}"}, id="1", **who),
        line("ownership.claimed", claim, id="2", **who),
        line("pause.opened", opened(f"p{name}", **members), id=f"3{name}", **who),
        line("pause.opened", opened(f"q{name}", **unknown), id="4", **who),
        line("note.added", {"text": f"n{name}", "pause": f"p{name}"}, id="5", **who),
        line("note.added", {"text": "n"}, id="6", **(who | {"type": f"pauseledger.{name}"})),
        line("heartbeat.recorded", {"execution": f"e{name}", "pause": f"r{name}"}, id="7", **who),
    ]
    return b"\n".join(lines) + b"\n"


def told(folder: Path, name: str) -> dict[tuple[str, ...], Result]:
    """What every command says of such a ledger."""
    folder.mkdir()
    found: dict[tuple[str, ...], Result] = {("publish",): run("publish", folder=folder, stdin=ledger(name))}
    words = {"SUBJECT": f"T{name}", "PAUSE": f"p{name}", "NOBODY": f"N{name}"}
    for command in COMMANDS:
        found[command] = run(*(words.get(one, one) for one in command), folder=folder)
    return found


def test_no_command_prints_raw_what_a_publisher_wrote(tmp_path: Path) -> None:
    """Each says so many lines as of a ledger with harmless names, and none holds a character that does something."""
    hostile, harmless = told(tmp_path / "a", HOSTILE), told(tmp_path / "b", HARMLESS)
    assert "9 accepted" not in harmless["publish",].err
    for command, result in hostile.items():
        said = result.out + result.err
        assert not _RAW.search(said), (command, said)
        assert said.count("\n") == (harmless[command].out + harmless[command].err).count("\n"), (command, said)
        assert result.code == harmless[command].code, (command, said)
        assert "Traceback" not in said
    shown: list[tuple[str, ...]] = [("publish",), *COMMANDS[:3], *COMMANDS[7:12]]
    for command in shown:
        assert "<U+001B>[2J" in hostile[command].out, command
        assert "[red]y[/]" in hostile[command].out, command


@pytest.mark.parametrize("name", sorted(show._COLUMNS))
def test_no_listing_prints_raw_what_a_publisher_wrote(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every column of every listing is one line of visible characters."""
    row = dict.fromkeys(show._COLUMNS[name], HOSTILE)
    show.listing(console(), name, [row | ({"decision": "resume"} if name == "inbox" else {})], "none")
    said = capsys.readouterr().out
    assert said.count("\n") == 2
    assert not _RAW.search(said)


def test_json_is_what_was_recorded(tmp_path: Path) -> None:
    """With ``--json`` nothing is made visible: scripts get the names as they are, each on no line of its own."""
    assert run("publish", folder=tmp_path, stdin=ledger(HOSTILE)).code == 0
    found = run("trail", f"T{HOSTILE}", "--json", folder=tmp_path)
    assert found.json[0]["subject"] == f"T{HOSTILE}"
    assert found.out.count("\n") == 1


def test_lines_are_written_in_two_places_only() -> None:
    """Commands and the demo print through what makes texts visible; nobody takes another way to the terminal."""
    root = Path(show.__file__).parents[1]
    ways = re.compile(r"typer\.s?echo\(|click\.echo\(|(?<![\w.])print\(|(?<!\w)(?:Text|Console)\(|Text\.|\[Console\]")
    files = [*(root / "cli").glob("*.py"), *(root / "demo").glob("*.py")]
    found = {one.name for one in files if ways.search(one.read_text())}
    assert found == {"options.py", "drawing.py", "ending.py"}
