"""``pauseledger``: the command line (protocol, section 9)."""

from __future__ import annotations

import gc
from importlib.metadata import version
from typing import Annotated

gc.set_threshold(250_000, 20, 100)  # what a ledger holds has no cycles, nor has what is imported from here on

import typer  # noqa: E402

from consumers.cli import (  # noqa: E402
    chores,
    doctor,
    evidence,
    export,
    listings,
    personal,
    publish,
    queries,
    run,
    serve,
    verify,
)
from consumers.cli.alerts import alerts_app  # noqa: E402
from consumers.cli.ending import run_to_end  # noqa: E402
from consumers.cli.keys import keys_app  # noqa: E402
from consumers.cli.options import say  # noqa: E402

app = typer.Typer(
    name="pauseledger",
    help="The audit ledger that decides whether a paused AI agent may go on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
topic_app = typer.Typer(help="The Kafka topic of a ledger.", no_args_is_help=True)
app.add_typer(topic_app, name="topic")
app.add_typer(alerts_app, name="alerts")
token_app = typer.Typer(help="Who may use the HTTP API.", no_args_is_help=True)
app.add_typer(token_app, name="token")
app.add_typer(keys_app, name="keys")
app.add_typer(evidence.prove_app, name="prove")
app.add_typer(personal.personal_app, name="personal")


def _print_version(wanted: bool) -> None:
    if wanted:
        say(version("pauseledger"))
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The audit ledger that decides whether a paused AI agent may go on."""


app.command("publish")(publish.publish)
app.command("decision")(queries.decision)
app.command("packet")(queries.packet)
app.command("trail")(queries.trail)
app.command("inbox")(listings.inbox)
app.command("debts")(listings.debts)
app.command("deadlines")(listings.deadlines)
app.command("owners")(listings.owners)
app.command("checkpoint")(evidence.checkpoint)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.command("forget")(personal.forget)
app.command("rebuild")(chores.rebuild)
app.command("table")(chores.table)
app.command("demo")(chores.demo)
app.command("doctor")(doctor.doctor)
app.command("run")(run.run)
app.command("serve")(serve.serve)
token_app.command("new")(serve.token_new)
topic_app.command("create")(chores.topic_create)


def main() -> None:
    """Run a command; errors that the caller must fix are one line on stderr, with their exit code."""
    run_to_end(app)
