"""``kill -9`` at random moments: what was said stays true, nothing counts twice, and the index is as if rebuilt.

In CI a few rounds of each; in soak 20 on the embedded log (8 of publishing, 6 of rebuilding, 6 of catching up) and
6 on Kafka. The moments are seeded, and spread over as long as the work takes.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.broker import Broker
from tests.faults.command import complete_lines, run, start
from tests.faults.ledgers import caught_up, dump, opened, records_of, url
from tests.faults.lines import day
from tests.faults.waiting import until

SEED = 20260328
END_SECONDS = 240.0
Entry = tuple[int, int]


class Killing:
    """One ledger, and what its publisher had printed when it was killed."""

    def __init__(self, folder: Path, log_url: str, lines: int) -> None:
        self.folder = folder
        self.log_url = log_url
        self.index = folder / "index.db"
        self.random = random.Random(SEED)
        self.events = folder / "events.jsonl"
        self.events.write_bytes(b"\n".join(day(lines)) + b"\n")
        self.lines = lines
        self.said: dict[Entry, dict[str, Any]] = {}
        self.killed = 0

    @property
    def addresses(self) -> tuple[str, ...]:
        return ("--json", "--log", self.log_url, "--index", url(self.index))

    def publish_and_kill(self, printed_lines: int) -> list[dict[str, Any]]:
        """Publish the file from its start; kill it once about so many verdicts are out."""
        out = self.folder / "out.jsonl"
        with out.open("wb") as stream:
            process = start("publish", str(self.events), *self.addresses, folder=self.folder, stdout=stream)
            size = 200 * printed_lines
            until(lambda: out.stat().st_size >= size or process.poll() is not None, seconds=END_SECONDS)
            time.sleep(self.random.random() / 20)  # the random moment itself
            self._kill(process)
        return self._remember(complete_lines(out.read_bytes()))

    def publish_to_the_end(self) -> list[dict[str, Any]]:
        """Publish the file once more, whole."""
        done = run("publish", str(self.events), *self.addresses, folder=self.folder, seconds=END_SECONDS)
        assert (done.code, done.err) == (0, "")
        return self._remember(done.lines)

    def index_and_kill(self, *command: str, seconds: float) -> None:
        """Run a command that indexes; kill it after a moment of at most so long."""
        process = start(*command, *self.addresses, folder=self.folder)
        try:
            process.wait(seconds * self.random.random())
        except subprocess.TimeoutExpired:
            self._kill(process)
        process.communicate()

    def _kill(self, process: Any) -> None:
        self.killed += process.poll() is None
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()

    def _remember(self, verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for verdict in verdicts:
            entry = (verdict["partition"], verdict["offset"])
            assert entry not in self.said, "two lines were told the same entry"
            self.said[entry] = verdict
        return verdicts

    def check(self) -> None:
        """All that was ever printed is on the ledger as it was printed, and the index is the log's."""
        caught_up(self.log_url, self.index)
        tables = dump(self.index)
        rows = {(row[0], row[1]): row for row in tables["trail"]}
        for entry, verdict in self.said.items():
            row = rows[entry]
            assert (row[2], row[5], row[6], row[7]) == tuple(
                verdict[name] for name in ("subject", "type", "verdict", "code")
            )
        self._check_counted_once()
        fresh = self.folder / f"fresh-{len(rows)}-{self.killed}.db"
        done = run("rebuild", "--json", "--log", self.log_url, "--index", url(fresh), folder=self.folder)
        assert done.json["entries"] == len(rows)
        assert dump(fresh) == tables

    def _check_counted_once(self) -> None:
        """Of every (source, id) one entry at most was accepted, and each later one reads duplicate, with its first."""
        accepted: Counter[str] = Counter()
        with opened(self.log_url, self.index) as ledger:
            for subject in {f"T-{n}" for n in range(200)}:
                firsts: dict[str, dict[str, Any]] = {}
                for entry in ledger.index.entries(subject):
                    verdict = entry.verdict().as_dict()
                    first = firsts.setdefault(verdict["id"], verdict)
                    accepted[verdict["id"]] += verdict["verdict"] == "accepted"
                    if first is not verdict:
                        assert verdict["verdict"] == "duplicate"
                        assert verdict["first"].items() <= first.items()
            assert len(records_of(ledger.log)) >= len(self.said)
        assert max(accepted.values()) == 1

    def check_trail(self, subject: str) -> None:
        """The command line's own trail shows the same offsets and verdicts as were printed."""
        shown = {
            (one["partition"], one["offset"]): one
            for one in run("trail", subject, *self.addresses, folder=self.folder).json
        }
        for entry, verdict in self.said.items():
            if verdict["subject"] == subject:
                assert verdict.items() <= shown[entry].items()


