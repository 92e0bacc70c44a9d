"""``pauseledger run`` as processes of their own: started, watched by their log lines, and ended."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from consumers.settings import Settings
from tests.faults.command import start
from tests.faults.waiting import until

SESSION_SECONDS = 1.5
START_SECONDS = 60.0


class Process:
    """One ``pauseledger run``; its stderr goes into a file."""

    def __init__(self, folder: Path, name: str, *jobs: str, **settings: str) -> None:
        self.name = name
        self.path = folder / f"{name}.log"
        environment = {
            "PAUSELEDGER_SESSION_SECONDS": str(SESSION_SECONDS),
            "PAUSELEDGER_LOG_FORMAT": "json",
            **{f"PAUSELEDGER_{key.upper()}": value for key, value in settings.items()},
        }
        with open(self.path, "wb") as output:
            self.process = start("run", *(jobs or ("indexer",)), folder=folder, env=environment, stderr=output)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged: each line is one JSON object."""
        return [json.loads(line) for line in self.path.read_bytes().split(b"\n")[:-1]]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Its lines of one kind."""
        return [line for line in self.lines() if line["event"] == event]

    @property
    def share(self) -> list[int] | None:
        """The partitions that it says it has; null before it says so."""
        told = self.said("share of partitions")
        return told[-1]["partitions"] if told else None

    def says(self, event: str, *, times: int = 1, seconds: float = START_SECONDS) -> None:
        """Wait until it has said something."""
        until(
            lambda: len(self.said(event)) >= times or self.process.poll() is not None,
            seconds=seconds,
            what=f"{event!r} of {self.name}",
        )
        assert len(self.said(event)) >= times, self.path.read_text()

    def has_share(self, seconds: float = START_SECONDS) -> None:
        """Wait until it has partitions."""
        until(lambda: self.share or self.process.poll() is not None, seconds=seconds, what=f"a share of {self.name}")
        assert self.share, self.path.read_text()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def ended(self, seconds: float = 40.0) -> int:
        """Its exit code."""
        return int(self.process.wait(seconds))

    def drained(self) -> int:
        """SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """``kill -9``, whatever state it is in."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(20)
        for stream in (self.process.stdout, self.process.stdin):
            if stream is not None:
                stream.close()


class Processes:
    """Several of them on one ledger, all of which are ended in the end."""

    def __init__(self, folder: Path, log_url: str, index_url: str, **settings: str) -> None:
        self.folder, self.log_url, self.index_url = folder, log_url, index_url
        self._settings = {"log": log_url, "index": index_url, "group": folder.name, **settings}
        self.all: list[Process] = []

    def start(self, *jobs: str, **settings: str) -> Process:
        """Start one more."""
        process = Process(self.folder, f"process-{len(self.all)}", *jobs, **(self._settings | settings))
        self.all.append(process)
        return process

    def indexed(self) -> int:
        """How many offsets are in the index."""
        return sum(positions(self.log_url, self.index_url).values())

    def caught_up(self, ends: int, seconds: float = 240.0) -> None:
        """Wait until the index has so many offsets."""
        until(lambda: self.indexed() >= ends, seconds=seconds, what=f"an index of {ends} entries")


@contextmanager
def processes(folder: Path, log_url: str, index_url: str, **settings: str) -> Iterator[Processes]:
    """A place to start processes in."""
    fleet = Processes(folder, log_url, index_url, **settings)
    try:
        yield fleet
    finally:
        for process in fleet.all:
            process.kill()


def positions(log_url: str, index_url: str) -> dict[int, int]:
    """Where the index stands, by partition."""
    index = Settings.read(log_url, index_url).open_index()
    try:
        return {partition: one.next_offset for partition, one in index.recorder.positions().items()}
    finally:
        index.close()


def asked(port: str | int, path: str) -> tuple[int, bytes]:
    """Status and body of a GET on this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
