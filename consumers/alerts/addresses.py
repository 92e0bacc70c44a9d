"""Where webhooks go and what signs them, as the settings give them. No error quotes an address or a secret: both can
be keys.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import SplitResult, urlsplit

from consumers.comma_lists import by_commas
from ledger.errors import WrongUsage

MOST_WEBHOOKS = 16
_SECRET = re.compile(r"whsec_([A-Za-z0-9+/]+={0,2})")
_SECRET_BYTES = range(24, 65)
_VISIBLE = re.compile(r"[!-~]+")
_FORM = "Give http or https addresses, separated by commas or as a JSON list."
_MAKE_ONE = (
    "Make one with: python -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
)


def webhook_urls(text: str) -> tuple[str, ...]:
    """The addresses in ``text``: a JSON list of them, or separated by commas. Raises ``WrongUsage``."""
    urls = _listed(text)
    for number, url in enumerate(urls, 1):
        if (fault := _fault(url)) is not None:
            raise WrongUsage(f"Address {number} of PAUSELEDGER_WEBHOOKS {fault}.", _FORM)
    if len(set(urls)) != len(urls):
        raise WrongUsage("PAUSELEDGER_WEBHOOKS names an address twice.", "Name each once.")
    if len(urls) > MOST_WEBHOOKS:
        raise WrongUsage(f"PAUSELEDGER_WEBHOOKS names {len(urls)} addresses.", f"{MOST_WEBHOOKS} are the most.")
    return tuple(urls)


def _listed(text: str) -> list[str]:
    if not text.lstrip().startswith("["):
        return [*by_commas(text)]
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise WrongUsage("PAUSELEDGER_WEBHOOKS is no JSON list of addresses.", _FORM)
    return found


def _fault(url: str) -> str | None:
    """What is wrong with an address; null where nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "can't be read"
    if parts.scheme not in ("http", "https"):
        return "is neither http nor https"
    if parts.username is not None or parts.password is not None:
        return "carries a user's name or password, which a signature makes needless"
    if not parts.hostname or port == 0 or parts.fragment or not _VISIBLE.fullmatch(url):
        return "can't be sent to"
    return None


def target_name(url: str) -> str:
    """What a target is called wherever it is shown or kept: its host, and a digest that tells it from others there.

    Paths and queries of such addresses are often secrets.
    """
    parts: SplitResult = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}#{sha256(url.encode()).hexdigest()[:8]}"


def webhook_secrets(text: str) -> Sequence[str]:
    """One secret, or two separated by a comma while receivers change over. Raises ``WrongUsage``."""
    secrets = [*by_commas(text)]
    if len(secrets) > 2 or not all(_is_secret(one) for one in secrets):
        wanted = "must be whsec_ and the base64 of 24 to 64 bytes; two of them, separated by a comma, while you rotate"
        raise WrongUsage(f"PAUSELEDGER_WEBHOOK_SECRET {wanted}.", _MAKE_ONE)
    return secrets


def _is_secret(text: str) -> bool:
    match = _SECRET.fullmatch(text)
    if match is None:
        return False
    try:
        return len(base64.b64decode(match[1] + "=" * (-len(match[1]) % 4), validate=True)) in _SECRET_BYTES
    except binascii.Error:
        return False
