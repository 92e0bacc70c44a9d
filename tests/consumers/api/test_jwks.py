"""The issuer's keys: how they are found, how long they count, and that bad tokens don't make us ask for them."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from consumers.api.jwks import (
    ASK_AGAIN_SECONDS,
    FRESH_SECONDS,
    STALE_SECONDS,
    Jwks,
    _SameRules,
    keys_of,
    refuse_bad_url,
)
from ledger.errors import LogUnavailable, WrongUsage
from tests.consumers.api.issuer import Issuer, rsa_key, web
from tests.faults.waiting import until


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_new_key_is_found_and_an_old_one_goes() -> None:
    """A kid that is not known is asked for; after five minutes a key that was taken out is gone."""
    issuer, clock = Issuer(), Clock()
    with web() as site:
        site.pages["/jwks"] = issuer.jwks()
        keys = Jwks(f"{site.url}/jwks", "", clock)
        assert keys.key("rsa") is not None
        issuer.private["new"] = ("RS256", rsa_key())
        del issuer.private["rsa"]
        site.pages["/jwks"] = issuer.jwks()
        assert keys.key("rsa") is not None
        clock.now += ASK_AGAIN_SECONDS
        assert keys.key("new") is not None
        assert keys.key("rsa") is None
        clock.now += FRESH_SECONDS
        assert keys.key("rsa") is None
        assert len(site.asked) == 3


def test_a_flood_of_bad_tokens_is_no_flood_of_requests() -> None:
    """However many unknown kids come, the issuer is asked once in half a minute."""
    clock = Clock()
    with web() as site:
        site.pages["/jwks"] = Issuer().jwks()
        keys = Jwks(f"{site.url}/jwks", "", clock)
        assert [keys.key(f"made-up-{number}") for number in range(500)] == [None] * 500
        assert len(site.asked) == 1
        clock.now += ASK_AGAIN_SECONDS
        keys.key("made-up")
        assert len(site.asked) == 2


def test_an_issuer_that_is_away() -> None:
    """Known keys count for a day; without any, nobody can tell, which is not the token's fault."""
    clock = Clock()
    with web() as site:
        keys, url = Jwks(f"{site.url}/jwks", "", clock), site.url
        with pytest.raises(LogUnavailable):
            keys.key("rsa")
        site.pages["/jwks"] = Issuer().jwks()
        clock.now += ASK_AGAIN_SECONDS
        assert keys.key("rsa") is not None
    assert url
    clock.now += STALE_SECONDS - 1
    assert keys.key("rsa") is not None
    clock.now += ASK_AGAIN_SECONDS
    with pytest.raises(LogUnavailable):
        keys.key("rsa")


def test_an_issuer_that_hangs_holds_up_one_caller() -> None:
    """While one asks, the others use a key that is known, and are told at once of one that is not."""
    clock = Clock()
    with web() as site:
        site.pages["/jwks"] = Issuer().jwks()
        keys = Jwks(f"{site.url}/jwks", "", clock)
        assert keys.key("rsa") is not None
        clock.now += FRESH_SECONDS
        site.answers.clear()
        asking = threading.Thread(target=keys.key, args=("made-up",))
        asking.start()
        until(lambda: len(site.asked) == 2, what="the question")
        assert keys.key("rsa") is not None
        with pytest.raises(LogUnavailable):
            keys.key("another")
        assert asking.is_alive()  # it still hangs: nobody waited for it
        site.answers.set()
        asking.join()
        assert keys.key("another") is None


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\n\r\n[", b"HTTP/1.1 abc\r\n\r\n"])
def test_a_garbled_answer_is_as_none(garbage: bytes) -> None:
    """What is no HTTP, or no JSON, is an issuer that is away."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(garbage)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(LogUnavailable):
            Jwks(f"http://127.0.0.1:{server.getsockname()[1]}/jwks", "", Clock()).key("rsa")
        thread.join()


def test_a_redirect_never_leaves_https() -> None:
    """Not even to this machine, which may be asked in plain HTTP at first."""
    request = urllib.request.Request("https://login.example/jwks")
    with pytest.raises(WrongUsage, match="less safe"):
        _SameRules().redirect_request(request, None, 302, "Found", {}, "http://127.0.0.1/jwks")


def test_the_issuers_own_configuration() -> None:
    """Without a place the issuer is asked where its keys are, and must say that it is itself."""
    clock = Clock()
    with web() as site:
        site.pages["/jwks"] = Issuer().jwks()
        place = "/.well-known/openid-configuration"
        site.pages[place] = {"issuer": site.url, "jwks_uri": f"{site.url}/jwks"}
        assert Jwks("", site.url, clock).key("ec") is not None
        site.pages[place]["issuer"] = "https://evil.example"
        with pytest.raises(LogUnavailable):
            Jwks("", site.url, clock).key("ec")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://192.0.2.1/jwks", "ftp://127.0.0.1/x"])
def test_a_redirect_leads_nowhere_else(target: str) -> None:
    """An answer can't send us to a file, nor to a place that is not safe to ask."""
    with web() as site:
        site.pages["/jwks"] = target
        with pytest.raises(LogUnavailable):
            Jwks(f"{site.url}/jwks", "", Clock()).key("rsa")


@pytest.mark.parametrize("url", ["http://login.example/jwks", "file:///keys", "https://", "login.example"])
def test_keys_come_over_a_safe_way_only(url: str) -> None:
    """Plain HTTP to another machine is refused when the server starts."""
    with pytest.raises(WrongUsage):
        refuse_bad_url(url)


def test_a_file_that_is_not_there() -> None:
    """It is said when the server starts."""
    with pytest.raises(WrongUsage, match="no file"):
        Jwks("/nowhere/jwks.json", "")


def test_only_public_keys_for_signatures_count() -> None:
    """Secrets, keys for encryption, curves that are not meant and broken ones are left out; the rest counts."""
    (good, curve, _) = Issuer().jwks()["keys"]
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}
    others: list[Any] = [secret, good | {"use": "enc", "kid": "enc"}, curve | {"crv": "secp256k1", "kid": "k1"}]
    others += [good | {"n": "!", "kid": "broken"}, good | {"alg": "HS256", "kid": "hs"}, 7]
    found = keys_of({"keys": [good | {"alg": "PS256"}, *others]})
    assert {kid: key.algorithms for kid, key in found.items()} == {"rsa": ("PS256",)}
    with pytest.raises(ValueError, match="no keys"):
        keys_of([])


def test_one_key_needs_no_name(tmp_path: Path) -> None:
    """Where the issuer has a single key, a token need not say which."""
    keys = Issuer().jwks()["keys"]
    (tmp_path / "one").write_text(json.dumps({"keys": keys[:1]}))
    (tmp_path / "two").write_text(json.dumps({"keys": keys[:2]}))
    assert Jwks(str(tmp_path / "one"), "").only_key() is not None
    assert Jwks(str(tmp_path / "two"), "").only_key() is None
    nameless = [{name: value for name, value in key.items() if name != "kid"} for key in keys]
    assert len(keys_of({"keys": nameless})) == 3
    (tmp_path / "nameless").write_text(json.dumps({"keys": nameless[:2]}))
    assert Jwks(str(tmp_path / "nameless"), "").only_key() is None
