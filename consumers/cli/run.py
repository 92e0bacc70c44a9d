"""``pauseledger run JOB…``: the jobs that keep up with the ledger, until they are told to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import IndexUrl, LogUrl
from consumers.jobs import OpenJob
from consumers.settings import Settings
from ledger.errors import WrongUsage

if TYPE_CHECKING:
    from consumers.fleet import Fleet

JOBS: dict[str, str] = {
    "indexer": "consumers.indexing",
    "decisions": "consumers.decisions",
    "watcher": "consumers.watcher",
    "callbacks": "consumers.callbacks",
    "notary": "consumers.evidence.job",
}
"""Each job's module, which has an ``open_job``; it is imported when the job is to run."""

MCP = "mcp"
"""The MCP server: it keeps up with nothing, so it has no partitions."""
_MCP_EXTRA = "pip install 'pauseledger[mcp]'"


def run(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB…", help=f"One or more of: {', '.join([*JOBS, MCP])}.")],
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """Keep up with the ledger until SIGTERM: each job shares the partitions with the other processes that run it.

    Waits for a broker or a database that is away. Halts with exit code 1 where the log is not what it was.
    """
    chosen = opened_by([name for name in jobs if name != MCP])
    settings = Settings.read(log, index)
    from consumers.operations.logs import set_up_logs

    if MCP in jobs and chosen and settings.mcp_transport == "stdio":
        raise WrongUsage(
            "Over stdio the job mcp is for one client, whose stdin and stdout it has: it runs alone.",
            "Set PAUSELEDGER_MCP_TRANSPORT=http, or run the other jobs in another process.",
        )
    set_up_logs(settings.log_format, settings.log_level)
    raise typer.Exit(_run(settings, chosen, with_mcp=MCP in jobs))


def _run(settings: Settings, chosen: Mapping[str, OpenJob], *, with_mcp: bool) -> int:
    beside: list[Callable[[Fleet], Callable[[], None]]] = [_observed] if settings.metrics else []
    if with_mcp:
        try:
            from consumers.mcp import running
        except ImportError as error:
            raise WrongUsage("The MCP server needs mcp, FastAPI and PyJWT.", _MCP_EXTRA) from error
        if not chosen:
            return running.serve_stdio(settings) if settings.mcp_transport == "stdio" else running.serve_http(settings)
        beside.append(running.beside(settings))
    from consumers.fleet import run_fleet

    return run_fleet(settings, chosen, beside)


def _observed(fleet: Fleet) -> Callable[[], None]:
    """Serve metrics and probes of a fleet; gives what ends that."""
    from consumers.operations.measuring import Measuring
    from consumers.operations.probes import Probes

    settings = fleet.settings
    probes = Probes(settings.metrics, fleet.workers, settings.health_seconds)
    measuring = Measuring(settings)
    measuring.start()

    def stop() -> None:
        probes.stop()
        measuring.stop()

    return stop


def opened_by(names: Sequence[str]) -> dict[str, OpenJob]:
    """What opens each of these jobs. Raises ``WrongUsage``."""
    found: dict[str, OpenJob] = {}
    for name in names:
        if name not in JOBS:
            raise WrongUsage(f"There is no job {name!r}.", f"Jobs are: {', '.join([*JOBS, MCP])}.")
        try:
            module = import_module(JOBS[name])
        except ModuleNotFoundError as error:
            if error.name != JOBS[name]:
                raise
            raise WrongUsage(f"The job {name!r} is not in this version.", "Leave it out.") from None
        except ImportError as error:  # its extra
            raise WrongUsage(f"The job {name!r} lacks a package.", f"{error}.") from None
        found[name] = module.open_job
    return found
