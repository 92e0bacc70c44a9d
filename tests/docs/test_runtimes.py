"""The pages on runtimes are true: each one's program is the file beside it; it runs, and prints what the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.docs.test_readme import ROOT, run

PAGES = ROOT / "docs" / "runtimes"
EXAMPLES = sorted(PAGES.glob("*_example.py"))
_PROGRAM = re.compile(r"<!-- example: (\w+\.py) -->\n```python\n(.*?)```", re.DOTALL)
_PRINTS = re.compile(r"<!-- prints -->\n```text\n(.*?)```", re.DOTALL)


def page_of(example: Path) -> Path:
    return example.with_name(example.name.replace("_example.py", ".md"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_a_page_shows_the_program_that_runs(example: Path, tmp_path: Path) -> None:
    """The page holds the program letter by letter, and what it prints in an empty folder."""
    text = page_of(example).read_text()
    assert dict(_PROGRAM.findall(text)) == {example.name: example.read_text()}
    assert _PRINTS.findall(text) == [run([sys.executable, str(example)], tmp_path)]


def test_every_adapter_has_its_page() -> None:
    """Each example has a page, and each page a program."""
    assert EXAMPLES
    assert [page_of(example).name for example in EXAMPLES if not page_of(example).exists()] == []
