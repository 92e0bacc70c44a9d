"""A process that runs the job ``decisions`` until it is killed: ``python -m tests.faults.emitter_process``.

Its arguments are the log's address, the index's, and the partitions, separated by commas; it says ``ready`` once it
has opened them, ``fenced`` whenever another took one over, and ``away`` when it lost the broker and opens them anew.
"""

from __future__ import annotations

import sys
import time

from consumers.decisions import open_job
from consumers.settings import Settings
from ledger.errors import Fenced, LogUnavailable


def main() -> None:
    log, index, partitions = sys.argv[1:]
    job = open_job(Settings.read(log, index))
    job.take({int(one) for one in partitions.split(",")})
    said = False
    while True:
        try:
            job.step()
        except Fenced:
            print("fenced", flush=True)
        except LogUnavailable:
            if said:
                print("away", flush=True)
            time.sleep(0.2)
        if not said:
            said = True
            print("ready", flush=True)


if __name__ == "__main__":
    main()
