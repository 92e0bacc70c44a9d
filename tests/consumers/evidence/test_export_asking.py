"""What ``export`` says of what it was asked: which option is wrong, which name has no entry, which place is wrong."""

from __future__ import annotations

import json

import pytest

from ledger.errors import WrongUsage
from tests.consumers.evidence.test_export import Ledger, acme, run, signed

__all__ = ["acme", "signed"]

EARLY, LATE = "2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z"
WRONG: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "no time from": (["--active-from", "yesterday"], ("--active-from yesterday",)),
    "no time to": (["--active-to", "2026-12-01"], ("--active-to 2026-12-01",)),
    "no time until": (["--all", "--until", "2026-12-01"], ("--until 2026-12-01",)),
    "turned round": (["--active-from", LATE, "--active-to", EARLY], ("--active-from", "is not before --active-to")),
    "nothing between": (["--active-from", EARLY, "--active-to", EARLY], ("is not before --active-to",)),
    "nothing asked": ([], ("--subject, --all", "--owner, --verdict, --active-from and --active-to")),
    "all and some": (["--all", "--subject", "T-1"], ("--all and --subject don't go together",)),
    "three": (
        ["--all", "--verdict", "refused", "--active-to", LATE],
        ("--all, --verdict and --active-to don't go together",),
    ),
    "a partition of some": (["--subject", "T-1", "--partition", "0"], ("--partition goes with --all only",)),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_option_that_is_wrong_is_named(name: str, signed: Ledger) -> None:
    """An error speaks of the options as they were given, and of no other."""
    given, says = WRONG[name]
    result = run("export", *given, "--out", str(signed.folder / "bundle"))
    assert isinstance(result.exception, WrongUsage)
    assert all(one in str(result.exception) for one in says), result.exception
    assert "--at " not in str(result.exception)


@pytest.mark.parametrize("name", ["a.ZIP", "a.Zip", "a.tar", "a.tar.gz", "a.TGZ", "a.gz", "a.7z"])
def test_no_folder_is_made_in_the_name_of_another_archive(name: str, signed: Ledger) -> None:
    """Only ``.zip`` makes a zip: who names another archive wants a file, and gets no folder of that name."""
    result = run("export", "--all", "--out", str(signed.folder / name))
    assert isinstance(result.exception, WrongUsage)
    assert "ends in .zip" in str(result.exception)
    assert not (signed.folder / name).exists()


def test_a_name_without_an_entry_is_told(signed: Ledger) -> None:
    """The exporter says on stderr which it is, the verifier proves it; scripts get the manifest and nothing else."""
    out = signed.folder / "bundle"
    result = run("export", "--subject", "TYPO-1", "--subject", "T-1", "--out", str(out))
    assert result.exit_code == 0
    assert result.stderr.splitlines() == ["No entry of 'TYPO-1' is under the checkpoints: is the name right?"]
    found = signed.verify(out)
    assert found["ok"]
    assert "There is no entry of 'TYPO-1' under the checkpoints." in found["proven"]
    assert not any("no entry" in one for one in signed.verify(signed.export("--subject", "T-1", name="b"))["proven"])
    quiet = run("export", "--subject", "TYPO-1", "--json", "--out", str(signed.folder / "c"))
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert json.loads(quiet.stdout)["subjects"] == ["TYPO-1"]
