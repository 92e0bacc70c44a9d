"""``pauseledger forget`` and ``pauseledger personal rewrap``: the end of personal data, and the care of its keys."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from consumers.cli.options import AsJson, IndexUrl, LogUrl, print_json, say
from consumers.personal.forgetting import forget as forget_one
from consumers.personal.opening import key_store
from consumers.personal.wrapping import read_store_key
from consumers.publishing import IndexCourt
from consumers.settings import PREFIX, Settings
from ledger.errors import WrongUsage
from ledger.publisher import Publisher

_NEW = f"{PREFIX}PERSONAL_NEW_STORE_KEY"

personal_app = typer.Typer(help="The key store of personal data.", no_args_is_help=True)

DataSubject = Annotated[
    str, typer.Argument(metavar="DATA-SUBJECT", help="Who is to be forgotten, as the marking names them.")
]


def forget(
    data_subject: DataSubject,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays on the log: name nobody in it.")],
    by: Annotated[
        str | None, typer.Option("--by", metavar="PRINCIPAL", help="Who has it done. Else this account, user:NAME.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.0, help="Seconds to wait for the notes.")] = 30.0,
    as_json: AsJson = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """Destroy the key of a data subject: nobody reads again what was sealed under it. The log keeps a note of that."""
    settings = Settings.read(log, index)

    def open_publisher() -> Publisher:
        ledger = settings.open(create=False)
        return Publisher(lambda: IndexCourt(ledger.log, ledger.indexer), deadline_seconds=timeout)

    store = key_store(settings)
    try:
        done = forget_one(store, open_publisher, data_subject, by=_account() if by is None else by, reason=reason)
    finally:
        store.close()
    content = done.as_dict()
    if as_json:
        print_json(content)
        return
    say(f"The key {content['key']} was destroyed at {content['destroyed_at']} by {content['by']}.")
    say(f"Notes added now: {done.told:,}.")
    for name in done.elsewhere:
        say(f"It was used on {name}, too: run this with --log there, for the notes.")


def _account() -> str:
    """Who runs this, by the machine's word."""
    try:
        return f"user:{getpass.getuser()}"
    except (ImportError, KeyError, OSError):
        raise WrongUsage(
            "This machine has no name for who runs this.", "Say who has it done: --by PRINCIPAL."
        ) from None


@personal_app.command("rewrap")
def rewrap(
    plain: Annotated[bool, typer.Option("--plain", help="Wrap by none any more: a key store in a file only.")] = False,
    as_json: AsJson = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """Wrap all keys by PAUSELEDGER_PERSONAL_NEW_STORE_KEY instead of PAUSELEDGER_PERSONAL_STORE_KEY.

    Older backups of the key store open nothing any more, once the former store key is destroyed.
    """
    settings = Settings.read(log, index)
    new = read_store_key(settings.personal_new_store_key.get_secret_value(), _NEW)
    if (new is None) is not plain:
        raise WrongUsage(f"Either {_NEW} is set, or --plain is given.", "Decide for one of them.")
    if plain and not settings.personal_keys.startswith("sqlite:"):
        raise WrongUsage("A key store in PostgreSQL must stay wrapped.", f"Set {_NEW}.")
    store = key_store(settings)
    try:
        count = store.rewrap(new)
    finally:
        store.close()
    if as_json:
        print_json({"keys": count})
    else:
        say(f"Wrapped {count:,} keys anew. Now set PAUSELEDGER_PERSONAL_STORE_KEY to the new store key.")
