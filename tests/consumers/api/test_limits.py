"""How often, how many, and under which name: the limits that are no matter of one request."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers.api.problems import KINDS, Problem
from consumers.api.rate import Rates
from tests.consumers.api.conftest import api, bearer, is_problem, token

ROOT = Path(__file__).parents[3]


def test_a_bucket_fills_again() -> None:
    """So many at once, then so many a second; each credential has its own."""
    now = [0.0]
    rates = Rates(2.0, 3, lambda: now[0])
    for _ in range(3):
        rates.take("a")
    with pytest.raises(Problem) as refused:
        rates.take("a")
    assert refused.value.headers["retry-after"] == "1"
    rates.take("b")
    now[0] += 0.5
    rates.take("a")
    with pytest.raises(Problem):
        rates.take("a")
    now[0] += 1_000
    for _ in range(3):
        rates.take("a")
    with pytest.raises(Problem):
        rates.take("a")


def test_who_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    """The answer is 429 with Retry-After; another credential is not held up."""
    file = tmp_path / "tokens"
    often, seldom = token(file), token(file)
    with api(tmp_path, api_tokens=file, api_rate=0.1, api_burst=2) as client:
        answers = [client.get("/v1/inbox", headers=bearer(often)) for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        assert is_problem(answers[2], "too-many-requests")
        assert 1 <= int(answers[2].headers["retry-after"]) <= 10
        assert client.get("/v1/inbox", headers=bearer(seldom)).status_code == 200


@pytest.mark.parametrize(
    ("host", "is_let_in"),
    [("127.0.0.1", True), ("localhost:80", True), ("[::1]:80", True), ("evil.example", False), ("", False)],
)
def test_without_authentication_the_name_must_be_this_machines(tmp_path: Path, host: str, is_let_in: bool) -> None:
    """A page of the web that rebinds its own name to this machine gets nothing."""
    with api(tmp_path) as client:
        answer = client.get("/v1/inbox", headers={"host": host})
        assert answer.status_code == 200 if is_let_in else is_problem(answer, "wrong-host")


@pytest.mark.parametrize(
    ("headers", "is_let_in"),
    [
        ({"origin": "http://localhost:3000"}, True),
        ({"origin": "http://[::1]"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "https://localhost.evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://[::1"}, False),
        ({"forwarded": "for=192.0.2.1"}, False),
        ({"x-forwarded-for": "192.0.2.1"}, False),
        ({"x-forwarded-proto": "https"}, False),
        ({"x-real-ip": "192.0.2.1"}, False),
    ],
)
def test_without_authentication_nobody_from_elsewhere(tmp_path: Path, headers: dict[str, str], is_let_in: bool) -> None:
    """Neither through a proxy, nor as a page of another machine; with a token both are let in."""
    with api(tmp_path) as client:
        answer = client.get("/v1/inbox", headers=headers)
        assert answer.status_code == 200 if is_let_in else is_problem(answer, "wrong-host")
    secret = token(tmp_path / "tokens")
    with api(tmp_path, api_tokens=tmp_path / "tokens") as client:
        assert client.get("/v1/inbox", headers=headers | bearer(secret)).status_code == 200


def test_every_kind_of_problem_is_explained(tmp_path: Path) -> None:
    """Each type is a page of the API and a row of the documentation."""
    page = (ROOT / "docs" / "http.md").read_text()
    with api(tmp_path) as client:
        for name, kind in KINDS.items():
            assert f"| `{name}` | {kind.status} |" in page
            assert client.get(f"/problems/{name}").json()["status"] == kind.status
        assert is_problem(client.get("/problems/none-such"), "not-found")
