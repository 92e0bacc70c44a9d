"""Figures: what a long ledger costs more than a short one: the time of a decision, the memory of the indexer."""

from __future__ import annotations

import gc
import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

from bench.ledgers import filled, folder, indexed, now, opened
from bench.peak import peak_memory_mib
from bench.publishing import command
from bench.rounds import GC_THRESHOLDS, Figure, in_turns, say, seconds
from bench.sizes import Sizes
from bench.workload import ACTIVE_ITEMS, Workload
from projections.decisions import as_of_now, decisions


def _decide(path: Path, subjects: list[str]) -> None:
    """As ``pauseledger decision`` does, anew for each subject."""
    for subject in subjects:
        ledger = opened(path)
        try:
            ledger.indexer.catch_up_partition(0)
            item = ledger.index.work_item(subject)
            if item is not None:
                decisions(item, as_of_now(item, now()))
        finally:
            ledger.close()


class _Ledger:
    """An indexed embedded ledger, and the work items that one can ask for."""

    def __init__(self, place: Path, entries: int) -> None:
        self.path = place / f"ledger-{entries}.db"
        self._chance = random.Random(entries)
        say(f"  decision: making a ledger of {entries} entries")
        self._subjects = self._known(filled(self.path, entries, active=min(ACTIVE_ITEMS, max(1, entries // 40))))
        indexed(self.path)

    def _known(self, workload: Workload) -> list[str]:
        """Those that were born early enough to have lived: about as many entries each, however long the ledger is."""
        return workload.subjects[: max(1, len(workload.subjects) // 2)]

    def drawn(self, count: int) -> list[str]:
        return self._chance.choices(self._subjects, k=count)

    def in_process(self, count: int) -> float:
        subjects = self.drawn(count)
        return seconds(lambda: _decide(self.path, subjects)) / count

    def by_command(self, count: int) -> float:
        folder = self.path.parent
        return sum(command(folder, self.path, "decision", one, "--json") for one in self.drawn(count)) / count


def decision(sizes: Sizes) -> list[Figure]:
    figures = []
    with folder() as place:
        small, large = _Ledger(place, sizes.small_ledger), _Ledger(place, sizes.large_ledger)
        for name, how, ask, count in (
            (
                "decision",
                "ledger opened, work item rebuilt, decided, in this process",
                _Ledger.in_process,
                sizes.decisions,
            ),
            (
                "decision-command",
                "pauseledger decision, the whole process",
                _Ledger.by_command,
                sizes.decision_commands,
            ),
        ):
            ours, theirs = in_turns(
                name,
                lambda ask=ask, count=count: ask(large, count),  # type: ignore[misc]
                lambda ask=ask, count=count: ask(small, count),  # type: ignore[misc]
                sizes.rounds,
            )
            figures.append(
                Figure(
                    name=name,
                    title=f"One decision ({'whole process' if name == 'decision-command' else 'in process'})",
                    unit="ms",
                    ours=f"{how}; {sizes.large_ledger} entries",
                    theirs=f"the same; {sizes.small_ledger} entries",
                    target=1.5,
                    at_least=False,
                    ours_each=[1_000 * one for one in ours],
                    theirs_each=[1_000 * one for one in theirs],
                    notes={"decisions_a_round": count},
                )
            )
    return figures


def index_and_tell(log: Path, index: Path) -> None:
    """What the process that is measured does."""
    gc.set_threshold(*GC_THRESHOLDS)
    ledger = opened(log, index)
    ledger.indexer.catch_up()
    ledger.close()
    print(peak_memory_mib())


def _peak_of_indexer(log: Path, index: Path) -> float:
    code = "import sys; from pathlib import Path; from bench.scaling import index_and_tell as run; "
    code += "run(Path(sys.argv[1]), Path(sys.argv[2]))"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", code, str(log), str(index)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    for path in index.parent.glob(f"{index.name}*"):
        path.unlink()
    return float(done.stdout)


def memory(sizes: Sizes) -> list[Figure]:
    with folder() as place:
        small, large = place / "small.db", place / "large.db"
        say(f"  memory: making ledgers of {sizes.memory_small} and {sizes.memory_large} entries")
        filled(small, sizes.memory_small)
        filled(large, sizes.memory_large)
        names = (place / f"index-{number}.db" for number in itertools.count())
        ours, theirs = in_turns(
            "memory",
            lambda: _peak_of_indexer(large, next(names)),
            lambda: _peak_of_indexer(small, next(names)),
            sizes.rounds,
            warm_up=False,
            unit="MiB",
        )
    return [
        Figure(
            name="memory",
            title="Peak memory of the indexer",
            unit="MiB",
            ours=f"{sizes.memory_large} entries, a process of its own",
            theirs=f"{sizes.memory_small} entries",
            target=1.2,
            at_least=False,
            ours_each=ours,
            theirs_each=theirs,
        )
    ]
