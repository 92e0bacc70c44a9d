"""``pauseledger run mcp`` over stdio: the official client starts it, and tells the story through tools."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from consumers.mcp.tools import TOOLS
from tests.broker import free_port
from tests.consumers.mcp.clients import LOG, TERMS, over_stdio, where
from tests.faults.command import run, start


def trail(folder: Path, work_item: str = "T-1") -> list[dict[str, Any]]:
    """What is on the ledger."""
    found: list[dict[str, Any]] = run("trail", work_item, "--json", folder=folder, env=LOG).json
    return found


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_whole_story(tmp_path: Path, mode: str) -> None:
    """Open, decide, resume, attempt, act, observe, close: and nothing is left to do, in either protocol era."""

    async def story() -> None:
        async with over_stdio(tmp_path, mode=mode) as agent:
            listed = await agent.client.list_tools()
            assert [tool.name for tool in listed.tools] == list(TOOLS)
            opened = await agent.told("open_pause", **TERMS)
            assert (await agent.told("open_pause", **TERMS))["pause"] == opened["pause"]
            at = where(opened)
            await agent.told("heartbeat", **at)
            found = await agent.told("decision", **at)
            assert found["decision"]["decision"] == "resume"
            assert found["packet"]["pending_action"]["name"] == "refund"
            granted = await agent.told("request_resume", **at, action_digest=opened["action_digest"])
            permit = await agent.told("attempt", **at, fence=granted["fence"])
            assert permit["may_act"] is True
            assert 3500 < permit["act_within_seconds"] <= 3600
            again = await agent.refused("attempt", **at, fence=granted["fence"])
            assert (again["error"], again["branch"], again["code"]) == ("shut", "reconcile", "stale-fence")
            evidence = {"receipt": "r-1"}
            seen = {"status": "happened", "settles": permit["settles"], "evidence": evidence}
            await agent.told("observe", **at, **seen)
            await agent.told("close_pause", **at, outcome="executed")
            late = await agent.refused("request_resume", **at, action_digest=opened["action_digest"])
            assert late["branch"] == "closed"

    anyio.run(story)
    lines = trail(tmp_path)
    assert {line["event"]["actor"] for line in lines} == {"service:mcp"}
    assert [line["type"].removeprefix("pauseledger.") for line in lines if line["verdict"] == "accepted"] == [
        "pause.opened",
        "heartbeat.recorded",
        "resume.requested",
        "side_effect.attempted",
        "side_effect.observed",
        "pause.closed",
    ]


def test_the_model_never_says_who_it_is(tmp_path: Path) -> None:
    """An actor among the arguments is refused, nothing is recorded; what is recorded has the operator's."""

    async def story() -> None:
        env = {"PAUSELEDGER_MCP_ACTOR": "service:refunds", "PAUSELEDGER_MCP_ROLES": "role:bots, role:night"}
        async with over_stdio(tmp_path, **env) as agent:
            for name in ("actor", "actorroles", "who"):
                told = await agent.refused("open_pause", **TERMS, **{name: "user:boss"})
                assert told["error"] == "bad-arguments"
                assert name in told["reason"]
            await agent.told("open_pause", **TERMS)

    anyio.run(story)
    (line,) = trail(tmp_path)
    assert (line["event"]["actor"], line["event"]["actorroles"]) == ("service:refunds", "role:bots,role:night")


WRONG = [
    ("no_such_tool", {}, "There is no tool"),
    ("open_pause", {}, "work_item"),
    ("open_pause", TERMS | {"fresh_for": "a while"}, "fresh_for"),
    ("open_pause", TERMS | {"action": {"name": "refund"}}, "action"),
    ("open_pause", TERMS | {"action": {"kind": "t", "name": "r", "n": 2**60}}, "action"),
    ("open_pause", TERMS | {"side_effect": "maybe"}, "side_effect"),
    ("open_pause", TERMS | {"requires_review": "yes"}, "requires_review"),
    ("open_pause", TERMS | {"work_item": ""}, "work_item"),
    ("open_pause", TERMS | {"work_item": "x" * 300}, "work_item"),
    ("attempt", {"work_item": "T-1", "execution": "run-1", "pause": "p", "fence": "1"}, "fence"),
    ("observe", {"work_item": "T-1", "execution": "r", "pause": "p", "status": "happened", "settles": "x"}, "settles"),
    ("request_resume", {"work_item": "T-1", "execution": "r", "pause": "p", "action_digest": "md5:1"}, "action_digest"),
    ("review", {"work_item": "T-1", "execution": "r", "pause": "p", "outcome": "edit"}, "action_digest"),
]


