"""Figure: the fold, from raw bytes to verdict, against reading the same bytes as events and nothing else."""

from __future__ import annotations

from collections import Counter

from pydantic import ValidationError

from bench.rounds import Figure, in_turns, rates, seconds
from bench.sizes import Sizes
from bench.workload import Workload, records
from ledger.events import EVENTS
from ledger.fold import Replay


def fold(sizes: Sizes) -> list[Figure]:
    entries = records(Workload(), sizes.fold)
    values = [record.value or b"" for record in entries]
    read = EVENTS.validate_json

    def judged() -> float:
        return seconds(lambda: Replay(1).take_all(entries))

    def only_read() -> float:
        def run() -> None:
            for value in values:
                try:  # noqa: SIM105  # a context manager would be measured with it
                    read(value)
                except ValidationError:
                    pass

        return seconds(run)

    ours, theirs = in_turns("fold", judged, only_read, sizes.rounds)
    return [
        Figure(
            name="fold",
            title="Fold: raw bytes to verdict",
            unit="entries/s",
            ours="ledger.fold.Replay.take_all",
            theirs="ledger.events.EVENTS.validate_json alone",
            target=0.35,
            at_least=True,
            ours_each=rates(ours, len(entries)),
            theirs_each=rates(theirs, len(entries)),
            notes={
                "entries": len(entries),
                "bytes_an_entry": round(sum(map(len, values)) / len(values)),
                "verdicts": dict(Counter(one.code for one in Replay(1).take_all(entries)).most_common()),
            },
        )
    ]
