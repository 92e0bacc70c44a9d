"""Addresses and secrets: what is taken, what is refused in one line, and that no line repeats a secret."""

from __future__ import annotations

import base64

import pytest

from consumers.alerts.addresses import target_name, webhook_secrets, webhook_urls
from consumers.settings import Settings
from ledger.errors import WrongUsage
from tests.consumers.alerts.receiver import OTHER_SECRET, SECRET


def test_addresses_come_by_commas_or_as_a_json_list() -> None:
    """A JSON list is for addresses that have a comma in them."""
    assert webhook_urls("") == ()
    assert webhook_urls(" https://a.example/x , http://b.example:8080 ,") == (
        "https://a.example/x",
        "http://b.example:8080",
    )
    assert webhook_urls('["https://a.example/x?y=1,2"]') == ("https://a.example/x?y=1,2",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://a.example/s3cr3t", "Address 1 of PAUSELEDGER_WEBHOOKS is neither http nor https"),
        ("https://ok.example,file:///etc/s3cr3t", "Address 2 of PAUSELEDGER_WEBHOOKS is neither http nor https"),
        ("https://user:s3cr3t@a.example/", "carries a user's name or password"),
        ("https://s3cr3t@a.example/", "carries a user's name or password"),
        ("https:///s3cr3t", "can't be sent to"),
        ("https://a.example/s3cr3t#part", "can't be sent to"),
        ("https://a.example/s3cr3t x", "can't be sent to"),
        ("https://a.example/s3cr3t\r\nx: y", "can't be sent to"),
        ("https://a.example:99999/s3cr3t", "can't be read"),
        ('["https://a.example/s3cr3t"', "no JSON list"),
        ('[["s3cr3t"]]', "no JSON list"),
        ("https://a.example/s3cr3t,https://a.example/s3cr3t", "names an address twice"),
        (",".join(f"https://a.example/s3cr3t{n}" for n in range(17)), "17 addresses"),
    ],
)
def test_addresses_that_are_refused(text: str, said: str) -> None:
    """Each with what is wrong, before anything is opened, and without what may be a key."""
    with pytest.raises(WrongUsage) as refused:
        Settings.read(webhooks=text)
    assert said in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "whsec_hunter2",
        "whsec_" + base64.b64encode(b"hunter2").decode(),
        "whsec_" + base64.b64encode(b"h" * 65).decode(),
        SECRET.removeprefix("whsec_"),
        f"{SECRET},hunter2",
        f"{SECRET},{OTHER_SECRET},{SECRET}",
    ],
)
def test_secrets_that_are_refused(text: str) -> None:
    """One line says what one must look like, and doesn't say what was given."""
    with pytest.raises(WrongUsage, match="PAUSELEDGER_WEBHOOK_SECRET must be whsec_") as refused:
        Settings.read(webhook_secret=text)
    assert "hunter2" not in str(refused.value)
    assert SECRET[6:] not in str(refused.value)


def test_secrets_that_are_taken() -> None:
    """None, one, or two while they are changed over; none of them is shown with the settings."""
    assert list(webhook_secrets("")) == []
    settings = Settings.read(webhook_secret=f"{SECRET}, {OTHER_SECRET}")
    assert list(webhook_secrets(settings.webhook_secret.get_secret_value())) == [SECRET, OTHER_SECRET]
    assert SECRET[6:] not in repr(settings)


def test_a_target_is_named_by_its_host_and_a_digest() -> None:
    """Two addresses of one host differ, and neither's path is told."""
    one, other = (target_name(f"https://Hooks.example:8443/{path}?key=k") for path in ("s3cr3t", "other"))
    assert one != other
    assert one.startswith("https://hooks.example:8443#")
    assert "s3cr3t" not in one
