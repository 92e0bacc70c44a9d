"""The README is true: its examples run, and print what it says they do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
_BLOCK = re.compile(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", re.DOTALL)


def blocks(kind: str) -> list[str]:
    """The examples of the README that are marked to be run."""
    return [code for marked, code in _BLOCK.findall(README) if marked == kind]


def run(command: list[str], folder: Path) -> str:
    """What a command prints; the tests' own commands come first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAUSELEDGER_")}
    done = subprocess.run(
        command, cwd=folder, env=environment | {"PATH": path}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_shell_example_runs(tmp_path: Path) -> None:
    """The first example records a pause, every command that follows reads it, and its export verifies."""
    script, evidence = blocks("shell")
    printed = run(["sh", "-eu", "-c", script], tmp_path)
    assert re.search(r"^accepted .* 0:0 .* T-7 .* pause\.opened", printed, re.MULTILINE)
    assert re.search(r"^resume  The plan is fresh", printed, re.MULTILINE)
    assert "refund" in printed
    assert "T-7 had no pause at that instant." in printed  # the time travel goes to before the first entry
    printed = run(["sh", "-eu", "-c", evidence], tmp_path)
    assert "T-7.zip holds." in printed
    assert "c2sp.org/tlog-proof@v1" in printed


def test_the_python_example_runs(tmp_path: Path) -> None:
    """The Python example acts with its permission, and started once more it has none and does nothing."""
    (script,) = blocks("python")
    assert run([sys.executable, "-c", script], tmp_path) == "refunded\n"
    assert run([sys.executable, "-c", script], tmp_path).startswith("decision-settle ")
    command = str(Path(sys.executable).parent / "pauseledger")
    assert run([command, "decision", "T-8"], tmp_path).startswith("settle  The side effect happened already")
    trail = json.loads(run([command, "trail", "T-8", "--json"], tmp_path))
    assert [line["verdict"] for line in trail if line["type"] == "pauseledger.side_effect.attempted"] == ["accepted"]


def test_every_file_that_the_readme_names_is_there() -> None:
    """No link of the README leads nowhere."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
def test_the_makefile_has_the_targets_that_are_promised() -> None:
    """`make` alone lists demo, test, check, bench, soak, docs and lock."""
    listed = run(["make", "-s", "help"], ROOT)
    assert {"demo", "test", "check", "bench", "soak", "docs", "lock"} <= {
        line.split()[0] for line in listed.splitlines()
    }