def test_wrong_input_is_a_result_and_records_nothing(tmp_path: Path) -> None:
    """What can't be meant is told to the model with the argument's name; a pause that is not there is too."""

    async def story() -> None:
        async with over_stdio(tmp_path) as agent:
            for tool, arguments, says in WRONG:
                told = await agent.refused(tool, **arguments)
                assert told["error"] in ("bad-arguments", "wrong-usage"), told
                assert says in told["reason"], told
            nowhere = {"work_item": "T-1", "execution": "run-1", "pause": "none"}
            assert (await agent.refused("decision", **nowhere))["error"] == "not-found"

    anyio.run(story)
    assert trail(tmp_path) == []


def test_another_action_is_not_resumed(tmp_path: Path) -> None:
    """The digest is the caller's: of what it means, not of what is there."""

    async def story() -> None:
        async with over_stdio(tmp_path) as agent:
            opened = await agent.told("open_pause", **TERMS)
            told = await agent.refused("request_resume", **where(opened), action_digest="sha256:" + "0" * 64)
            assert told["code"] == "action-changed"

    anyio.run(story)


def test_a_review_that_only_a_person_may_decide(tmp_path: Path) -> None:
    """Without the scope review a model can't approve; with it, only who has authority can, and it may be edited."""

    async def story(scopes: str, actor: str) -> dict[str, Any]:
        env = {"PAUSELEDGER_MCP_SCOPES": scopes, "PAUSELEDGER_MCP_ACTOR": actor}
        async with over_stdio(tmp_path, **env) as agent:
            opened = await agent.told("open_pause", **{**TERMS, "owner": "user:anna"}, requires_review=True)
            at, digest = where(opened), opened["action_digest"]
            if scopes == "publish,read":
                return await agent.refused("review", **at, outcome="approve", action_digest=digest)
            if actor != "user:anna":
                return await agent.refused("review", **at, outcome="approve", action_digest=digest)
            edited = {"kind": "tool", "name": "refund", "arguments": {"cents": 1}}
            told = await agent.told("review", **at, outcome="edit", action_digest=digest, action=edited)
            await agent.told("recheck", **at, fresh_for="PT2H")
            return await agent.told("request_resume", **at, action_digest=told["action_digest"])

    assert anyio.run(story, "publish,read", "user:anna")["error"] == "missing-scope"
    assert anyio.run(story, "publish,read,review", "service:mcp")["code"] == "no-authority"
    assert anyio.run(story, "publish,read,review", "user:anna")["fence"] > 0


def test_killed_between_attempt_and_observation(tmp_path: Path) -> None:
    """``kill -9`` after the attempt: the next server says reconcile, nobody acts again, and who looked settles it."""
    effects: list[str] = []

    async def first() -> dict[str, Any]:
        async with over_stdio(tmp_path) as agent:
            opened = await agent.told("open_pause", **TERMS)
            granted = await agent.told("request_resume", **where(opened), action_digest=opened["action_digest"])
            permit = await agent.told("attempt", **where(opened), fence=granted["fence"])
            assert permit["may_act"]
            effects.append("refund")
            os.kill(child(), signal.SIGKILL)
            return opened | {"fence": granted["fence"]}

    async def second(opened: dict[str, Any]) -> None:
        async with over_stdio(tmp_path) as agent:
            at = where(await agent.told("open_pause", **TERMS))
            assert at == where(opened)
            found = await agent.told("decision", **at)
            assert found["decision"]["decision"] == "reconcile"
            shut = await agent.refused("request_resume", **at, action_digest=opened["action_digest"])
            assert shut["branch"] == "reconcile"
            assert (await agent.refused("attempt", **at, fence=opened["fence"]))["error"] == "shut"
            settles = found["packet"]["side_effect_by"]
            await agent.told("observe", **at, status="happened", settles=settles, evidence={"looked": effects})
            assert (await agent.told("decision", **at))["decision"]["decision"] == "settle"
            await agent.told("close_pause", **at, outcome="settled")

    opened = anyio.run(first)
    anyio.run(second, opened)
    assert effects == ["refund"]


