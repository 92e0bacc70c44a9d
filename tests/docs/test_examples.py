"""Publishing from elsewhere: kcat and Java against a real broker, and each language's story against a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.fold import Replay
from ledger.logs.address import open_log
from ledger.verdict import Verdict
from tests.broker import Broker, jars, java
from tests.consumers.api.conftest import token
from tests.consumers.api.test_process import Served, served
from tests.docs.test_readme import ROOT, blocks

EXAMPLES = ROOT / "docs" / "examples"

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
    program = EXAMPLES / "Publish.java"
    command = [with_compiler(java()), "-cp", f"{jars()}{os.sep}*", str(program), broker.address, topic, "T-7", BEAT]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.strip()
    (verdict,) = verdicts(broker, topic)
    assert (verdict.entry, verdict.verdict) == (printed, "accepted")


def test_the_shell_story_acts_only_on_an_accepted_resume(tmp_path: Path) -> None:
    """As the bearer of a token whom the pause does not belong to: it says why, and attempts nothing."""
    file = tmp_path / "tokens.json"
    secret = token(file, "user:mallory")
    with served(tmp_path, PAUSELEDGER_API_TOKENS=str(file)) as server:
        told = tell(with_curl(tmp_path), str(server.base_url), tmp_path, TOKEN=secret)
        assert told.returncode == 1
        assert told.stdout.startswith("accepted\nnot granted: ")
        assert "no-authority" in told.stdout
        server.headers["authorization"] = f"Bearer {secret}"
        (item,) = server.get("/v1/work-items").json()["items"]
        trail = server.get(f"/v1/work-items/{item['subject']}/trail").json()
        assert [line["type"].removeprefix("pauseledger.") for line in trail] == STEPS[:2]


STEPS = ["pause.opened", "resume.requested", "side_effect.attempted", "side_effect.observed", "pause.closed"]


def with_curl(folder: Path) -> list[str]:
    return [found("sh"), str(EXAMPLES / "story.sh")] if found("curl") else []


def with_go(folder: Path) -> list[str]:
    return [found("go"), "run", str(EXAMPLES / "story.go")]


def with_typescript(folder: Path) -> list[str]:
    return ["sh", "-c", f'exec "{found("node")}" --input-type=module - "$0" < "{EXAMPLES / "story.ts"}"']


def with_java(folder: Path) -> list[str]:
    return [with_compiler(java()), str(EXAMPLES / "Story.java")]


def found(tool: str) -> str:
    """Where a tool is."""
    path = shutil.which(tool) or shutil.which(tool, path="/usr/local/go/bin")
    if path is None:
        pytest.skip(f"{tool} is not here")
    return path


def with_compiler(path: str) -> str:
    """A Java that runs a program from its source."""
    modules = subprocess.run([path, "--list-modules"], capture_output=True, text=True, check=True).stdout
    if "jdk.compiler" not in modules:
        pytest.skip("this Java has no compiler, so it can't run a program from its source")
    return path


def tell(command: list[str], url: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run an example against a server, in a folder of its own; no module may be downloaded."""
    caches = {"GOCACHE": str(folder / "go"), "GOPATH": str(folder / "path"), "GOPROXY": "off", "GOFLAGS": "-mod=mod"}
    environment = {name: value for name, value in os.environ.items() if name != "TOKEN"} | caches | more
    return subprocess.run([*command, url], cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("language", [with_curl, with_go, with_typescript, with_java], ids=lambda one: one.__name__)
def test_an_example_tells_the_story_over_http(language: Callable[[Path], list[str]], tmp_path: Path) -> None:
    """Open, resume, attempt with the fence, act, observe, close: as anybody, as a token's bearer, and never blindly."""
    command = language(tmp_path)
    file = tmp_path / "tokens.json"
    secret = token(file, "user:dana")
    with served(tmp_path) as server:
        told = tell(command, str(server.base_url), tmp_path)
        assert told.returncode == 0, told.stdout + told.stderr
        assert told.stdout.count("refunded, once") == 1
        assert told.stdout.count("accepted") >= 3
        (item,) = server.get("/v1/work-items").json()["items"]
        check_story(server, item["subject"])
    nobody = tell(command, str(server.base_url), tmp_path)
    assert nobody.returncode != 0
    assert "refunded" not in nobody.stdout
    with served(tmp_path, PAUSELEDGER_API_TOKENS=str(file)) as server:
        server.headers["authorization"] = f"Bearer {secret}"
        assert tell(command, str(server.base_url), tmp_path, TOKEN="plt_wrong").returncode != 0
        assert len(server.get("/v1/work-items").json()["items"]) == 1
        assert tell(command, str(server.base_url), tmp_path, TOKEN=secret).returncode == 0
        items = server.get("/v1/work-items").json()["items"]
        assert len(items) == 2
        for item in items:
            check_story(server, item["subject"])


def check_story(server: Served, subject: str) -> None:
    """Each step is on the ledger, accepted, by Dana; the action happened."""
    lines = server.get(f"/v1/work-items/{subject}/trail").json()
    assert [line["type"].removeprefix("pauseledger.") for line in lines] == STEPS
    assert {line["verdict"] for line in lines} == {"accepted"}
    assert {line["event"]["actor"] for line in lines} == {"user:dana"}
    pauses = [line["event"]["data"]["pause"] for line in lines if line["type"] == "pauseledger.pause.opened"]
    for pause in pauses:
        packet = server.get(f"/v1/work-items/{subject}/pauses/{pause}").json()
        assert (packet["side_effect"], packet["outcome"]) == ("happened", "executed")


def test_the_java_example_is_short() -> None:
    """The example stays one that fits on a screen."""
    assert len((Path(ROOT) / "docs" / "examples" / "Publish.java").read_text().splitlines()) < 40
