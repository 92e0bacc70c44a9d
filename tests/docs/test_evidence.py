"""The page on evidence is true: what it tells to run runs, and the refusals that it explains are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from consumers.settings import Settings
from tests.docs.test_readme import ROOT, run

PAGE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
SOURCES = "".join(path.read_text() for path in (ROOT / "consumers" / "evidence").glob("*.py"))
EVENT = (
    '{"specversion":"1.0","id":"1","source":"s","type":"pauseledger.note.added","subject":"T-1","data":{"text":"x"}}\n'
)


def test_its_commands_run(tmp_path: Path) -> None:
    """Keys, a checkpoint as it is shown, and a proof in the file that it names."""
    (tmp_path / "events").write_text(EVENT)
    run(["pauseledger", "publish", "events"], tmp_path)
    (script,) = re.findall(r"<!-- run: shell -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    printed = run(["sh", "-eu", "-c", script], tmp_path)
    checkpoint = r"ledger\.example\.com/refunds/log/0\n2\n[\w+/=]{44}\n\n— ledger\.example\.com/refunds [\w+/=]+\n"
    assert re.search(checkpoint, printed)
    assert re.search(checkpoint.replace(r"\n2\n", r"\n3\n"), PAGE)
    assert (tmp_path / "entry.tlog-proof").read_text().startswith("c2sp.org/tlog-proof@v1\nindex 1\n")


def test_the_refusals_that_it_explains_are_said() -> None:
    """What is quoted in its table stands in the code, so that who searches for the sentence finds the page."""
    table = PAGE.split("## When it refuses")[1]
    quoted = [
        part.strip(" :;") for row in table.splitlines()[4:] for part in re.findall(r"\*(.+?)\*", row.split("|")[1])
    ]
    words = {word for quote in quoted for word in re.findall(r"\b[a-z]{4,}", quote)}
    assert len(quoted) > 8
    assert sorted(word for word in words if not re.search(rf"\b{word}\b", SOURCES)) == []


def test_it_names_settings_and_files_that_there_are() -> None:
    """A setting that is renamed is renamed here; links lead somewhere."""
    names = set(re.findall(r"PAUSELEDGER_(\w+)", PAGE))
    assert {name.lower() for name in names} <= Settings.model_fields.keys()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