def publishing(ledger: Killing, rounds: int) -> None:
    """Publish and kill, again and again, then once to the end: each line is answered then."""
    for _ in range(rounds):
        ledger.publish_and_kill(ledger.random.randrange(ledger.lines))
    assert ledger.killed >= rounds - 1, "the machine was too fast to be killed"
    last = ledger.publish_to_the_end()
    assert len(last) == ledger.lines
    assert {one["verdict"] for one in last} <= {"accepted", "refused", "duplicate"}
    assert len(ledger.said) > ledger.lines
    ledger.check()
    ledger.check_trail("T-7")


def indexing(ledger: Killing, rebuilds: int, catch_ups: int) -> None:
    """Kill rebuilds and catch-ups of a log that is there: the next command always finds its way."""
    ledger.publish_to_the_end()
    began = time.monotonic()
    assert run("rebuild", *ledger.addresses, folder=ledger.folder).json["entries"] == ledger.lines
    whole = time.monotonic() - began
    for _ in range(rebuilds):
        ledger.index_and_kill("rebuild", seconds=whole)
    ledger.check()
    for _ in range(catch_ups):
        for path in ledger.folder.glob("index.db*"):
            path.unlink()
        for _ in range(2):
            ledger.index_and_kill("decision", "T-1", seconds=whole / 2)
        ledger.check()
    assert ledger.killed >= (rebuilds + catch_ups) // 2


def on_kafka(broker: Broker, topic: str) -> str:
    return f"kafka://{broker.address}/{topic}"


def test_a_publisher_that_is_killed_has_told_the_truth(tmp_path: Path) -> None:
    """Three kills while 20,000 lines are published, then all once more: printed verdicts stand, none counts twice."""
    publishing(Killing(tmp_path, url(tmp_path / "log.db"), 20_000), 3)


def test_an_indexer_that_is_killed_leaves_a_sound_index(tmp_path: Path) -> None:
    """Three kills while rebuilding and four while catching up on 20,000 entries: the index ends as if rebuilt."""
    indexing(Killing(tmp_path, url(tmp_path / "log.db"), 20_000), 3, 2)


@pytest.mark.kafka
def test_a_publisher_on_kafka_that_is_killed_has_told_the_truth(tmp_path: Path, broker: Broker, topic: str) -> None:
    """Two kills while 5,000 lines are published to three partitions."""
    publishing(Killing(tmp_path, on_kafka(broker, topic), 5_000), 2)


@pytest.mark.soak
def test_many_kills(tmp_path: Path) -> None:
    """Twenty kills: eight of publishing 20,000 lines, six of rebuilding, six of catching up."""
    (tmp_path / "p").mkdir()
    (tmp_path / "i").mkdir()
    publishing(Killing(tmp_path / "p", url(tmp_path / "p" / "log.db"), 20_000), 8)
    indexing(Killing(tmp_path / "i", url(tmp_path / "i" / "log.db"), 20_000), 6, 3)


@pytest.mark.soak
@pytest.mark.kafka
def test_many_kills_on_kafka(tmp_path: Path, broker: Broker, topic: str) -> None:
    """Six kills of publishing 20,000 lines, four of rebuilding them."""
    ledger = Killing(tmp_path, on_kafka(broker, topic), 20_000)
    publishing(ledger, 6)
    for _ in range(4):
        ledger.index_and_kill("rebuild", seconds=5.0)
    ledger.check()
