"""What the operator has set of every pause, and how a tool measures time: no model has the last word there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from consumers.gates import open_gate
from consumers.mcp import tools
from consumers.mcp.arguments import Attempt, Beat, OpenPause, Recheck, Review
from consumers.mcp.terms import Terms
from ledger.errors import WrongUsage
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from tests.consumers.mcp.clients import LOG, TERMS, over_stdio, served, where
from tests.faults.command import run
from tests.faults.ledgers import url

SET = {
    "owner": "user:anna",
    "resume_authority": ["user:anna", "role:leads"],
    "requires_review": True,
    "fresh_for": "PT15M",
    "route": "refunds",
}
BARE = {name: value for name, value in TERMS.items() if name not in ("owner", "fresh_for")}


def test_the_operators_terms_win(tmp_path: Path) -> None:
    """They are the packet's where the model says nothing, or the same; where it says another it is told, aloud."""

    async def story() -> None:
        async with over_stdio(tmp_path, PAUSELEDGER_MCP_TERMS=json.dumps(SET)) as agent:
            (listed,) = [one for one in (await agent.client.list_tools()).tools if one.name == "open_pause"]
            assert "Leave out what the operator has set: owner" in (listed.description or "")
            for name, value in (
                ("owner", "service:mcp"),
                ("resume_authority", ["service:mcp"]),
                ("requires_review", False),
                ("fresh_for", "PT16M"),
                ("route", "other"),
            ):
                told = await agent.refused("open_pause", **{**BARE, name: value})
                assert told["reason"].startswith(f"{name} is set by the operator")
            opened = await agent.told("open_pause", **BARE)
            await agent.told("open_pause", **BARE, owner="user:anna", fresh_for="PT900S")
            at = where(opened)
            for arguments in ({"tool": "recheck"}, {"tool": "review", "outcome": "approve"}):
                digest = {"action_digest": opened["action_digest"]} if "outcome" in arguments else {}
                told = await agent.refused(**arguments, **digest, **at, fresh_for="P7D")
                assert told["reason"].startswith("fresh_for is set")

    anyio.run(story)
    lines = run("trail", "T-1", "--json", folder=tmp_path, env=LOG).json
    assert [line["type"] for line in lines if line["verdict"] == "accepted"] == ["pauseledger.pause.opened"]
    assert len(lines) <= 2  # and the same, told twice
    packet = run(
        "packet", "T-1", "--pause", lines[0]["event"]["data"]["pause"], "--json", folder=tmp_path, env=LOG
    ).json
    assert {name: packet[name] for name in SET if name != "fresh_for"} == {
        name: value for name, value in SET.items() if name != "fresh_for"
    }


WRONG = [
    ("[1]", "no JSON object"),
    ('{"owner": ', "no JSON object"),
    ('{"work_item": "T-1"}', "'work_item' is no term"),
    ('{"actor": "user:boss"}', "'actor' is no term"),
    ('{"fresh_for": "soon"}', "fresh_for"),
    ('{"requires_review": "yes"}', "requires_review"),
]


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_terms_that_can_not_be_are_refused_at_the_start(text: str, says: str) -> None:
    """An operator's mistake is his to hear of, before any model asks."""
    with pytest.raises(WrongUsage, match=says) as caught:
        Terms.of(text)
    assert "PAUSELEDGER_MCP_TERMS" in str(caught.value)


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_a_server_does_not_start_with_wrong_terms(tmp_path: Path, transport: str) -> None:
    """Whatever it is reached over: exit code 2, and one line that names the setting."""
    env = {**LOG, "PAUSELEDGER_MCP_TRANSPORT": transport, "PAUSELEDGER_MCP_TERMS": "[1]"}
    done = run("run", "mcp", folder=tmp_path, env=env)
    assert done.code == 2
    assert "PAUSELEDGER_MCP_TERMS is no JSON object" in done.err


def test_terms_over_http(tmp_path: Path) -> None:
    """The same server's terms hold for each of its clients."""
    with served(tmp_path, PAUSELEDGER_MCP_TERMS=json.dumps(SET)) as server:
        call = {"name": "open_pause", "arguments": {**BARE, "owner": "user:mallory"}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        told = server.post(body).json()["result"]
        assert told["isError"], told
        assert told["structuredContent"]["reason"].startswith("owner is set by the operator")


def test_what_terms_concern() -> None:
    """Only what opens a pause is filled in, and only the length of freshness is looked at elsewhere."""
    at = {"work_item": "T-1", "execution": "r", "pause": "p"}
    digest = "sha256:" + "0" * 64
    terms = Terms.of(json.dumps(SET))
    beat, review = Beat(**at), Review(**at, outcome="reject", action_digest=digest)
    assert (terms.on(beat), terms.on(review)) == (beat, review)
    assert terms.on(Recheck(**at, fresh_for="PT0.25H")) == Recheck(**at, fresh_for="PT0.25H")
    opened = OpenPause(work_item="T-1", execution="r", interrupt="i", heartbeat_timeout="PT1M")
    filled = terms.on(opened)
    assert isinstance(filled, OpenPause)
    assert (filled.owner, filled.heartbeat_timeout) == ("user:anna", "PT1M")
    assert Terms.of(" ").on(opened) == opened


def test_a_suspended_machine_has_used_up_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop that slept while the attempt was under way: the clock that counts sleep says that it came too late."""
    clock = iter([0.0, 3600.0])
    monkeypatch.setattr(tools, "steady", lambda: next(clock))
    with open_gate(url(tmp_path / "log.db"), outbox=tmp_path / "outbox.db", source="urn:t", actor="user:anna") as gate:
        opened = tools.open_pause(gate, OpenPause(**{**TERMS, "owner": "user:anna", "fresh_for": "PT30M"}))
        fence = granted(gate, opened)
        with pytest.raises(Shut, match="ran out"):
            tools.attempt(gate, Attempt(**where(opened), fence=fence))
        assert gate.packet(Paused(*where(opened).values()))["side_effect"] == "not_happened"


def granted(gate: Gate, opened: dict[str, Any]) -> int:
    paused = Paused(*where(opened).values(), TERMS["action"])
    return gate.request_resume(paused, who=Who("user:anna")).fence


def test_a_pause_that_was_known_is_said_to_be(tmp_path: Path) -> None:
    """Opened by another process under another source: what was said first stands, however often it is told again."""
    again = OpenPause(**{**TERMS, "fresh_for": "PT5M"})
    for source, verdicts in (("urn:a", ["accepted"]), ("urn:b", ["known", "known"])):
        with open_gate(url(tmp_path / "log.db"), outbox=tmp_path / "outbox.db", source=source) as gate:
            assert [tools.open_pause(gate, again)["verdict"] for _ in verdicts] == verdicts
