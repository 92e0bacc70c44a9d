"""The real command line in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

COMMAND = [sys.executable, "-c", "from consumers.cli.app import main; main()"]
END_SECONDS = 120.0
_OWN = ("PAUSELEDGER_LOG", "PAUSELEDGER_INDEX", "COLUMNS", "FORCE_COLOR")


class Result(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be one JSON text and nothing else."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without settings of ledgers, and with those given."""
    return {name: value for name, value in os.environ.items() if name not in _OWN} | settings


def start(*arguments: str, folder: Path, env: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Start ``pauseledger`` in a folder; the process, with pipes unless told otherwise."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=environment(**(env or {})), **(pipes | options))


def run(
    *arguments: str,
    folder: Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    limit: Callable[[], None] | None = None,
    seconds: float = END_SECONDS,
) -> Result:
    """Run ``pauseledger`` in a folder until it ends. ``limit`` runs in the process before it starts."""
    process = start(*arguments, folder=folder, env=env, stdin=subprocess.PIPE, preexec_fn=limit)
    try:
        out, err = process.communicate(stdin, timeout=seconds)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Result(process.returncode, out.decode(), err.decode())


def complete_lines(data: bytes) -> list[dict[str, Any]]:
    """The JSON lines that were written whole; what a kill cut off is left out."""
    return [json.loads(line) for line in data.split(b"\n")[:-1]]
