"""The OpenAPI document: whole, with examples that are true, and attacked from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from consumers.api.access import OPEN_ROUTES, ROUTES
from consumers.api.app import make_app
from tests.consumers.api.conftest import Api, api, bearer, publish, settings_in, token
from tests.faults.lines import opened


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    content: dict[str, Any] = make_app(settings_in(tmp_path_factory.mktemp("openapi"))).openapi()
    return content


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in document["paths"].items():
        for method, operation in found.items():
            yield method.upper(), path, operation


def contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every content of a request or an answer."""
    yield from operation.get("requestBody", {"content": {}})["content"].values()
    for answer in operation["responses"].values():
        yield from answer["content"].values()


def test_every_route_is_told(document: dict[str, Any]) -> None:
    """Each with a description, its scopes, and an answer; each error as a problem document with an example."""
    told = {(method, path) for method, path, _ in operations(document)}
    assert told == {*ROUTES, *OPEN_ROUTES} - {("GET", "/openapi.json")}
    for method, path, operation in operations(document):
        assert operation["description"]
        scopes = [one["bearer"][0] for one in operation.get("security", [])]
        assert tuple(scopes) == ROUTES.get((method, path), ())
        for status, answer in operation["responses"].items():
            assert ("application/problem+json" in answer["content"]) == (int(status) >= 400)
        if scopes:
            assert {"200", "401", "403", "429", "500", "503"} <= operation["responses"].keys()


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    """What is shown has the shape that is promised."""
    shown = 0
    for _, _, operation in operations(document):
        for content in contents(operation):
            examples = [one["value"] for one in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            assert examples
            schema = {**content["schema"], "components": document["components"]}
            for example in examples:
                Draft202012Validator(schema).validate(example)
                shown += 1
    assert shown > 100


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, str]]:
    """An API with something on its ledger, and a token that may do everything."""
    folder: Path = tmp_path_factory.mktemp("attacked")
    secret = token(folder / "tokens", scopes=("publish", "read", "review", "admin"))
    with api(folder, api_tokens=folder / "tokens") as client:
        publish(client, "pause.opened", opened(), bearer(secret))
        yield client, secret


LEFT_OUT = [ignored_auth]
"""The token is put in by the test, over whatever was made up: test_access.py tries what happens without."""
MADE_UP = [positive_data_acceptance]
"""Of listings: a cursor is text to the schema, and one that was made up is refused; test_pages.py tries real ones."""
NEGATIVE = [negative_data_rejection]
"""Of a question whose query, as it went out, is sound: an unknown parameter without a value is never sent."""
CASES = 25
"""Cases an operation: all of them take some tens of seconds."""


def is_sound(operation: dict[str, Any], url: str) -> bool:
    """Whether a query is one that the document allows: no name but those that are told, each once, with its value."""
    told = {one["name"]: one["schema"] for one in operation.get("parameters", []) if one["in"] == "query"}
    given = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    if len(dict(given)) < len(given) or not dict(given).keys() <= told.keys():
        return False
    return all(
        Draft202012Validator(told[name]).is_valid(int(text) if name == "limit" and text.isdecimal() else text)
        for name, text in given
    )


@pytest.mark.parametrize(
    ("method", "path"), [one for one in [*ROUTES, *OPEN_ROUTES] if not one[1].endswith(("stream", ".json"))]
)
def test_schemathesis_finds_nothing(
    attacked: tuple[Api, str], document: dict[str, Any], method: str, path: str
) -> None:
    """Whatever is sent, sound or broken: no 5xx, no answer of another shape, every error a problem document."""
    client, secret = attacked
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig())
    schema.config.update(base_url=str(client.base_url))
    operation = schema[path][method]
    has_cursor = "cursor" in [one["name"] for one in document["paths"][path][method.lower()].get("parameters", [])]
    left_out = LEFT_OUT + (MADE_UP if has_cursor else [])
    seen: list[int] = []

    def check(case: Any) -> None:
        answer = case.call(headers=bearer(secret), timeout=20.0)
        seen.append(answer.status_code)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"]
            content = answer.json()
            assert content["type"].startswith("/problems/")
            assert content["status"] == answer.status_code
        sent_soundly = method == "GET" and is_sound(document["paths"][path]["get"], answer.request.url)
        case.validate_response(answer, excluded_checks=left_out + (NEGATIVE if sent_soundly else []))

    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    for mode in modes[:1] if (method, path) in OPEN_ROUTES else modes:  # where there is nothing that could be wrong
        cases = operation.as_strategy(generation_mode=mode)
        run = settings(
            max_examples=CASES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        run(given(case=cases)(check))()
    assert seen
