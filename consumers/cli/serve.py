"""``pauseledger serve`` and ``token new``: the HTTP API, and who may use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consumers.cli.options import AsJson, IndexUrl, LogUrl, copy_out, print_json, say
from consumers.settings import Settings
from ledger.errors import WrongUsage

_MISSING = WrongUsage("The HTTP API needs FastAPI, uvicorn and PyJWT.", "pip install 'pauseledger[api]'")


def serve(
    host: Annotated[str | None, typer.Option("--host", help="Else PAUSELEDGER_API_HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Else PAUSELEDGER_API_PORT, else 8750; 0: any.")] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="A line a request, on stderr.")] = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """Serve the HTTP API until SIGTERM or SIGINT. Without authentication it binds 127.0.0.1 only."""
    try:
        from consumers.api.serving import serve as run
    except ModuleNotFoundError as error:
        raise _MISSING from error
    settings = Settings.read(log, index, api_host=host, api_port=port)
    run(settings, access_log=access_log)


def token_new(
    actor: Annotated[str, typer.Option("--actor", metavar="NAME", help="Who it is: user:…, role:…, service:….")],
    scope: Annotated[list[str], typer.Option("--scope", help="publish, read, review or admin. May be repeated.")],
    role: Annotated[list[str] | None, typer.Option("--role", help="A role that the actor holds. Repeatable.")] = None,
    prefix: Annotated[list[str] | None, typer.Option("--prefix", help="Only work items that start so.")] = None,
    route: Annotated[list[str] | None, typer.Option("--route", help="Only work items of this route.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="The tokens file to add it to. Else PAUSELEDGER_API_TOKENS, else none."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, print it once, and add its hash to the tokens file, or print the entry where there is none."""
    from consumers.api.tokens import add_token, new_token

    token, entry = new_token(
        actor=actor,
        scopes=tuple(scope),
        roles=tuple(role or ()),
        prefixes=tuple(prefix or ()),
        routes=tuple(route or ()),
    )
    path = file or Settings.read().api_tokens
    if path is not None:
        add_token(path, entry)
    content = entry.model_dump(mode="json")
    if as_json:
        print_json({"token": token, "entry": content, "file": None if path is None else str(path)})
        return
    say(token)
    if path is None:
        say("Put this into the list in the tokens file; the token itself is not shown again:", err=True)
        copy_out(f"{entry.model_dump_json()}\n", err=True)
    else:
        say(f"Its hash is in {path}. The token itself is not shown again.", err=True)
