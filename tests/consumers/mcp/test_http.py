"""``pauseledger run mcp`` over HTTP: the API's tokens and scopes on every tool, and no page of the web gets in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from consumers.mcp.tools import TOOLS
from tests.consumers.api.conftest import token
from tests.consumers.mcp.clients import LOG, TERMS, Asked, over_http, served, where
from tests.faults.command import run
from tests.faults.lines import note
from tests.faults.waiting import until

DIGEST = "sha256:" + "0" * 64
CALLS: dict[str, dict[str, Any]] = {
    "open_pause": {name: TERMS[name] for name in ("interrupt", "action")},
    "heartbeat": {"pause": "p"},
    "decision": {"pause": "p"},
    "recheck": {"pause": "p", "fresh_for": "PT1H"},
    "review": {"pause": "p", "outcome": "approve", "action_digest": DIGEST},
    "request_resume": {"pause": "p", "action_digest": DIGEST},
    "attempt": {"pause": "p", "fence": 1},
    "observe": {"pause": "p", "status": "indeterminate"},
    "close_pause": {"pause": "p", "outcome": "abandoned"},
}
NEEDS = dict.fromkeys(TOOLS, "publish") | {"decision": "read", "review": "review"}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_without_configuration(tmp_path: Path, mode: str) -> None:
    """It binds 127.0.0.1 and says so; a client tells the story, as whom the operator named; SIGTERM is orderly."""

    async def story(url: str) -> None:
        async with over_http(url, mode=mode) as agent:
            opened = await agent.told("open_pause", **TERMS)
            at = where(opened)
            granted = await agent.told("request_resume", **at, action_digest=opened["action_digest"])
            permit = await agent.told("attempt", **at, fence=granted["fence"])
            await agent.told("observe", **at, status="happened", settles=permit["settles"])
            await agent.told("close_pause", **at, outcome="executed")
            assert (await agent.refused("review", **at, **_approval(opened)))["error"] == "missing-scope"

    with served(tmp_path) as server:
        anyio.run(story, server.url)
        assert "answers only on 127.0.0.1" in server.said.read_text()
        assert "service:mcp with the scopes publish, read." in server.said.read_text()
        assert server.ended() == 0
    lines = run("trail", "T-1", "--json", folder=tmp_path, env=LOG).json
    assert {line["event"]["actor"] for line in lines} == {"service:mcp"}


def _approval(opened: dict[str, Any]) -> dict[str, Any]:
    return {"outcome": "approve", "action_digest": opened["action_digest"]}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_it_binds_nothing_else_without_authentication(tmp_path: Path, host: str) -> None:
    """Wrong usage, with what to set; nothing is opened."""
    env = {"PAUSELEDGER_MCP_TRANSPORT": "http", "PAUSELEDGER_MCP_HOST": host}
    refused = run("run", "mcp", folder=tmp_path, env=env)
    assert (refused.code, refused.out) == (2, "")
    assert "PAUSELEDGER_API_TOKENS" in refused.err
    assert list(tmp_path.iterdir()) == []


def test_scopes_and_prefixes_of_each_tool(tmp_path: Path) -> None:
    """Each tool with each scope alone: let through with its own, else refused; none of them beyond its work items."""
    file = tmp_path / "tokens.json"
    assert CALLS.keys() == NEEDS.keys() == TOOLS.keys()
    tokens = {scope: token(file, f"user:{scope}", (scope,)) for scope in ("publish", "read", "review", "admin")}
    narrow = token(file, "user:narrow", prefixes=("N-",))
    routed = token(file, "user:routed", routes=("refunds",))

    async def call(agent: Asked, tool: str, work_item: str = "T-1") -> str:
        result = await agent.client.call_tool(tool, {"work_item": work_item, "execution": "run-1", **CALLS[tool]})
        content: dict[str, Any] = result.structured_content or {}
        return str(content.get("error", "none"))

    async def matrix(url: str) -> None:
        for scope, secret in tokens.items():
            async with over_http(url, secret) as agent:
                for tool, needed in NEEDS.items():
                    assert (await call(agent, tool) == "missing-scope") is (scope != needed), (tool, scope)
        async with over_http(url, narrow) as agent:
            assert {await call(agent, tool) for tool in TOOLS} == {"out-of-reach"}
            assert "out-of-reach" not in {await call(agent, tool, "N-1") for tool in TOOLS}
        async with over_http(url, routed) as agent:
            assert {await call(agent, tool) for tool in TOOLS} == {"out-of-reach"}
            terms = {**TERMS, "work_item": "R-1"}
            assert (await agent.refused("open_pause", **terms, route="others"))["error"] == "out-of-reach"
            await agent.told("open_pause", **terms, route="refunds")
            assert await call(agent, "decision", "R-1") == "not-found"

    with served(tmp_path, PAUSELEDGER_API_TOKENS=str(file)) as server:
        anyio.run(matrix, server.url)


def test_the_actor_is_the_credentials(tmp_path: Path) -> None:
    """Two people on one server: each call has its own token's actor and roles, and the operator's is nobody's."""
    file = tmp_path / "tokens.json"
    anna = token(file, "user:anna", roles=("role:leads",))
    bot = token(file, "service:bot", ("publish",))

    async def story(url: str) -> None:
        async with over_http(url, bot) as agent, over_http(url, anna) as person:
            opened = await agent.told("open_pause", **{**TERMS, "owner": "role:leads"}, requires_review=True)
            at, digest = where(opened), opened["action_digest"]
            shut = await agent.refused("request_resume", **at, action_digest=digest)
            assert (shut["code"], "decision" in shut) == ("no-authority", False)  # to see it takes the scope read
            early = await person.refused("request_resume", **at, action_digest=digest)
            assert (early["branch"], early["decision"]["decision"]) == ("review", "review")
            await person.told("review", **at, **_approval(opened))
            assert (await person.told("request_resume", **at, action_digest=digest))["fence"] >= 0

    with served(tmp_path, PAUSELEDGER_API_TOKENS=str(file), PAUSELEDGER_MCP_ACTOR="user:boss") as server:
        anyio.run(story, server.url)
        assert "everybody" not in server.said.read_text()
    lines = run("trail", "T-1", "--json", folder=tmp_path, env=LOG).json
    told = [(line["event"]["actor"], line["event"].get("actorroles")) for line in lines]
    assert told == [("service:bot", None)] * 2 + [("user:anna", "role:leads")] * 3


