"""Listings: the rows of the command line, in pages that stay right while entries arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consumers.api import pages
from tests.consumers.api.conftest import Api, api, is_problem, publish
from tests.faults.command import run
from tests.faults.lines import DANA, opened

NAMES = [f"T-{number}" for number in range(7)]


def filled(client: Api) -> None:
    """Seven work items with two pauses each, of which one has a debt and one is clear."""
    for name in NAMES:
        publish(client, "pause.opened", opened(heartbeat_timeout="PT1H"), id="a", subject=name)
        owed = opened("p0", side_effect="indeterminate", reconcile_within="PT5M")
        publish(client, "pause.opened", owed, id="b", subject=name)


def all_of(client: Api, path: str, limit: int = 3, **params: Any) -> list[dict[str, Any]]:
    """The rows of all pages."""
    rows: list[dict[str, Any]] = []
    cursor = None
    for _ in range(100):
        given = params | {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        page = client.get(f"/v1/{path}", params=given).json()
        assert len(page["items"]) <= limit
        rows += page["items"]
        cursor = page["next"]
        if cursor is None:
            return rows
    raise AssertionError("the pages never end")


@pytest.mark.parametrize("limit", [1, 3, 4, 500])
@pytest.mark.parametrize("name", ["inbox", "debts", "deadlines", "owners"])
def test_the_rows_of_the_command_line(tmp_path: Path, name: str, limit: int) -> None:
    """All pages together are what the command lists, whatever the size of a page."""
    with api(tmp_path) as client:
        filled(client)
        told = run(name, "--json", folder=tmp_path, env={"PAUSELEDGER_LOG": "sqlite:///ledger.db"}).json
        found = all_of(client, name, limit)

        def key(row: dict[str, Any]) -> list[Any]:
            return [row["subject"], row["execution"], row.get("pause", ""), row.get("kind", "")]

        assert sorted(found, key=key) == sorted(told, key=key)
        assert [row["subject"] for row in found] == sorted(row["subject"] for row in found)


def test_what_is_asked_for(client: Api) -> None:
    """Owner, branch and prefix choose; a past instant shows what was."""
    filled(client)
    assert [one["subject"] for one in all_of(client, "work-items")] == NAMES
    assert len(all_of(client, "decisions")) == 14
    branches = [one["decision"] for one in all_of(client, "decisions", branch="reconcile")]
    assert branches == ["reconcile"] * len(branches)
    assert branches
    assert all_of(client, "decisions", branch="closed") == []
    assert len(all_of(client, "owners", owner=DANA)) == 7
    assert all_of(client, "owners", owner="user:nobody") == []
    assert len(all_of(client, "deadlines", owner=DANA)) == len(all_of(client, "deadlines"))
    assert [one["subject"] for one in all_of(client, "work-items", prefix="T-3")] == ["T-3"]
    assert all_of(client, "decisions", at="2020-01-01T00:00:00Z") == []
    close = {"execution": "run-1", "pause": "p1", "outcome": "abandoned"}
    assert publish(client, "pause.closed", close, id="c", subject="T-2", actor=DANA).json()["code"] == "ok"
    assert [one["subject"] for one in all_of(client, "decisions", branch="closed")] == ["T-2"]
    assert len(all_of(client, "decisions")) == 13


def test_pages_stay_right_while_entries_arrive(client: Api) -> None:
    """Rows that are there all along come once each, whatever is put before and behind them, or goes."""
    filled(client)
    first = client.get("/v1/decisions", params={"limit": 5}).json()
    publish(client, "pause.opened", opened(), id="a", subject="A-0")
    publish(client, "pause.opened", opened("p2"), id="c", subject="T-2")
    close = {"execution": "run-1", "pause": "p1", "outcome": "abandoned"}
    assert publish(client, "pause.closed", close, id="d", subject="T-2", actor=DANA).json()["code"] == "ok"
    second = client.get("/v1/decisions", params={"limit": 500, "cursor": first["next"]}).json()
    seen = [(one["subject"], one["pause"]) for one in first["items"] + second["items"]]
    expected = [(name, pause) for name in NAMES for pause in (["p1", "p0", "p2"] if name == "T-2" else ["p1", "p0"])]
    assert seen == expected
    assert second["next"] is None


def test_a_page_reads_no_more_than_it_may(client: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where few rows are wanted of many work items, a page may be empty and still go on."""
    monkeypatch.setattr(pages, "MOST_ITEMS", 2)
    filled(client)
    page = client.get("/v1/work-items", params={"owner": "user:nobody"}).json()
    assert page["items"] == []
    assert page["next"] is not None
    assert all_of(client, "work-items", owner="user:nobody") == []
    assert [one["subject"] for one in all_of(client, "work-items", limit=500)] == NAMES


def test_a_cursor_belongs_to_its_question(client: Api) -> None:
    """Of another listing, with other parameters, or made up, it is refused."""
    filled(client)
    cursor = client.get("/v1/inbox", params={"limit": 1}).json()["next"]
    assert is_problem(client.get("/v1/debts", params={"cursor": cursor}), "bad-cursor")
    assert is_problem(client.get("/v1/inbox", params={"cursor": cursor, "owner": DANA}), "bad-cursor")
    for made_up in ("x", "W10", cursor[:-2], "WyJhIiwiYiIsWyJjIl1d"):
        assert is_problem(client.get("/v1/inbox", params={"cursor": made_up}), "bad-cursor")
