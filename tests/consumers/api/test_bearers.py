"""JWTs: who is let in as whom, and every forgery that is known, refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from consumers.api.access import Credential
from consumers.api.bearers import Bearers, Claims, RefusedToken
from consumers.api.jwks import Jwks
from tests.consumers.api.conftest import Api, api, bearer, is_problem, publish
from tests.consumers.api.issuer import AUDIENCE, ISSUER, Issuer, rsa_key


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def door(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API that trusts the issuer, whose keys lie in a file."""
    folder = tmp_path_factory.mktemp("jwts")
    (folder / "jwks.json").write_text(json.dumps(issuer.jwks()))
    given = {"api_issuer": ISSUER, "api_audience": AUDIENCE, "api_jwks": str(folder / "jwks.json")}
    with api(folder, **given) as client:
        yield client


def segment(content: Any) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def signed_with_secret(claims: dict[str, Any], kid: str, secret: bytes, algorithm: str = "HS256") -> str:
    """A token with a MAC, made by hand: libraries refuse to make such a one of a public key."""
    head = f"{segment({'alg': algorithm, 'typ': 'JWT', 'kid': kid})}.{segment(claims)}"
    return f"{head}.{segment(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
def test_a_token_of_the_issuer_lets_in(door: Api, issuer: Issuer, kid: str) -> None:
    """With a key of each kind; the actor on the ledger is the token's subject."""
    token = issuer.token(kid, roles=["ops", "lead"])
    answer = publish(door, "note.added", {"text": "x"}, bearer(token), id=kid, subject=f"J-{kid}")
    assert answer.json()["verdict"] == "accepted", answer.text
    (told,) = door.get(f"/v1/work-items/J-{kid}/trail", headers=bearer(token)).json()
    assert (told["event"]["actor"], told["event"]["actorroles"]) == ("user:dana", "role:ops,role:lead")


def forgeries(issuer: Issuer) -> dict[str, str]:
    """Tokens that must not let anybody in, by what is wrong with them."""
    good, now = issuer.token(), int(time.time())
    head, body, signature = good.split(".")
    public = issuer.private["rsa"][1].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    none = {"alg": "none", "typ": "JWT"}
    strange = rsa_key()
    other = {"kid": "rsa"}
    endless = json.dumps(issuer.claims()).encode()[:-1] + b', "exp": 1e999}'
    own_jwk = {"jwk": issuer.jwks()["keys"][0], "jku": "https://evil.example/jwks", "kid": "evil"}
    return {
        "forged signature": f"{head}.{body}.{segment(bytes(256))}",
        "changed claims": f"{head}.{segment(issuer.claims(sub='eve'))}.{signature}",
        "no signature": f"{head}.{body}.",
        "alg none": f"{segment(none)}.{body}.",
        "alg None with kid": f"{segment({'alg': 'None', 'kid': 'rsa'})}.{body}.{signature}",
        "alg missing": f"{segment({'kid': 'rsa'})}.{body}.{signature}",
        "key confusion, PEM": signed_with_secret(issuer.claims(), "rsa", pem),
        "key confusion, DER": signed_with_secret(issuer.claims(), "rsa", der),
        "key confusion, JWK": signed_with_secret(issuer.claims(), "rsa", json.dumps(issuer.jwks()).encode()),
        "secret of nothing": signed_with_secret(issuer.claims(), "rsa", b""),
        "another's key": jwt.encode(issuer.claims(), strange, "RS256", headers=other),
        "its own key in the header": jwt.encode(issuer.claims(), strange, "RS256", headers=own_jwk),
        "unknown kid": issuer.token(headers={"kid": "none-such"}),
        "kid is a path": issuer.token(headers={"kid": "../../etc/passwd"}),
        "no kid, several keys": jwt.encode(issuer.claims(), issuer.private["rsa"][1], "RS256"),
        "a key of another kind": issuer.token("rsa", headers={"kid": "ec"}),
        "crit": issuer.token(headers={"crit": ["exp"], "exp": 1}),
        "expired": issuer.token(exp=now - 60),
        "no end": issuer.token(exp=None),
        "an end that is none": issuer.token(exp="soon"),
        "not yet": issuer.token(nbf=now + 600),
        "from the future": issuer.token(iat=now + 600),
        "wrong audience": issuer.token(aud="another"),
        "no audience": issuer.token(aud=None),
        "wrong issuer": issuer.token(iss="https://evil.example"),
        "no issuer": issuer.token(iss=None),
        "no subject": issuer.token(sub=None),
        "empty subject": issuer.token(sub=""),
        "a subject too long": issuer.token(sub="x" * 300),
        "a role with a comma": issuer.token(roles=["ops,role:admin"]),
        "a role that is none": issuer.token(roles=[7]),
        "a narrowing that is none": issuer.token(pauseledger_prefixes="T-"),
        "a narrowing to nothing": issuer.token(pauseledger_routes=[]),
        "a long one": issuer.token(padding="x" * 20_000),
        "no JSON": f"{segment(b'[]')}.{body}.{signature}",
        "three dots": "a.b.c",
        "an infinite end": jwt.PyJWS().encode(endless, issuer.private["rsa"][1], "RS256", headers=other),
    }


NAMES = sorted(forgeries(Issuer()))


@pytest.mark.parametrize("name", NAMES)
def test_a_forgery_is_refused(door: Api, issuer: Issuer, name: str) -> None:
    """Each is answered 401, in the same words as all, and never 500."""
    answer = door.get("/v1/work-items", headers={"authorization": f"Bearer {forgeries(issuer)[name]}".encode()})
    assert is_problem(answer, "unauthenticated")
    assert answer.json()["detail"] == "This token is not valid."


def credential(issuer: Issuer, tmp_path: Path, **claims: Any) -> Credential:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(issuer.jwks()))
    return Bearers(Jwks(str(path), ISSUER), Claims(ISSUER, AUDIENCE)).find(issuer.token(**claims)).credential


def test_claims_become_a_credential(issuer: Issuer, tmp_path: Path) -> None:
    """Scopes count plain and with their prefix, as text and as a list; others are left out; narrowings narrow."""
    found = credential(
        issuer,
        tmp_path,
        scope="openid pauseledger.publish",
        scp=["review"],
        roles="ops lead",
        pauseledger_prefixes=["T-"],
        pauseledger_routes=["mail"],
    )
    assert found.scopes == {"publish", "review"}
    assert found.roles == ("role:ops", "role:lead")
    assert (found.prefixes, found.routes) == (("T-",), ("mail",))


def test_a_role_never_looks_like_a_person(issuer: Issuer, tmp_path: Path) -> None:
    """Whatever an issuer calls a role, the ledger reads a role of that name, and not the person."""
    assert credential(issuer, tmp_path, roles=["user:boss"]).roles == ("role:user:boss",)


def test_a_clock_that_is_a_little_off_is_forgiven(issuer: Issuer, tmp_path: Path) -> None:
    """Within the leeway a token that has just ended still counts; after it, it does not."""
    assert credential(issuer, tmp_path, exp=int(time.time()) - 3).actor == "user:dana"
    with pytest.raises(RefusedToken):
        credential(issuer, tmp_path, exp=int(time.time()) - 15)


def test_a_token_without_scopes_may_nothing(door: Api, issuer: Issuer) -> None:
    """It is known whose it is, and that is all."""
    assert is_problem(door.get("/v1/inbox", headers=bearer(issuer.token(scope=None))), "missing-scope")
