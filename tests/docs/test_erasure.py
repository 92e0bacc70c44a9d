"""The page on erasure is true: what it tells to run runs, and does what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from consumers.settings import Settings
from tests.consumers.api.test_process import served
from tests.docs.test_readme import ROOT, run
from tests.faults.command import run as command

PAGE = (ROOT / "docs" / "erasure.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", re.DOTALL)
KEYS = {"PAUSELEDGER_PERSONAL_KEYS": "sqlite:///personal-keys.db"}


def block(kind: str) -> str:
    (found,) = [code for marked, code in _BLOCK.findall(PAGE) if marked == kind]
    return str(found)


def test_marked_revealed_and_forgotten_as_the_page_says(tmp_path: Path) -> None:
    """The shell and the Python example seal; the command to forget leaves nothing to be revealed."""
    printed = run(["sh", "-eu", "-c", block("shell")], tmp_path)
    assert "sealed:v1:" in printed
    assert re.search(r"^0:0 +/text +revealed +Anna called, she moves to Graz$", printed, re.MULTILINE)
    assert run([sys.executable, "-c", block("python")], tmp_path) == ""
    printed = run(["sh", "-eu", "-c", block("forget")], tmp_path)
    assert re.search(r"^The key [0-9a-f]{32} was destroyed at .* by role:privacy\.$", printed, re.MULTILINE)
    assert len(re.findall(r"/text +forgotten", printed)) == 2
    assert "revealed" not in printed


def test_the_http_example_is_sealed(tmp_path: Path) -> None:
    """curl's event is accepted, and its text is not on the ledger."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not here")
    with served(tmp_path, **KEYS) as server:
        script = block("http").replace("http://127.0.0.1:8750", str(server.base_url).rstrip("/"))
        done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, timeout=60, check=True)
        assert '"verdict":"accepted"' in done.stdout
        assert "sealed:v1:" in server.get("/v1/work-items/T-7/trail").text
    revealed = command(
        "trail", "T-7", "--reveal", folder=tmp_path, env=KEYS | {"PAUSELEDGER_LOG": "sqlite:///ledger.db"}
    )
    assert "Anna wrote" in revealed.out


def test_the_page_names_settings_and_files_that_there_are() -> None:
    """A setting that is renamed is renamed here; links lead somewhere."""
    names = set(re.findall(r"PAUSELEDGER_(\w+)", PAGE))
    assert {name.lower() for name in names} <= Settings.model_fields.keys()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
