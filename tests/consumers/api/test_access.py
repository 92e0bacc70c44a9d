"""Who may do what: every route with every scope, from one table, both ways; and what narrows a credential."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.api.access import EVENT_SCOPES, OPEN_ROUTES, ROUTES, SCOPES
from consumers.api.app import ENDPOINTS
from ledger.events import EVENT_TYPES
from tests.consumers.api.conftest import BATCH, STRUCTURED, Api, api, bearer, is_problem, publish, token
from tests.faults.lines import DANA, event, opened
from tests.faults.waiting import until

WHERE = {"subject": "T-1", "pause": "p1", "name": "not-found"}
PUBLISHED = {"publish": "note.added", "review": "owner.changed"}


class Doors:
    """An API whose ledger holds T-1 with one pause, and tokens made as they are needed."""

    def __init__(self, client: Api, file: Path) -> None:
        self.client = client
        self.file = file
        self._made: dict[Any, str] = {}

    def bearer(self, *scopes: str, **more: Any) -> dict[str, str]:
        key = (scopes, tuple(sorted(more.items())))
        if key not in self._made:
            self._made[key] = token(self.file, scopes=scopes, **more)
            self.client.app.state.gate.tokens._looked_at = float("-inf")  # as if a second had passed
        return bearer(self._made[key])

    def ask(
        self, method: str, path: str, headers: dict[str, str], kind: str = "note.added", subject: str = "T-1"
    ) -> Any:
        if method == "GET":
            if path.endswith("stream"):
                with self.client.stream("GET", path.format(**WHERE), headers=headers) as answer:
                    if answer.status_code != 200:
                        answer.read()
                    return answer
            return self.client.get(path.format(**WHERE), headers=headers)
        data = {"text": "x", "execution": "run-1", "to": "user:eve", "from": DANA}
        return publish(self.client, kind, data, headers, id=f"{kind}-{headers}"[:80], subject=subject)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    first = token(folder / "tokens.json")
    with api(folder, api_tokens=folder / "tokens.json") as client:
        assert publish(client, "pause.opened", opened(route="payments"), bearer(first)).json()["verdict"] == "accepted"
        until(lambda: client.get("/readyz").status_code == 200, what="ready")
        yield Doors(client, folder / "tokens.json")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda part: part)
def test_every_route_with_every_scope(doors: Doors, method: str, path: str, scope: str) -> None:
    """A route opens to the scopes that its row of the table names, and to no other."""
    answer = doors.ask(method, path, doors.bearer(scope), PUBLISHED.get(scope, "note.added"))
    if scope in ROUTES[method, path]:
        assert answer.status_code == 200, answer.text
    else:
        assert is_problem(answer, "missing-scope")
        assert answer.status_code == 403


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda part: part)
def test_no_route_without_a_token(doors: Doors, method: str, path: str) -> None:
    """Without a token, or with one that nobody was given, a route of the table stays shut, and says how it opens."""
    for headers in ({}, bearer("plt_made-up"), {"authorization": "Basic eDp5"}, {"authorization": "Bearer"}):
        answer = doors.ask(method, path, headers)
        assert is_problem(answer, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path"), OPEN_ROUTES, ids=lambda part: part)
def test_open_routes_need_none(doors: Doors, method: str, path: str) -> None:
    """What tells nothing of the ledger answers everybody."""
    assert doors.client.request(method, path.format(**WHERE)).status_code == 200


def test_the_table_is_whole() -> None:
    """Every endpoint is in a table, and every event type has a scope."""
    assert ENDPOINTS.keys() == {*ROUTES, *OPEN_ROUTES} - {("GET", "/openapi.json")}
    assert EVENT_SCOPES.keys() == EVENT_TYPES.keys()


@pytest.mark.parametrize("scope", ["publish", "review"])
@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_every_event_with_every_scope(doors: Doors, kind: str, scope: str) -> None:
    """An event is taken from who has the scope of its type, and refused from who has the other one."""
    answer = doors.ask("POST", "", doors.bearer(scope), kind.removeprefix("pauseledger."), "E-1")
    if EVENT_SCOPES[kind] == scope:
        assert answer.status_code == 200, answer.text
    else:
        assert is_problem(answer, "missing-scope")


def test_one_event_that_may_not_be_spoils_its_batch(doors: Doors) -> None:
    """Of a batch with an event that the credential may not publish nothing is recorded, and it says which it was."""
    events = [event("note.added", {"text": "b"}, id="batch-1"), event("debt.waived", {}, id="batch-2")]
    headers = BATCH | doors.bearer("publish")
    answer = doors.client.post("/v1/events", content=json.dumps(events), headers=headers)
    assert is_problem(answer, "missing-scope")
    assert answer.json()["index"] == 1
    told = doors.client.get("/v1/work-items/T-1/trail", headers=doors.bearer("read")).json()
    assert "batch-1" not in [line["id"] for line in told]


def test_a_prefix_narrows_everything(doors: Doors) -> None:
    """A credential for other names publishes nothing, reads nothing and lists nothing of T-1; one for T- does."""
    far = doors.bearer("publish", "read", prefixes=("X-",))
    near = doors.bearer("publish", "read", prefixes=("X-", "T-"))
    for method, path in ROUTES:
        if ROUTES[method, path] == ("admin",):
            continue
        answer, allowed = doors.ask(method, path, far), doors.ask(method, path, near)
        assert allowed.status_code == 200, allowed.text
        if "{subject}" in path or method == "POST":
            assert is_problem(answer, "out-of-reach")
        elif not path.endswith("stream"):
            assert answer.json() == {"items": [], "next": None}
    for path in ("work-items", "decisions", "owners", "deadlines"):
        assert doors.client.get(f"/v1/{path}", headers=near).json()["items"], path
    nameless = doors.client.post("/v1/events", content=b"{}", headers=STRUCTURED | near)
    assert is_problem(nameless, "out-of-reach")


def test_a_route_narrows_everything(doors: Doors) -> None:
    """A credential for another route reads and publishes nothing of T-1, whose pause is one of payments."""
    far = doors.bearer("publish", "read", routes=("mail",))
    near = doors.bearer("publish", "read", routes=("payments",))
    for method, path in ROUTES:
        if ROUTES[method, path] == ("admin",):
            continue
        answer, allowed = doors.ask(method, path, far), doors.ask(method, path, near)
        assert allowed.status_code == 200, allowed.text
        if "{subject}" in path or method == "POST":
            assert is_problem(answer, "out-of-reach")
        elif not path.endswith("stream"):
            assert answer.json()["items"] == []
    assert doors.client.get("/v1/decisions", headers=near).json()["items"]


def test_a_route_is_taken_only_by_who_has_it(doors: Doors) -> None:
    """On a new work item the event must name a route of the credential; to name it on another's does not help."""
    mail = doors.bearer("publish", "read", routes=("mail",))
    claim = {"execution": "run-1", "owner": "role:mail"}
    assert is_problem(publish(doors.client, "execution.claimed", claim, mail, subject="M-1"), "out-of-reach")
    other = claim | {"route": "payments"}
    assert is_problem(publish(doors.client, "execution.claimed", other, mail, subject="M-1"), "out-of-reach")
    own = claim | {"route": "mail"}
    assert is_problem(publish(doors.client, "execution.claimed", own, mail, id="own"), "out-of-reach")
    assert publish(doors.client, "execution.claimed", own, mail, subject="M-1").json()["code"] == "ok"
    assert publish(doors.client, "note.added", {"text": "mine"}, mail, subject="M-1", id="n").json()["code"] == "ok"
    assert doors.client.get("/v1/work-items/M-1/decision", headers=mail).json() == []


