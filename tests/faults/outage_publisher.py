"""A program of its own that publishes facts, to be killed: ``python -m tests.faults.outage_publisher LOG OUTBOX N``.

It prints a line for each answer, ``unknown`` or ``recorded``, and then waits to be killed.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from consumers.publishing import open_publisher
from tests.faults.lines import note


def main() -> None:
    """Publish so many notes with a deadline of two seconds."""
    log_url, outbox, count = sys.argv[1:]
    index = Path(outbox).with_suffix(".db")
    publisher = open_publisher(log_url, index_url=f"sqlite:///{index}", outbox=outbox, deadline_seconds=2.0)
    answers = [publisher.submit(note(number)) for number in range(int(count))]
    for answer in answers:
        print(answer.result().verdict, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
