"""``pauseledger alerts`` and ``alerts replay``: who was told of which deadline, and telling again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from consumers.alerts.store import AlertStore, Delivery, Told
from consumers.cli.listings import Owner
from consumers.cli.options import AsJson, IndexUrl, LogUrl, console, print_json, say
from consumers.cli.queries import caught_up
from consumers.settings import Settings
from ledger.errors import NotFound, WrongUsage
from ledger.logs.address import KafkaAddress, log_address
from ledger.times import format_instant, from_milliseconds, to_milliseconds
from projections.listing import work_items
from projections.undecided import WITH_UNDECIDED, undecided_of

alerts_app = typer.Typer(help="The deadlines that passed, and who was told of them.", add_completion=False)


@contextmanager
def _kept(log: str | None, index: str | None) -> Iterator[AlertStore]:
    """What is kept of alerts, without asking a broker; of an embedded ledger that isn't there, nothing is made."""
    settings = Settings.read(log, index)
    if not isinstance(log_address(settings.log_url), KafkaAddress):
        settings.open_log().close()
    opened = settings.open_index()
    try:
        yield AlertStore(opened)
    finally:
        opened.close()


@alerts_app.callback(invoke_without_command=True)
def alerts(
    context: typer.Context,
    owner: Owner = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only those with a dead letter.")] = False,
    undecided: Annotated[
        bool, typer.Option("--undecided", help="The pauses that expired and that nobody ever decided, instead.")
    ] = False,
    as_json: AsJson = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """List the alerts that the watcher noticed, newest first, and how far each is delivered."""
    if context.invoked_subcommand is not None:
        if owner or dead or undecided or as_json or log or index:
            raise WrongUsage("Options of a command come after its name.", "Such as: pauseledger alerts replay --json")
        return
    if undecided:
        if dead:
            raise WrongUsage("--dead and --undecided list different things.", "Give one of them.")
        _list(_undecided(owner, log, index), as_json, "Nothing on this ledger expired undecided.", "undecided")
        return
    with _kept(log, index) as store:
        rows = [_row(told) for told in store.told(owner=owner, dead=dead)]
    empty = "No alert has a dead letter." if dead else "No alert was noticed on this ledger: does a watcher run?"
    _list(rows, as_json, empty, "alerts")


def _undecided(owner: str | None, log: str | None, index: str | None) -> list[dict[str, Any]]:
    with caught_up(log, index, None) as ledger:
        items = work_items(ledger.index, WITH_UNDECIDED, now=datetime.now(UTC))
        found = [one for item, as_of in items for one in undecided_of(item, as_of)]
    return [one._asdict() for one in sorted(found, key=lambda one: one.since) if owner in (None, one.owner)]


def _list(rows: list[dict[str, Any]], as_json: bool, empty: str, table: str) -> None:
    if as_json:
        print_json(rows)
        return
    from consumers.cli import show

    show.listing(console(), table, rows, empty)


def _row(told: Told) -> dict[str, Any]:
    alert = told.alert
    return {
        "id": alert.id,
        "kind": alert.kind,
        "subject": alert.subject,
        "execution": alert.execution,
        "pause": alert.pause,
        "owner": alert.owner,
        "deadline": alert.deadline,
        "noticed_at": _time(told.noticed_at),
        "told": _summary(told.deliveries),
        "deliveries": [_delivery(one) for one in told.deliveries],
    }


def _summary(deliveries: Any) -> str:
    """The worst that can be said of its deliveries."""
    states = {one.state for one in deliveries}
    return next((state for state in ("dead", "waiting", "delivered") if state in states), "nobody")


def _delivery(one: Delivery) -> dict[str, Any]:
    times = {"next_attempt": _time(one.next_attempt), "delivered_at": _time(one.delivered_at)}
    return {"target": one.target, "state": one.state, "attempts": one.attempts, **times, "said": one.said}


def _time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else format_instant(from_milliseconds(milliseconds))


@alerts_app.command("replay")
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Alerts with dead letters.")] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="Every dead letter there is.")] = False,
    as_json: AsJson = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """Put dead letters back in the queue, as if they had never been tried. The watcher then sends them."""
    if bool(ids) == all_dead:
        raise WrongUsage("Say what to replay.", "Give the ids of alerts, or --all-dead.")
    now = to_milliseconds(datetime.now(UTC))
    with _kept(log, index) as store:
        unknown = [one for one in ids or () if not store.knows(one)]
        if unknown:
            raise NotFound(f"There is no alert {unknown[0]}.", "See: pauseledger alerts --dead")
        count = sum(store.replay(one, now) for one in ([None] if all_dead else list(dict.fromkeys(ids or ()))))
    if as_json:
        print_json({"replayed": count})
    else:
        say(f"Put {count:,} dead letters back in the queue." if count else "There was no dead letter to replay.")
