"""A watcher as a process of its own, that is there to be killed: ``python -m tests.faults.watching_process``.

It takes its ledger and its targets from the environment, and all partitions.
"""

from __future__ import annotations

from consumers.alerts import delivery
from consumers.settings import Settings
from consumers.watcher import open_job
from ledger.errors import DiskFailed, Fenced, LogUnavailable


def main() -> None:
    """Step for ever; what may pass by itself is tried again, as the fleet's runner does."""
    delivery.CLAIM_SECONDS = 3.0  # what a killed one had begun is made again while the test waits for it
    job = open_job(Settings.read())
    job.take(set(range(job._ledger.log.partitions)))
    print("watching", flush=True)
    while True:
        try:
            job.step()
        except (LogUnavailable, DiskFailed, Fenced) as error:
            print(error, flush=True)


if __name__ == "__main__":
    main()
