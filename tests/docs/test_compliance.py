"""What the pages for auditors say can be done: each command that they name is there, with these options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from consumers.cli.app import app
from consumers.cli.run import JOBS
from ledger.evidence.readme import readme_txt
from tests.docs.test_readme import ROOT
from tests.ledger.evidence.views import owed_view

DOCS = ROOT / "docs"
PAGES = [DOCS / "compliance.md", DOCS / "trust.md"]
RULES = [
    "Article 12",
    "Article 14",
    "19(1) and 26(6)",
    "CC7",
    "A.6.2.8",
    "164.312(b)",
    "17a-4(f)",
    "Article 17",
    "Article 30",
]
_COMMAND = re.compile(r"`(pauseledger [^`]+)`")
_PROGRAM = typer.main.get_command(app)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def commands(page: Path) -> list[str]:
    return sorted(set(_COMMAND.findall(page.read_text())))


def problem_of(line: str) -> str | None:
    """Why a command is not one of this program; null where it is. Words in capitals stand for values."""
    command: Any = _PROGRAM
    words = shlex.split(line)[1:]
    while words and words[0] in getattr(command, "commands", ()):
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands") and (not command.invoke_without_command):
        return "there is no such command"
    values = sum(len(words) if one.nargs == -1 else 1 for one in command.params if one.param_type_name == "argument")
    options = {name: one for one in command.params if one.param_type_name == "option" for name in one.opts}
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            values -= 1
            if command.name == "run" and word not in JOBS:
                return f"there is no job {word}"
        elif word not in options:
            return f"it has no option {word}"
        elif not options[word].is_flag and (not words or words.pop(0).startswith("-")):
            return f"{word} has no value"
    return "it takes fewer values" if values < 0 else None


@pages
def test_every_command_is_there(page: Path) -> None:
    """Each command that a page names exists, with the options that it is given."""
    named = commands(page)
    assert len(named) >= 10
    assert [(line, problem) for line in named if (problem := problem_of(line))] == []


@pytest.mark.parametrize(
    "line",
    [
        "pauseledger comply",
        "pauseledger run auditor",
        "pauseledger decision T-1 --forever",
        "pauseledger decision T-1 --pause",
        "pauseledger decision T-1 T-2",
        "pauseledger topic",
    ],
)
def test_a_command_that_is_not_there_is_seen(line: str) -> None:
    """The check is one that fails: none of these can be run."""
    assert problem_of(line) is not None


@pytest.mark.parametrize(
    "line", ["pauseledger decision T-1 --pause P --at TIME", "pauseledger run watcher", "pauseledger alerts"]
)
def test_a_command_that_is_there_passes(line: str) -> None:
    """And these can be."""
    assert problem_of(line) is None


def test_the_readme_of_a_bundle_names_commands_that_are_there() -> None:
    """What an auditor is told to run in README.txt exists, with the option for an earlier checkpoint."""
    text = readme_txt(owed_view()).decode().replace("`pauseledger genesis v1`", "")  # which is a text to be hashed
    named = re.findall(r"^    (pauseledger .+)$", text, re.MULTILINE) + _COMMAND.findall(text.replace("\n", " "))
    assert sorted(named) == ["pauseledger keys show", "pauseledger verify BUNDLE --key 'NAME+ID+KEY'"]
    assert "--since CHECKPOINT-FILE" in text
    assert [problem_of(line) for line in (*named, f"{named[0]} --since CHECKPOINT-FILE")] == [None] * 3


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files that are linked exist, and so do the headings."""
    text = page.read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    missing = [link for link in links if not link.startswith("#") and not (DOCS / link.partition("#")[0]).exists()]
    assert missing == []
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert {link[1:] for link in links if link.startswith("#")} <= headings


def anchor(heading: str) -> str:
    """The name by which a heading is linked."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_rule_has_its_quote_its_source_and_its_limits() -> None:
    """No rule is named without its own words, where they are from, and what is not covered."""
    sections = (DOCS / "compliance.md").read_text().split("\n## ")[2:]
    assert [rule for rule, section in zip(RULES, sections, strict=True) if rule not in section.partition("\n")[0]] == []
    for section in sections:
        assert re.search(r'^> ".+', section, re.MULTILINE), section[:40]
        assert "\nSource: " in section, section[:40]
        assert "**Not covered.**" in section, section[:40]


def test_it_does_not_claim_what_article_12_does_not_say() -> None:
    """The page says itself that Article 12 asks for no protection against tampering."""
    text = (DOCS / "compliance.md").read_text()
    assert "The article does not ask for logs that can't be tampered with" in text


def test_each_part_says_whether_it_is_trusted_and_what_finds_it() -> None:
    """Every row of the table of parts has a verdict, an attack, and a check or the admission that there is none."""
    table = (DOCS / "trust.md").read_text().split("## Part by part")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in table.splitlines()
        if line.startswith("| **")
    ]
    assert len(rows) >= 20
    for part, trusted, attack, found in rows:
        assert re.match(r"no|\*\*yes\*\*", trusted), part
        assert attack
        assert "`" in found or "othing" in found or re.search(r"key|publisher|target|lock files", found), part
