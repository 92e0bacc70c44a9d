"""The tests' side of a runtime's program: a process that takes commands, and may be killed by one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults.command import environment

ROOT = Path(__file__).parents[3]


class Worker:
    """A process that runs a program's module. After a command that killed it, the next one starts another."""

    def __init__(self, module: str, log: Path) -> None:
        self._command = [sys.executable, "-m", module]
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def do(self, command: str, folder: Path, *, approval: dict[str, Any] | None = None, **scene: Any) -> Any:
        """Do a command and wait for its end; what it told, or ``"killed"``. An error of the program fails the test."""
        self.begin(command, folder, approval=approval, **scene)
        return self.told()

    def begin(self, command: str, folder: Path, *, approval: dict[str, Any] | None = None, **scene: Any) -> None:
        asked = {"command": command, "folder": str(folder), "approval": approval or {}, "scene": scene}
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()

    def told(self) -> Any:
        process = self._running()
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('{"told"'):  # libraries print, too
                return json.loads(line)["told"]
        code = process.wait()
        self._end()
        assert code == -9, f"{self._command} ended with {code}:\n{self._log.read_text()[-6000:]}"
        return "killed"

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            with self._log.open("a") as errors:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=ROOT,
                    env=environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@contextmanager
def workers(module: str, folder: Path) -> Iterator[tuple[Worker, Worker]]:
    """Two of them: most scenes need one."""
    with Worker(module, folder / "one.log") as one, Worker(module, folder / "other.log") as other:
        yield one, other
