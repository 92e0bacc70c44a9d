"""``pauseledger rebuild``, ``topic create``, ``table`` and ``demo``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from consumers.cli.options import AsJson, IndexUrl, LogUrl, console, counting, print_json, say
from consumers.cli.words import counted
from consumers.settings import Settings
from ledger import branch_table
from ledger.errors import WrongUsage
from ledger.logs.address import KafkaAddress, log_address

DEMO_LOG = "sqlite:///pauseledger-demo.db"


def rebuild(as_json: AsJson = False, log: LogUrl = None, index: IndexUrl = None) -> None:
    """Drop the index and replay the log. The log itself is only read."""
    began = time.monotonic()
    ledger = Settings.read(log, index).open(start_over=True)
    try:
        with counting("entries replayed", ledger.indexer.entries_ahead()) as count_on:
            count = ledger.indexer.catch_up(count_on)
    finally:
        ledger.close()
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        print_json({"entries": count, "seconds": seconds})
    else:
        say(f"Replayed {count:,} entries in {seconds} s.")


def topic_create(
    partitions: Annotated[int, typer.Option("--partitions", min=1, help="Fixed for the ledger's life.")] = 6,
    durable: Annotated[
        bool, typer.Option("--durable", help="Survive a power cut of all brokers: 3 replicas, each record flushed.")
    ] = False,
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Where the topic is there already it is left as it is.")
    ] = False,
    as_json: AsJson = False,
    log: LogUrl = None,
) -> None:
    """Make the Kafka topic of the ledger, with the settings that a ledger needs."""
    chosen = Settings.read(log)
    address = log_address(chosen.log_url)
    if not isinstance(address, KafkaAddress):
        raise WrongUsage("The embedded log has no topic.", "Set PAUSELEDGER_LOG to kafka://HOST:PORT/TOPIC.")
    from ledger.logs.topic import TopicExists, create_topic, describe_topic, refuse_unusable

    servers, security = ",".join(address.servers), chosen.kafka_security
    try:
        settings = create_topic(servers, address.topic, partitions=partitions, durable=durable, security=security)
        done = "Made the topic"
    except TopicExists:
        if not if_missing:
            raise
        found = describe_topic(servers, address.topic, security=security)
        refuse_unusable(address.topic, found.settings)
        partitions, settings, done = found.partitions, dict(found.settings), "Found the topic"
    if as_json:
        content = {"topic": address.topic, "partitions": partitions, "settings": settings}
        print_json(content)
        return
    from consumers.cli import show

    out = console()
    out.print(f"{done} {address.topic} with {counted(partitions, 'partition')}.")
    out.print(show.pairs(sorted(settings.items())))


def table(as_json: AsJson = False) -> None:
    """Print the branch table that decides."""
    if as_json:
        rows = [row._asdict() for row in branch_table.TABLE]
        content = {"version": branch_table.VERSION, "digest": branch_table.DIGEST, "rows": rows}
        print_json(content)
    else:
        from consumers.cli import show

        show.branch_table(console(), branch_table.TABLE, branch_table.VERSION, branch_table.DIGEST)


def demo(as_json: AsJson = False, log: LogUrl = None, index: IndexUrl = None) -> None:
    """Run a day of pauses, an hour a second: publish, replay, decide, and travel back to 12:00.

    Without --log it writes pauseledger-demo.db in this folder, whatever PAUSELEDGER_LOG says: a demo has no place on
    a ledger that counts.
    """
    from consumers.demo.run import run_demo

    settings = Settings.read(log or DEMO_LOG, index or (None if log else DEMO_LOG))
    raise typer.Exit(run_demo(settings, console(stderr=as_json), as_json=as_json))
