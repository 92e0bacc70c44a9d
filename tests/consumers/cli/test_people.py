"""What people read on the command line: one pause needs no name, trails tell how it was decided, listings of what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consumers.api.serving import warning
from consumers.settings import Settings
from tests.faults.command import run
from tests.faults.lines import line

ACTION = {"kind": "write", "name": "refund", "arguments": {"order": 7}}


def told(folder: Path, name: str, **data: Any) -> None:
    """One event on the folder's ledger."""
    given = {"execution": "run-1", "pause": "p1", **data}
    run("publish", folder=folder, stdin=line(name, given, id=f"{name}-{given['pause']}", actor="user:dana"))


def opened(folder: Path, pause: str) -> None:
    told(folder, "pause.opened", pause=pause, owner="user:dana", fresh_for="PT1H", pending_action=ACTION)


def test_the_only_pause_need_not_be_named(tmp_path: Path) -> None:
    """With one pause its packet is meant; with none or several it is said what to do."""
    opened(tmp_path, "p1")
    named, meant = (run("packet", "T-1", *more, "--json", folder=tmp_path) for more in (("--pause", "p1"), ()))
    assert (meant.code, meant.out) == (0, named.out)
    none = run("packet", "T-2", folder=tmp_path)
    assert (none.code, none.out) == (1, "")
    assert "T-2 has no pause." in none.err
    opened(tmp_path, "p2")
    several = run("packet", "T-1", folder=tmp_path)
    assert (several.code, several.out) == (2, "")
    assert "Name one with --pause: p1, p2." in several.err


def test_a_trail_says_what_was_decided_and_seen(tmp_path: Path) -> None:
    """Approved or rejected, happened or not: it stands in the line, and not in JSON only."""
    opened(tmp_path, "p1")
    told(tmp_path, "review.decided", outcome="reject")
    told(tmp_path, "side_effect.observed", status="happened")
    trail = run("trail", "T-1", folder=tmp_path).out
    assert "review.decided        p1 reject by user:dana" in trail
    assert "side_effect.observed  p1 happened by user:dana" in trail


@pytest.mark.parametrize("command", ["inbox", "debts"])
def test_listings_say_what_it_is_about(tmp_path: Path, command: str) -> None:
    """The action and the execution, and the pause's long name last; in JSON, too."""
    opened(tmp_path, "p1")
    heading, row = run(command, folder=tmp_path).out.splitlines()
    assert heading.split()[-2:] == ["execution", "pause"]
    assert row.split()[-2:] == ["run-1", "p1"]
    assert " refund " in row
    assert run(command, "--json", folder=tmp_path).json[0]["action"] == "refund"


def test_before_the_first_entry_there_was_no_pause(tmp_path: Path) -> None:
    """Asked of an instant before it was opened, the sentence speaks of that instant."""
    opened(tmp_path, "p1")
    then = run("decision", "T-1", "--at", "2020-01-01T00:00:00Z", folder=tmp_path)
    assert then.out == "T-1 had no pause at that instant.\n"
    assert run("decision", "T-2", folder=tmp_path).out == "T-2 has no pause on this ledger.\n"


def test_doctor_knows_every_extra(tmp_path: Path) -> None:
    """Each extra of the project, but those that are several at once, is looked for."""
    from consumers.cli.doctor_fleet import EXTRAS
    from tests.docs.test_runtimes import EXTRAS as DECLARED

    assert set(EXTRAS) == set(DECLARED) - {"all", "runtimes"}


@pytest.mark.parametrize(
    ("host", "certificate", "is_open", "says"),
    [
        ("127.0.0.1", None, True, "nobody is asked"),
        ("0.0.0.0", None, False, "unencrypted"),
        ("127.0.0.1", None, False, ""),
        ("0.0.0.0", "chain.pem", False, ""),
    ],
)
def test_serving_tokens_in_the_clear_is_warned_of(host: str, certificate: str | None, is_open: bool, says: str) -> None:
    """Tokens over plain HTTP from other machines: whoever starts the server is told; where TLS is on, nothing is."""
    settings = Settings.read(api_host=host, api_tls_certificate=certificate)
    said = warning(settings, is_open=is_open)
    assert says in said
    assert bool(said) == bool(says)
