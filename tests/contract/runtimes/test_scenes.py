"""Every runtime plays the same eight scenes, on its real package: wired it acts at most once, and only when it may.

What the same run does without the ledger is kept, too: ``docs/runtimes/scenes/``, from which the table in
``docs/runtimes/README.md`` is made. ``PAUSELEDGER_WRITE_SCENES=1`` writes it anew.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.runtimes.scene import effects
from tests.contract.runtimes.scenes import SCENES, Play, ending
from tests.contract.runtimes.worker import Worker, workers

ROOT = Path(__file__).parents[3]
TOLD = ROOT / "docs" / "runtimes" / "scenes"
RUNTIMES = {
    "plain": "",
    "langgraph": "langgraph",
    "step_functions": "moto",
    "lambda_durable": "aws_durable_execution_sdk_python",
    "openai_agents": "agents",
    "pydantic_ai": "pydantic_ai",
    "dbos": "dbos",
    "temporal": "temporalio",
}
"""By the name of its program, ``NAME_program.py``: the package that it needs."""
HERE = "tests.contract.runtimes"
FOUND = [name for name in RUNTIMES if importlib.util.find_spec(f"{HERE}.{name}_program")]


@pytest.fixture(scope="module", params=FOUND)
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """A runtime's name, and its two processes with what they need to know: kept for all of its scenes."""
    name: str = request.param
    if RUNTIMES[name]:
        pytest.importorskip(RUNTIMES[name])
    folder = tmp_path_factory.mktemp(name)
    with ExitStack() as stack:
        extra = {}
        if importlib.util.find_spec(f"{HERE}.{name}_server"):  # what a deployment has beside the program
            extra = stack.enter_context(importlib.import_module(f"{HERE}.{name}_server").running(folder))
        yield name, (stack.enter_context(workers(f"{HERE}.{name}_program", folder)), extra)


def played(stage: tuple[tuple[Worker, Worker], dict[str, Any]], scene: str, folder: Path, *, wired: bool) -> list[int]:
    """Play a scene; the effects that it had."""
    folder.mkdir()
    pair, extra = stage
    SCENES[scene].play(Play(pair, folder, wired, extra))
    return effects(folder)


@pytest.mark.parametrize("scene", SCENES)
def test_a_runtime_acts_at_most_once_and_only_when_it_may(stage: tuple[str, Any], scene: str, tmp_path: Path) -> None:
    """Wired, the effects and the ledger's last word are right; without the ledger they are as the table says."""
    name, processes = stage
    with_ledger = played(processes, scene, tmp_path / "wired", wired=True)
    said = ending(tmp_path / "wired")
    without = played(processes, scene, tmp_path / "bare", wired=False)
    if os.environ.get("PAUSELEDGER_WRITE_SCENES"):
        written(name, scene, with_ledger, said, without)
    assert with_ledger == SCENES[scene].right
    assert said in SCENES[scene].decision
    assert told(name)[scene] == {"wired": with_ledger, "ledger": said, "bare": without}


def told(name: str) -> dict[str, Any]:
    path = TOLD / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def written(name: str, scene: str, wired: list[int], ledger: str, bare: list[int]) -> None:
    content = told(name) | {scene: {"wired": wired, "ledger": ledger, "bare": bare}}
    lines = [f"{json.dumps(one)}: {json.dumps(content[one])}" for one in SCENES if one in content]
    TOLD.mkdir(parents=True, exist_ok=True)
    (TOLD / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def test_the_table_tells_of_all_runtimes() -> None:
    """Each runtime that has a program is in the table, with all scenes, and no other is."""
    assert {path.stem: set(told(path.stem)) for path in TOLD.glob("*.json")} == {one: set(SCENES) for one in FOUND}
