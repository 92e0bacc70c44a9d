"""The real command line, each time in a process of its own.

``start`` starts Python anew. ``run`` lets a process that has imported the program fork one for the command, which
saves the second that the imports take; what it runs is the same ``main``, with stdin, stdout and stderr of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

COMMAND = [sys.executable, "-c", "from consumers.cli.app import main; main()"]
END_SECONDS = 120.0
_TOO_LONG = -signal.SIGKILL
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
    user: int | None = None,
    seconds: float = END_SECONDS,
) -> Result:
    """Run ``pauseledger`` in a folder until it ends.

    ``limit`` runs in the process before it starts; ``user`` is whom it runs as, where we may choose.
    """
    if limit is None:
        return _forked(arguments, folder, stdin, environment(**(env or {})), seconds, user)
    process = start(*arguments, folder=folder, env=env, stdin=subprocess.PIPE, preexec_fn=limit)
    try:
        out, err = process.communicate(stdin, timeout=seconds)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Result(process.returncode, out.decode(), err.decode())


def _forked(
    arguments: Sequence[str], folder: Path, stdin: bytes, env: dict[str, str], seconds: float, user: int | None
) -> Result:
    with tempfile.TemporaryDirectory(prefix="run-") as streams:
        paths = [f"{streams}/{name}" for name in ("in", "out", "err")]
        Path(paths[0]).write_bytes(stdin)
        order = {"arguments": list(arguments), "folder": str(folder), "env": env, "paths": paths, "seconds": seconds}
        order["user"] = user if os.geteuid() == 0 else None
        parent = _parent()
        parent.stdin.write(json.dumps(order).encode() + b"\n")
        parent.stdin.flush()
        code = int(parent.stdout.readline())
        assert code != _TOO_LONG, f"{arguments} did not end within {seconds:g} s"
        return Result(code, Path(paths[1]).read_text(), Path(paths[2]).read_text())


_PARENTS: list[Any] = []


def _parent() -> Any:
    """The process that forks; started when it is first needed, ended with the tests."""
    if not _PARENTS or _PARENTS[-1].poll() is not None:
        started = [sys.executable, "-c", "from tests.faults.command import serve; serve()"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        _PARENTS.append(subprocess.Popen(started, cwd=Path(__file__).parents[2], env=environment(), **pipes))
        atexit.register(_PARENTS[-1].communicate)
    return _PARENTS[-1]


def serve() -> None:
    """Fork a process for each order that comes on stdin, and say how it ended."""
    import rich.progress  # noqa: F401  # a user who can't read the environment can't import it later

    import consumers.cli.show  # noqa: F401
    import ledger.logs.kafka
    import ledger.logs.sqlite  # noqa: F401
    from consumers.cli.app import main

    orders = os.fdopen(os.dup(0), "rb", buffering=0)
    while text := orders.readline():
        order = json.loads(text)
        if (child := os.fork()) == 0:
            os._exit(_obey(order, main))
        os.write(1, b"%d\n" % _ended(child, order["seconds"]))


def _ended(child: int, seconds: float) -> int:
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    _, status = os.waitpid(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return os.waitstatus_to_exitcode(status)


def _obey(order: dict[str, Any], main: Callable[[], None]) -> int:
    """In the forked process: run the command as if it had been started, and return its exit code."""
    read, *written = order["paths"]
    os.dup2(os.open(read, os.O_RDONLY), 0)
    for number, path in enumerate(written, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(order["folder"])
    if (user := order["user"]) is not None:
        os.setgid(user)
        os.setuid(user)
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["pauseledger", *order["arguments"]]
    code: object = 1
    try:
        main()
        code = 0
    except SystemExit as leaving:
        code = leaving.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 1


def complete_lines(data: bytes) -> list[dict[str, Any]]:
    """The JSON lines that were written whole; what a kill cut off is left out."""
    return [json.loads(line) for line in data.split(b"\n")[:-1]]
