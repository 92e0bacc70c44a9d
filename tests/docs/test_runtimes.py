"""The pages on runtimes are true: each one's program is the file beside it; it runs, and prints what the page says."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docs.test_readme import ROOT, run

PAGES = ROOT / "docs" / "runtimes"
EXTRAS = {
    extra: [Requirement(one).name for one in needed]
    for extra, needed in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ].items()
}
EXAMPLES = sorted(PAGES.glob("*_example.py"))
_PROGRAM = re.compile(r"<!-- example: (\w+\.py) -->\n```python\n(.*?)```", re.DOTALL)
_NEEDS = re.compile(r"^What the program needs: `pip install (.*)`$", re.MULTILINE)
_WORK_ITEM = re.compile(r"\bORDER-\d+\b")
_PRINTS = re.compile(r"<!-- prints -->\n```text\n(.*?)```", re.DOTALL)


def page_of(example: Path) -> Path:
    return example.with_name(example.name.replace("_example.py", ".md"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_a_page_shows_the_program_that_runs(example: Path, tmp_path: Path) -> None:
    """The page holds the program letter by letter, and what it prints in an empty folder."""
    text = page_of(example).read_text()
    assert dict(_PROGRAM.findall(text)) == {example.name: example.read_text()}
    assert _PRINTS.findall(text) == [run([sys.executable, str(example)], tmp_path)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_a_page_says_what_its_program_needs(example: Path) -> None:
    """Every import of the program is of the extra, or of a package, that the page's one pip line names."""
    (line,) = _NEEDS.findall(page_of(example).read_text())
    named = list(map(Requirement, shlex.split(line)))
    given = {canonicalize_name(one.name) for one in named}
    for one in named:
        given |= {canonicalize_name(name) for extra in one.extras for name in EXTRAS.get(extra, ())}
    assert "pauseledger" in given
    assert {package_of(module) for module in imported(example)} - {None} <= given


def imported(program: Path) -> set[str]:
    """The modules that a program imports: of ``from a.b import c`` also ``a.b.c``, where that is one."""
    found = set()
    for node in ast.walk(ast.parse(program.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def package_of(module: str) -> str | None:
    """The installed package that holds a module, by its file, for many packages share a name; null for our own."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("ledger", "consumers", "projections"):
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a class's name
        return None
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).resolve()
    for name in packages_distributions()[top]:
        if any(Path(str(file.locate())).resolve() == place for file in distribution(name).files or ()):
            return canonicalize_name(name)
    raise AssertionError(f"no package holds {module}")


def test_each_program_works_on_a_work_item_of_its_own() -> None:
    """Run in one folder, one after the other, none meets another's order on the ledger."""
    orders = [set(_WORK_ITEM.findall(example.read_text())) for example in EXAMPLES]
    assert [len(one) for one in orders] == [1] * len(EXAMPLES)
    assert len(set().union(*orders)) == len(EXAMPLES)


def test_every_adapter_has_its_page() -> None:
    """Each example has a page, and each page a program."""
    assert EXAMPLES
    assert [page_of(example).name for example in EXAMPLES if not page_of(example).exists()] == []
