"""JWTs of an issuer that is trusted: who one is, and what it lets its bearer do (RFC 7519, RFC 8725).

The algorithm is the key's, never the token's own choice; issuer, audience and end are required. A claim that narrows
and can't be read refuses the token: it must never widen it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jwt
from jwt.exceptions import PyJWTError

from consumers.api.access import SCOPES, Credential
from consumers.api.jwks import ALGORITHMS, Jwks, Key

_SCOPE_PREFIX = "pauseledger."
_MOST_BYTES = 16_384
_LONGEST = 256


class Claims(NamedTuple):
    """How claims become a credential, and whom a token must be for."""

    issuer: str
    audience: str
    actor_claim: str = "sub"
    actor_prefix: str = "user:"
    role_prefix: str = "role:"
    leeway_seconds: float = 10.0


class Bearer(NamedTuple):
    """A credential, and until when it counts (seconds since 1970, the leeway included)."""

    credential: Credential
    ends: float


class RefusedToken(Exception):
    """Why a token counts for nothing; told to nobody but the log."""


def _texts(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A claim that is a list of strings, or one string with spaces between."""
    value = claims.get(name)
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(value.split())
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise RefusedToken(f"its claim {name} is no list of strings")
    return tuple(value)


def _narrowing(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """As :func:`_texts`, of a list only; one that is there and empty lets nothing through, so it refuses the token."""
    value = claims.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        raise RefusedToken(f"its claim {name} is no list of strings with one at least")
    return _texts(claims, name)


def _principal(value: str) -> str:
    """A name that may stand in an event. Nothing in it may look like the end of one role and the next one's start."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RefusedToken("a name in it is no text") from None
    if not 0 < len(value) <= _LONGEST or not value.isprintable():
        raise RefusedToken("a name in it is empty, too long, or can't be printed")
    return value


class Bearers:
    """Verifies the tokens of one issuer. Thread-safe."""

    def __init__(self, jwks: Jwks, claims: Claims) -> None:
        self._jwks = jwks
        self._wanted = claims

    def find(self, token: str) -> Bearer:
        """Whose token this is. Raises ``RefusedToken``, and ``LogUnavailable`` where the keys can't be had."""
        if len(token) > _MOST_BYTES:
            raise RefusedToken("it is too long")
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header)
            claims = self._claims(token, key)
            ends = float(claims["exp"]) + self._wanted.leeway_seconds
        except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise RefusedToken(str(error)) from None
        return Bearer(self._credential(claims), ends)

    def _key(self, header: Mapping[str, Any]) -> Key:
        if "crit" in header:
            raise RefusedToken("it demands what is not known here (crit)")
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise RefusedToken(f"it is signed with {algorithm!r}")
        key = self._jwks.only_key() if kid is None else self._jwks.key(kid) if isinstance(kid, str) and kid else None
        if key is None:
            raise RefusedToken("its key is not the issuer's")
        if algorithm not in key.algorithms:
            raise RefusedToken(f"its key is not for {algorithm}")
        return key

    def _claims(self, token: str, key: Key) -> dict[str, Any]:
        wanted = self._wanted
        return jwt.decode(
            token,
            key.key,
            algorithms=list(key.algorithms),
            audience=wanted.audience,
            issuer=wanted.issuer,
            leeway=wanted.leeway_seconds,
            options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
        )

    def _credential(self, claims: Mapping[str, Any]) -> Credential:
        who = claims.get(self._wanted.actor_claim)
        if not isinstance(who, str) or not who:
            raise RefusedToken(f"its claim {self._wanted.actor_claim} does not say who it is")
        actor = _principal(self._wanted.actor_prefix + who)
        roles = tuple(_principal(self._wanted.role_prefix + one.strip()) for one in _texts(claims, "roles"))
        if any("," in role for role in roles):
            raise RefusedToken("a role in it has a comma")
        named = {one.removeprefix(_SCOPE_PREFIX) for one in (*_texts(claims, "scope"), *_texts(claims, "scp"))}
        prefixes = _narrowing(claims, "pauseledger_prefixes")
        routes = _narrowing(claims, "pauseledger_routes")
        return Credential(f"jwt:{actor}", actor, roles, frozenset(named & set(SCOPES)), prefixes, routes)
