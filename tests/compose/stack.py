"""``docker-compose.yml`` without Docker: our services' own commands and environments, as processes of this machine.

What a container would have is put in its place: host names, ports and paths. All else is as the file says.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.broker import HOST, Broker, free_port
from tests.faults.command import start
from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}")


def compose() -> dict[str, Any]:
    """The file, its variables as when none is set."""
    content = _interpolated(yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert isinstance(content, dict)
    return content


def _interpolated(part: Any) -> Any:
    """In the values, after the file was read: what is empty then is an empty text."""
    if isinstance(part, dict):
        return {name: _interpolated(value) for name, value in part.items()}
    if isinstance(part, list):
        return [_interpolated(value) for value in part]
    return _VARIABLE.sub(lambda found: found["default"], part) if isinstance(part, str) else part


def ours(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run pauseledger."""
    return {name: service for name, service in content["services"].items() if service["image"] == "pauseledger"}


class Container:
    """One service, and what stands on this machine for what its container would have."""

    def __init__(self, name: str, service: Mapping[str, Any], stands_for: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self._service = service
        self._stands_for = {**stands_for, "0.0.0.0:9108": f"{HOST}:{free_port()}"}
        self._process: subprocess.Popen[bytes] | None = None

    def put(self, text: str) -> str:
        """A text of the file, with what is there on this machine."""
        for there, here in self._stands_for.items():
            text = text.replace(there, here)
        return text.replace("127.0.0.1:9108", self._stands_for["0.0.0.0:9108"])

    @property
    def environment(self) -> dict[str, str]:
        return {name: self.put(str(value)) for name, value in self._service["environment"].items()}

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "stderr.log").read_text()

    def start(self) -> None:
        with open(self.folder / "stderr.log", "ab") as output:
            self._process = start(*self._service["command"], folder=self.folder, env=self.environment, stderr=output)

    def ended(self, seconds: float) -> int:
        """Its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> int:
        """As ``docker compose stop``: its exit code, within the file's own patience."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.ended(float(str(self._service["stop_grace_period"]).removesuffix("s")))

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()

    def is_healthy(self) -> bool:
        """What its healthcheck says."""
        kind, program, *arguments = self._service["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")
        command = [sys.executable, *map(self.put, arguments)]
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


class Stack:
    """All of our services, beside a broker and a database."""

    def __init__(self, broker: Broker, postgres: Postgres, folder: Path) -> None:
        self.folder = folder
        self.tokens = folder / "tokens.json"
        self.api_port = free_port()
        self.broker = broker
        stands_for = {
            "broker:19092": broker.address,
            "postgres:5432": f"{HOST}:{postgres.port}",
            "/run/secrets/tokens": str(self.tokens),
            "/var/lib/pauseledger/outbox": str(folder),
            "127.0.0.1:8750": f"{HOST}:{self.api_port}",
        }
        self.services = {
            name: Container(name, service, stands_for, folder) for name, service in ours(compose()).items()
        }
        api = self.services["api"]
        api._stands_for |= {"0.0.0.0": HOST, "8750": str(self.api_port)}

    def asked(self, path: str, token: str, body: bytes | None = None) -> bytes:
        """What the API answers."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/cloudevents+json"}
        request = urllib.request.Request(f"http://{HOST}:{self.api_port}{path}", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def logs(self) -> str:
        return "\n".join(f"--- {name}\n{one.log[-2_000:]}" for name, one in self.services.items() if one._process)


@contextmanager
def stack(broker: Broker, postgres: Postgres, folder: Path) -> Iterator[Stack]:
    """The services, not started; all ended afterwards."""
    made = Stack(broker, postgres, folder)
    try:
        yield made
    finally:
        for service in made.services.values():
            service.kill()
