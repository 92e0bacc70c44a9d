"""``python -m bench``: measure, then write ``docs/bench.json``, ``docs/bench.svg`` and ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import report
from bench.databases import databases
from bench.evidence_tree import evidence_tree
from bench.exporting import export_and_verify
from bench.folding import fold
from bench.following import following
from bench.indexing import kafka_index
from bench.latency import latency
from bench.publishing import publish_file, publish_one
from bench.replaying import replay
from bench.rounds import GC_THRESHOLDS, Figure, Reported, say
from bench.runtimes import langgraph
from bench.scaling import decision, memory
from bench.serving import reads
from bench.sizes import FULL, SMALL, Sizes

Measured = Sequence[Figure | Reported]
MEASUREMENTS: dict[str, Callable[[Sizes], Measured]] = {
    "fold": fold,
    "kafka-index": kafka_index,
    "publish-file": publish_file,
    "publish-one": publish_one,
    "replay": replay,
    "decision": decision,
    "memory": memory,
    "http-reads": reads,
    "latency": latency,
    "databases": databases,
    "following": following,
    "langgraph": langgraph,
    "evidence-export": export_and_verify,
    "evidence-tree": evidence_tree,
}


def measured(names: Sequence[str], sizes: Sizes) -> list[Figure | Reported]:
    """The figures of these measurements."""
    figures: list[Figure | Reported] = []
    for name in names:
        say(name)
        gc.collect()
        figures += MEASUREMENTS[name](sizes)
    return figures


def main() -> None:
    """All of it into ``docs``; a part of it, or small, only onto stdout, since a page shows one whole run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=MEASUREMENTS, action="append", help="measure this (may be repeated)")
    parser.add_argument("--small", action="store_true", help="tiny sizes and one round: does it run at all?")
    parser.add_argument("--out", type=Path, help="the folder to write to; docs where everything is measured in full")
    given = parser.parse_args()
    gc.set_threshold(*GC_THRESHOLDS)
    started = time.perf_counter()
    figures = measured(given.only or list(MEASUREMENTS), SMALL if given.small else FULL)
    run = report.as_dict(figures, time.perf_counter() - started)
    whole = not given.small and given.only is None
    folder = given.out or (Path("docs") if whole else None)
    if folder is None:
        print(json.dumps(run, indent=1, ensure_ascii=False))
        return
    report.write(run, folder)
    print(report.page(run))


if __name__ == "__main__":
    main()
