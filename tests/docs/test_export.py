"""The page on exports is true: its walk goes as it says, and its kinds are those of the verifier."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

from ledger.evidence.failures import Kind
from tests.docs.test_readme import ROOT, run

PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"<!-- run: shell -->\n```sh\n(.*?)```", re.DOTALL)


def test_the_walk_goes_as_the_page_says(tmp_path: Path) -> None:
    """Published, signed, exported, verified; what was taken out is found, and so is a bundle that is too old."""
    exported, taken_out, too_old, others = _BLOCK.findall(PAGE)
    printed = run(["sh", "-eu", "-c", exported], tmp_path)
    assert "T-7.zip holds.\nProven:" in printed
    assert "Every entry of 'T-7' under the checkpoints is here: 2 records" in printed
    printed = run(["sh", "-eu", "-c", taken_out], tmp_path)
    (said,) = re.findall(r"^```\n(T-7 is REFUSED.*)\n```$", PAGE, re.MULTILINE)
    assert f"\n{said}\n" in printed
    assert printed.endswith("exit code 1\n")
    printed = run(["sh", "-eu", "-c", too_old], tmp_path)
    assert "T-7.zip is REFUSED: rolled-back." in printed
    assert "exit code 1\n" in printed
    found = json.loads(printed.splitlines()[-1])
    assert found["ok"]
    assert any("begins with the 4 leaves of the earlier checkpoint" in one for one in found["proven"])
    printed = run(["sh", "-eu", "-c", others], tmp_path)
    assert re.findall(r"^(\S+) holds\.$", printed, re.MULTILINE) == [
        "everything.zip",
        "before-it-began",
        "anns",
        "refusals",
    ]


def test_every_kind_of_failure_is_explained() -> None:
    """The table has the protocol's kinds, each once."""
    section = PAGE.partition("## When it is refused")[2]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \| .* \| .* \|$", section, re.MULTILINE)) == sorted(get_args(Kind))


def test_links_lead_somewhere() -> None:
    """Every page that is named is there."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