def test_a_route_named_in_passing_opens_nothing(doors: Doors) -> None:
    """Only a claim or a pause names a route, and not even these take over a work item that was begun without one."""
    mail = doors.bearer("publish", "review", "read", routes=("mail",))
    claim = {"execution": "run-1", "owner": DANA}
    publish(doors.client, "execution.claimed", claim, doors.bearer("publish"), subject="N-1", id="n1")
    for kind, more in (
        ("note.added", {"text": "x"}),
        ("owner.changed", {"from": DANA, "to": "user:eve"}),
        ("execution.claimed", {"execution": "run-2", "owner": DANA}),
        ("pause.opened", opened()),
    ):
        answer = publish(doors.client, kind, claim | more | {"route": "mail"}, mail, subject="N-1", id=f"n-{kind}")
        assert is_problem(answer, "out-of-reach"), kind
    fresh = publish(doors.client, "note.added", {"text": "x", "route": "mail"}, mail, subject="N-2", id="n2")
    assert is_problem(fresh, "out-of-reach")
    assert (
        publish(doors.client, "pause.opened", opened(route="mail"), mail, subject="N-2", id="n3").json()["code"] == "ok"
    )


def test_the_past_of_another_route_stays_out_of_reach(doors: Doors) -> None:
    """Who may see a work item as it was must be allowed to see it as it is."""
    both = doors.bearer("publish", "read", routes=("a", "b"))
    claim = {"execution": "run-1", "owner": "role:x", "route": "a"}
    first = publish(doors.client, "execution.claimed", claim, both, subject="P-1", id="c1").json()
    publish(doors.client, "execution.claimed", claim | {"route": "b"}, both, subject="P-1", id="c2")
    for name, seen in (("a", False), ("b", False)):
        headers = doors.bearer("read", routes=(name,))
        answer = doors.client.get("/v1/work-items/P-1", params={"at": first["recorded_at"]}, headers=headers)
        assert (answer.status_code == 200) is seen
        for at in ({}, {"at": first["recorded_at"]}):
            answer = doors.client.get("/v1/work-items/P-1/trail", params=at, headers=headers)
            assert is_problem(answer, "out-of-reach")
    for at in ({}, {"at": first["recorded_at"]}):
        assert doors.client.get("/v1/work-items/P-1/trail", params=at, headers=both).status_code == 200
    assert doors.client.get("/v1/work-items/P-1", headers=doors.bearer("read", routes=("b",))).status_code == 200
