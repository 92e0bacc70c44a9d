"""The shape of the project, kept as tests: import arrows, a core without side doors, sizes, names, docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("ledger", "projections", "consumers")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60

MAY_IMPORT = {
    "ledger": {"ledger"},
    "projections": {"ledger", "projections"},
    "consumers": {"ledger", "projections", "consumers"},
}

# The protocol as code. What these import is all that a verdict may depend on.
PURE = [
    "actions",
    "branch_table",
    "changes",
    "checks",
    "cloudevents",
    "decision",
    "events",
    "evidence/bundle",
    "evidence/case",
    "evidence/covering",
    "evidence/csv_tables",
    "evidence/entries_file",
    "evidence/failures",
    "evidence/judging",
    "evidence/leaves",
    "evidence/lines",
    "evidence/manifest_check",
    "evidence/merkle",
    "evidence/notes",
    "evidence/ocsf",
    "evidence/proofs",
    "evidence/readme",
    "evidence/renderings",
    "evidence/report",
    "evidence/report_parts",
    "evidence/report_style",
    "evidence/rows",
    "evidence/sheets",
    "evidence/statements",
    "evidence/tiles",
    "evidence/view",
    "evidence/visible",
    "fold",
    "json_text",
    "packet",
    "partitions",
    "personal",
    "record",
    "refusals",
    "times",
    "verdict",
]
PURE_LIBRARIES = {"pydantic", "orjson", "rfc8785"}
PURE_STDLIB = {
    "__future__",
    "array",
    "base64",
    "binascii",
    "collections",
    "collections.abc",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "html",
    "itertools",
    "json",
    "math",
    "re",
    "struct",
    "textwrap",
    "typing",
}
IMPURE_CALLS = re.compile(r"(datetime|date)\.(now|utcnow|today)|open|input|print|exec|eval|__import__|id|hash")

BANNED = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager", "handler", "service", "engine"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module that a file imports, also inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the arrows"
            yield node.module or ""


def called_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def functions(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def lines_of(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def words_of(name: str) -> set[str]:
    """The parts of a name in snake_case or CamelCase, in lower case."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


def unannotated(function: Function) -> list[str]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    missing = [one.arg for one in every if one.annotation is None and one.arg not in ("self", "cls")]
    return missing if function.returns is not None else [*missing, "return"]


code = pytest.mark.parametrize("path", sources(*PACKAGES), ids=named)
code_and_tests = pytest.mark.parametrize("path", sources(*PACKAGES, "tests"), ids=named)
pure_code = pytest.mark.parametrize("path", [ROOT / "ledger" / f"{name}.py" for name in PURE], ids=named)
in_tests = pytest.mark.parametrize("path", sources("tests"), ids=named)


@code
def test_arrows_point_one_way(path: Path) -> None:
    """consumers -> projections -> ledger, and nothing the other way; nothing imports the tests."""
    allowed = MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    ours = {name.partition(".")[0] for name in imports(tree_of(path))} & {*PACKAGES, "tests"}
    assert ours <= allowed


@pure_code
def test_the_core_imports_nothing_that_knows_the_world(path: Path) -> None:
    """A verdict depends on the records alone: no clock, file, environment, thread, chance or client library."""
    pure = {f"ledger.{name.replace('/', '.')}" for name in PURE} | {"ledger"}
    for name in imports(tree_of(path)):
        library = name.partition(".")[0] in PURE_LIBRARIES
        assert library or name in PURE_STDLIB or name in pure, f"{named(path)} imports {name}"


@pure_code
def test_the_core_calls_nothing_that_knows_the_world(path: Path) -> None:
    """Nor does it ask the time or the process by a call: ``now`` is an argument."""
    assert [name for name in called_names(tree_of(path)) if IMPURE_CALLS.fullmatch(name)] == []


@code_and_tests
def test_files_are_short(path: Path) -> None:
    """A file has at most 400 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@code_and_tests
def test_functions_are_short(path: Path) -> None:
    """A function has at most 60 lines."""
    long = {one.name: lines_of(one) for one in functions(tree_of(path)) if lines_of(one) > LONGEST_FUNCTION}
    assert long == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_open_with_a_map(package: str) -> None:
    """The three packages' ``__init__`` is a docstring, with a pinned ``__all__`` and what it names at most."""
    tree = tree_of(ROOT / package / "__init__.py")
    assert ast.get_docstring(tree)
    for statement in tree.body[1:]:
        assert isinstance(statement, (ast.Import, ast.ImportFrom, ast.Assign)), ast.unparse(statement)


@pytest.mark.parametrize(
    "path",
    [path for path in sources(*PACKAGES) if path.name == "__init__.py" and len(path.relative_to(ROOT).parts) > 2],
    ids=named,
)
def test_sub_packages_are_empty(path: Path) -> None:
    """A sub-package's ``__init__`` stays empty: importing one file never runs another."""
    assert path.read_bytes() == b""


@code_and_tests
def test_names_say_what_a_thing_is(path: Path) -> None:
    """No module and no class is named after the drawer that it was thrown into."""
    assert not words_of(path.stem) & BANNED
    classes = [node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
    assert [name for name in classes if words_of(name) & BANNED] == []


@code_and_tests
def test_every_function_is_annotated(path: Path) -> None:
    """Arguments and results say their types."""
    found = {one.name: missing for one in functions(tree_of(path)) if (missing := unannotated(one))}
    assert found == {}


@pure_code
def test_public_fields_are_annotated(path: Path) -> None:
    """A public class of the core declares its fields with types, never by bare assignment."""
    for node in tree_of(path).body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        bare = [one for one in node.body if isinstance(one, ast.Assign) and not _is_setting(node, one)]
        assert [ast.unparse(one) for one in bare] == []


def _is_setting(owner: ast.ClassDef, statement: ast.Assign) -> bool:
    """Class-level settings: pydantic's ``model_config``, and what an exception says of all its kind."""
    names = {ast.unparse(target) for target in statement.targets}
    return names <= {"model_config", "__slots__"} or (owner.bases[:1] != [] and names <= {"exit_code", "http_status"})


@in_tests
def test_every_test_says_what_it_shows(path: Path) -> None:
    """Each test function has a docstring of one sentence."""
    for one in functions(tree_of(path)):
        if one.name.startswith("test_"):
            text = ast.get_docstring(one) or ""
            assert text.endswith("."), f"{one.name}: {text!r}"
            assert len(re.findall(r"[.!?](?=\s+[A-Z]|$)", text)) == 1, f"{one.name} says more than one sentence"


def test_the_pure_modules_are_all_there() -> None:
    """The list of pure modules names files that exist, so that a renamed one does not slip out of the tests above."""
    assert [name for name in PURE if not (ROOT / "ledger" / f"{name}.py").is_file()] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [("DataBaseEngine", {"data", "base", "engine"}), ("json_text", {"json", "text"}), ("baseline", {"baseline"})],
)
def test_the_words_of_a_name(name: str, words: set[str]) -> None:
    """A banned word is found as a part of a name, and only as a whole part."""
    assert words_of(name) == words


def test_a_wrong_arrow_is_seen() -> None:
    """The reader of imports finds one hidden in a function, and a call of the clock."""
    tree = ast.parse("def f():\n    import consumers.cli\n    return datetime.now()")
    assert list(imports(tree)) == ["consumers.cli"]
    assert [name for name in called_names(tree) if IMPURE_CALLS.fullmatch(name)] == ["datetime.now"]
    assert unannotated(next(functions(tree))) == ["return"]
