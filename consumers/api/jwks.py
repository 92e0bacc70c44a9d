"""The keys of an issuer: a JWKS in a file, at a URL, or where the issuer's OpenID configuration says.

1. Keys are kept for minutes; a key that is not known is asked for again at most once in half a minute, whoever sends
   tokens that name it: a flood of bad tokens is no flood of requests to the issuer.
   One caller waits for the answer at a time; the others are answered with what is known.
2. Where the issuer can't be asked, the keys that are known go on counting for a day.
3. Only public keys of asymmetric algorithms are taken; each with the algorithms of its own kind.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from ledger.errors import LogUnavailable, WrongUsage
from ledger.json_text import read_json

FRESH_SECONDS = 300.0
STALE_SECONDS = 86_400.0
ASK_AGAIN_SECONDS = 30.0
TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 1_048_576

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}
ALGORITHMS = frozenset({*_RSA, "ES256", "ES384", "ES512", "EdDSA"})
"""What a token may be signed with. No ``none``, and nothing symmetric: a public key is no secret."""


class Key(NamedTuple):
    """A public key, and the algorithms that it may be used with."""

    key: Any
    algorithms: tuple[str, ...]


def _algorithms(content: dict[str, Any]) -> tuple[str, ...]:
    """What a key may verify by its kind, or only the one that it names itself."""
    kind = content.get("kty")
    if kind == "RSA":
        fitting: tuple[str, ...] = _RSA
    elif kind == "EC":
        fitting = _CURVES.get(str(content.get("crv")), ())
    else:
        fitting = ("EdDSA",) if kind == "OKP" and content.get("crv") in ("Ed25519", "Ed448") else ()
    named = content.get("alg")
    return fitting if named is None else tuple(one for one in fitting if one == named)


def keys_of(jwks: Any) -> dict[str, Key]:
    """The usable keys of a JWKS by their ``kid`` (a made-up one where there is none). Raises ``ValueError``."""
    if not isinstance(jwks, dict) or not isinstance(jwks.get("keys"), list):
        raise ValueError("it has no keys")
    found: dict[str, Key] = {}
    for content in jwks["keys"]:
        if not isinstance(content, dict) or content.get("use", "sig") != "sig":
            continue
        algorithms = _algorithms(content)
        if not algorithms:
            continue
        public = {name: value for name, value in content.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}
        try:
            key = PyJWK(public, algorithm=algorithms[0]).key
        except (PyJWTError, ValueError, TypeError):
            continue
        # One without a name gets one that no other has: they must not overwrite each other.
        found[str(content.get("kid") or f"#{len(found)}")] = Key(key, algorithms)
    return found


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_bad_url(url: str) -> None:
    """Raises ``WrongUsage`` for what can't be asked for keys: over plain HTTP anybody could put in their own."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise WrongUsage(f"{url!r} is no address to fetch keys from.", "Give an https URL (http on this machine only).")


class _SameRules(urllib.request.HTTPRedirectHandler):
    """A redirect leads to nowhere that could not have been asked at first."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        refuse_bad_url(newurl)
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise WrongUsage(f"{req.full_url} sends us to {newurl}, which is less safe.", "Name the place itself.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str) -> Any:
    """The JSON at a URL. Raises ``OSError``, ``HTTPException`` or ``ValueError``; ``WrongUsage`` for a redirect."""
    refuse_bad_url(url)
    opener = urllib.request.build_opener(_SameRules)
    with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
        text = answer.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise ValueError("the answer is too large")
    return read_json(text)


class _Known(NamedTuple):
    """The keys by their ``kid``, and when they were read: one value, so that threads see both or neither."""

    keys: dict[str, Key]
    read_at: float


class Jwks:
    """The keys of an issuer, kept. Thread-safe.

    ``place`` is a file or a URL; where it is empty, the issuer's OpenID configuration names the URL.
    """

    def __init__(self, place: str, issuer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._issuer = issuer
        self._clock = clock
        self._lock = threading.Lock()
        self._known = _Known({}, float("-inf"))
        self._asked_at = float("-inf")
        if place and "://" not in place:
            if not Path(place).is_file():
                raise WrongUsage(
                    f"There is no file {place} of keys.", "Name the issuer's JWKS: a file or an https URL."
                )
        else:
            refuse_bad_url(place or issuer)

    def key(self, kid: str) -> Key | None:
        """The key of this id; null where the issuer has none. Raises ``LogUnavailable`` where nobody can tell."""
        return self._chosen(lambda keys: keys.get(kid))

    def only_key(self) -> Key | None:
        """The one key that there is, for a token that names none; null where there are several."""
        return self._chosen(lambda keys: next(iter(keys.values())) if len(keys) == 1 else None)

    def _chosen(self, choose: Callable[[dict[str, Key]], Key | None]) -> Key | None:
        """A key of those that are known; where they are old, or it is not among them, the issuer is asked first."""
        keys, read_at = self._known
        found = choose(keys)
        if found is not None and self._clock() - read_at < FRESH_SECONDS:
            return found
        is_being_asked = not self._ask_in_turn()
        keys, read_at = self._known
        found = choose(keys)
        if self._clock() - read_at > STALE_SECONDS or (found is None and is_being_asked):
            raise LogUnavailable("The keys of the tokens' issuer can't be had.", "Try again.")
        return found

    def _ask_in_turn(self) -> bool:
        """Ask the issuer, where it is time to; false, at once, while another thread does.

        Nobody waits for the one who asks: an issuer that hangs would hold up whoever has a token, or none.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._clock() - self._asked_at >= ASK_AGAIN_SECONDS:
                self._ask()
        finally:
            self._lock.release()
        return True

    def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            self._known = _Known(keys_of(self._fetched()), self._clock())
        except (OSError, ValueError, RecursionError, HTTPException, WrongUsage):
            return  # what is known goes on counting

    def _fetched(self) -> Any:
        if self._place and "://" not in self._place:
            return read_json(Path(self._place).read_bytes())
        if self._place:
            return fetch(self._place)
        found = fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if not isinstance(found, dict) or found.get("issuer") != self._issuer:
            raise ValueError("the configuration is another issuer's")
        return fetch(str(found.get("jwks_uri")))
