"""Publishing from elsewhere: the README's kcat line and the Java program, against a real broker."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ledger.fold import Replay
from ledger.logs.address import open_log
from ledger.verdict import Verdict
from tests.broker import Broker, jars, java
from tests.docs.test_readme import ROOT, blocks

BEAT = (
    '{"specversion":"1.0","id":"j-1","source":"/java","type":"pauseledger.note.added","subject":"T-7",'
    '"data":{"text":"seen from Java"}}'
)


def verdicts(broker: Broker, topic: str) -> list[Verdict]:
    """What the fold says of every entry of a topic."""
    log = open_log(f"kafka://{broker.address}/{topic}")
    try:
        replay = Replay(log.partitions)
        records = []
        for partition in range(log.partitions):
            _, end = log.bounds(partition)
            if end:
                records += log.read(partition, 0, most=end, wait_seconds=10.0).records
        return replay.take_all(records)
    finally:
        log.close()


@pytest.mark.kafka
def test_kcat_publishes_as_the_readme_says(broker: Broker, topic: str) -> None:
    """The README's kcat line lands on the subject's own partition, and is judged like any other event."""
    if shutil.which("kcat") is None:
        reason = "kcat is not here; on Debian: apt-get install kcat"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    (script,) = blocks("kcat")
    script = script.replace("127.0.0.1:9092", broker.address).replace("-t pauses", f"-t {topic}")
    subprocess.run(["sh", "-eu", "-c", script], check=True, timeout=60)
    (verdict,) = verdicts(broker, topic)
    assert (verdict.subject, verdict.id, verdict.code) == ("T-7", "b-1", "no-such-pause")


@pytest.mark.kafka
def test_java_publishes_with_its_own_client(broker: Broker, topic: str) -> None:
    """The Java example runs as it stands, and what it published is accepted."""
    if (
        "jdk.compiler"
        not in subprocess.run([java(), "--list-modules"], capture_output=True, text=True, check=True).stdout
    ):
        pytest.skip("this Java has no compiler, so it can't run a program from its source")
    program = ROOT / "docs" / "examples" / "Publish.java"
    command = [java(), "-cp", f"{jars()}{os.sep}*", str(program), broker.address, topic, "T-7", BEAT]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.strip()
    (verdict,) = verdicts(broker, topic)
    assert (verdict.entry, verdict.verdict) == (printed, "accepted")


def test_the_java_example_is_short() -> None:
    """The example stays one that fits on a screen."""
    assert len((Path(ROOT) / "docs" / "examples" / "Publish.java").read_text().splitlines()) < 40