def test_tokens_that_are_none(tmp_path: Path) -> None:
    """Without a valid token nothing is answered but how to come in; one that is taken out of the file is refused."""
    file = tmp_path / "tokens.json"
    secret = token(file)
    with served(tmp_path, PAUSELEDGER_API_TOKENS=str(file)) as server:
        for headers in ({}, {"authorization": "Bearer plt_nonsense"}, {"authorization": f"Basic {secret}"}):
            answer = server.post(**headers)
            assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert server.post(authorization=f"Bearer {secret}").status_code == 200
        file.write_text("[]")
        until(lambda: server.post(authorization=f"Bearer {secret}").status_code == 401, what="the token's end")


def test_no_page_of_the_web_gets_in(tmp_path: Path) -> None:
    """Another name of this machine, another origin, or a proxy: refused, with tokens and without."""
    file = tmp_path / "tokens.json"
    secret = token(file)
    for env in ({}, {"PAUSELEDGER_API_TOKENS": str(file), "PAUSELEDGER_MCP_NAMES": "ledger.example"}):
        known = {"authorization": f"Bearer {secret}"} if env else {}
        with served(tmp_path, **env) as server:
            assert server.post(**known).status_code == 200
            assert server.post(**known, host=f"localhost:{server.port}", origin="http://localhost:3000").is_success
            assert server.post(**known, host="evil.example").status_code == 421
            assert server.post(**known, host=f"evil.example:{server.port}").status_code == 421
            assert server.post(**known, origin="https://evil.example").status_code in (403, 421)
            assert server.post(**known, origin="http://localhost.evil.example").status_code in (403, 421)
            assert server.post(**known, origin="null").status_code in (403, 421)
            assert server.post(**known, host="ledger.example").status_code == (200 if env else 421)
            if not env:
                assert server.post(x_forwarded_for="192.0.2.7").status_code == 421


def test_limits_of_requests(tmp_path: Path) -> None:
    """Too large a body, no JSON, too many at once: refused by status, and the server goes on."""
    env = {"PAUSELEDGER_API_BODY_BYTES": "4096", "PAUSELEDGER_API_RATE": "0.5", "PAUSELEDGER_API_BURST": "8"}
    with served(tmp_path, **env) as server:
        large = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {"x": "x" * 5000}}}
        assert server.post(large).status_code == 413
        garbage = httpx.post(server.url, content=b"{", headers={"content-type": "application/json"})
        assert garbage.status_code in (400, 406)
        found = [server.post().status_code for _ in range(10)]
        assert found[0] == 200
        assert found[-1] == 429


def test_killed_and_started_again(tmp_path: Path) -> None:
    """``kill -9`` between grant and attempt: another server goes on with the same fence, which counts once."""
    file = tmp_path / "tokens.json"
    secret = token(file, "service:mcp")

    async def grant(url: str) -> dict[str, Any]:
        async with over_http(url, secret) as agent:
            opened = await agent.told("open_pause", **TERMS)
            told = await agent.told("request_resume", **where(opened), action_digest=opened["action_digest"])
            return {**where(opened), "fence": told["fence"]}

    async def act(url: str, granted: dict[str, Any]) -> list[bool]:
        answers: list[bool] = []

        async def one() -> None:
            async with over_http(url, secret) as agent:
                result = await agent.client.call_tool("attempt", granted)
                answers.append(not result.is_error)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(one)
        return answers

    with served(tmp_path, PAUSELEDGER_API_TOKENS=str(file)) as server:
        granted = anyio.run(grant, server.url)
        server.process.kill()
    with served(tmp_path, PAUSELEDGER_API_TOKENS=str(file)) as server:
        assert sorted(anyio.run(act, server.url, granted)) == [False, False, False, True]


def test_beside_other_jobs(tmp_path: Path) -> None:
    """Over HTTP it runs in one process with the fleet's jobs, and ends with them; a port of another's ends both."""
    assert run("publish", stdin=note(1), folder=tmp_path, env=LOG).code == 0
    with served(tmp_path, "indexer", "mcp") as server:
        assert json.loads(server.post().content)["result"]["tools"]
        env = {**LOG, "PAUSELEDGER_MCP_TRANSPORT": "http", "PAUSELEDGER_MCP_PORT": str(server.port)}
        taken = run("run", "indexer", "mcp", folder=tmp_path, env=env)
        assert (taken.code, taken.out) == (2, "")
        assert f"can't serve 127.0.0.1:{server.port}" in taken.err
        assert server.ended() == 0