def child() -> int:
    """The one process that this one has started and that runs the server."""
    found = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "run mcp"], capture_output=True, text=True)
    (pid,) = found.stdout.split()
    return int(pid)


def test_a_ledger_that_is_away(tmp_path: Path) -> None:
    """Nobody answers at the log's address: each tool ends in a bounded time, and the gate stays shut."""

    async def story() -> None:
        env = {"PAUSELEDGER_LOG": f"kafka://127.0.0.1:{free_port()}/nowhere", "PAUSELEDGER_MCP_SECONDS": "1"}
        at = {"work_item": "T-1", "execution": "run-1", "pause": "p"}
        async with over_stdio(tmp_path, **env) as agent:
            began = time.monotonic()
            told = await agent.refused("attempt", **at, fence=1)
            assert (told["error"], told["branch"]) == ("shut", "unknown")
            assert time.monotonic() - began < 20.0
            fact = await agent.told("heartbeat", **at)
            assert fact["verdict"] == "unknown"
            read = await agent.refused("decision", **at)
            assert (read["error"], read["branch"]) == ("shut", "unknown")
            assert time.monotonic() - began < 60.0

    anyio.run(story)


def test_stdout_carries_the_protocol_and_nothing_else(tmp_path: Path) -> None:
    """Garbage, half a message, a call: every line of stdout is JSON-RPC; the end of stdin is an orderly end."""
    lines = [
        b"garbage",
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
        b'"clientInfo":{"name":"t","version":"1"}}}',
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"decision","arguments":{"work_item":"T-1",'
        b'"execution":"e","pause":"p"}}}',
        b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"nothing"}}',
    ]
    env = {**LOG, "PAUSELEDGER_LOG_LEVEL": "debug"}
    process = start("run", "mcp", folder=tmp_path, env=env, stdin=subprocess.PIPE)
    try:
        process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.flush()
        found: dict[int, Any] = {}
        while not {1, 2, 3} <= found.keys():
            message = json.loads(process.stdout.readline())
            assert message["jsonrpc"] == "2.0"
            found[message.get("id") or 0] = message
        assert found[2]["result"]["isError"] is found[3]["result"]["isError"] is True
        rest, _ = process.communicate(timeout=20)
        assert (process.returncode, rest) == (0, b"")
    finally:
        process.kill()
        process.communicate()


def test_sigterm_ends_it(tmp_path: Path) -> None:
    """While its client is still there and says nothing, SIGTERM ends it within seconds, with exit code 0."""
    process = start("run", "mcp", folder=tmp_path, env=LOG, stdin=subprocess.PIPE)
    try:
        hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        process.stdin.write(json.dumps(hello).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("jobs", "env", "says"),
    [
        (("mcp", "indexer"), {}, "runs alone"),
        (("mcp",), {"PAUSELEDGER_MCP_SCOPES": "publish,root"}, "no scope 'root'"),
        (("mcp",), {"PAUSELEDGER_MCP_ACTOR": "x" * 300}, "PAUSELEDGER_MCP_ACTOR"),
        (("mcp",), {"PAUSELEDGER_MCP_TRANSPORT": "pigeon"}, "PAUSELEDGER_MCP_TRANSPORT"),
        (("mcp",), {"PAUSELEDGER_LOG": "nonsense://"}, "log"),
    ],
)
def test_what_cant_be_meant_is_refused(tmp_path: Path, jobs: tuple[str, ...], env: dict[str, str], says: str) -> None:
    """Exit code 2 with one line on stderr, and nothing on stdout."""
    found = run("run", *jobs, folder=tmp_path, env=LOG | env)
    assert (found.code, found.out) == (2, "")
    assert says in found.err
