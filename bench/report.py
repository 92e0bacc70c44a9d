"""From figures to what people read: ``bench.json``, ``bench.svg`` and ``benchmarks.md`` in ``docs``, all of one run."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.indexing import broker_version
from bench.rounds import GC_THRESHOLDS, Figure, Reported

LIBRARIES = (
    "pauseledger",
    "crc32c",
    "eventsourcing",
    "kafka-python",
    "confluent-kafka",
    "psycopg",
    "orjson",
    "pydantic",
    "rfc8785",
    "fastapi",
)
_COLOURS = {True: "#2a7f62", False: "#b5482a"}


def machine() -> dict[str, Any]:
    """What it ran on; no names."""
    return {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "kafka_broker": broker_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "gc_thresholds": list(GC_THRESHOLDS),
    }


def as_dict(figures: Sequence[Figure | Reported], seconds: float) -> dict[str, Any]:
    """A whole run."""
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "seconds": round(seconds, 1),
        "machine": machine(),
        "figures": [figure.as_dict() for figure in figures],
    }


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _row(figure: dict[str, Any]) -> str:
    (bound, target), unit = next(iter(figure["target"].items())), figure["unit"]
    wanted = f"{'≥' if bound == 'at_least' else '≤'} {target:g}"
    what = f"**{figure['title']}**: {figure['ours']['what']}; against {figure['theirs']['what']}"
    if "skipped" in figure:
        return f"| {what} | | | | {wanted} | not measured: {figure['skipped']} |"
    ratio = figure["ratio"]
    return (
        f"| {what} | {_amount(figure['ours']['median'], unit)} | {_amount(figure['theirs']['median'], unit)} "
        f"| **{ratio['of_medians']:.3g}** ({ratio['min']:.3g} to {ratio['max']:.3g}) | {wanted} "
        f"| {'met' if figure['met'] else '**not met**'} |"
    )


def _told(one: dict[str, Any]) -> str:
    if "skipped" in one:
        return f"| **{one['title']}** | not measured: {one['skipped']} |"
    values = "<br>".join(f"{each['what']}: {_amount(each['value'], each['unit'])}" for each in one["reported"])
    return f"| **{one['title']}** | {values} |"


def page(run: dict[str, Any]) -> str:
    """The text of ``docs/benchmarks.md``."""
    found = run["machine"]
    figures = [one for one in run["figures"] if "reported" not in one]
    rounds = max((len(one["ours"].get("each", ())) for one in figures), default=0)
    libraries = ", ".join(f"{name} {number}" for name, number in found["libraries"].items())
    rows = "\n".join(_row(one) for one in figures)
    told = "\n".join(_told(one) for one in run["figures"] if "reported" in one)
    return f"""# Benchmarks

Written by `make bench`, all of one run ({run["taken"]}, {run["seconds"]:.0f} s).
The numbers behind it: [bench.json](bench.json).

A rate alone says little of another machine, so each figure is a ratio to the bare library or to a smaller ledger,
both measured in turns (A B A B …) in the same run: the ratio of the medians of {rounds} rounds, and beside it the
smallest and the largest ratio of a round.

| what | ours | against | ratio (min to max) | target | |
| --- | --- | --- | --- | --- | --- |
{rows}

Measured in the same run, without a target:

| what | |
| --- | --- |
{told}

![How far each figure is from its target](bench.svg)

In the picture 1 is the target; what is longer is better, whichever way the target goes.

- Machine: {found["cpus"]} CPUs ({found["architecture"]}), {found["system"]}, Python {found["python"]},
  SQLite {found["sqlite"]}, Apache Kafka {found["kafka_broker"]} with one broker on the same machine.
- Libraries: {libraries}.
- Entries: lives of work items as `bench/workload.py` makes them, of some 400 bytes and 20 a work item: claims,
  pauses, heartbeats, reviews, grants, attempts and observations, with refusals, resends and malformed entries among
  them. The same seed gives the same entries.
- Garbage collection: thresholds {tuple(found["gc_thresholds"])}, as the command line sets them, for both sides of
  every ratio.
"""


def _drawn(run: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "bench", "font.size": 10})
    from matplotlib import pyplot

    shown = [one for one in run["figures"] if "ratio" in one][::-1]
    picture, axes = pyplot.subplots(figsize=(9, 0.55 * len(shown) + 1.2))
    for at, one in enumerate(shown):
        (bound, target), ratio = next(iter(one["target"].items())), one["ratio"]
        ends = [ratio[name] / target for name in ("of_medians", "min", "max")]
        middle, *others = ends if bound == "at_least" else [1 / end for end in ends]
        low, high = min(middle, *others), max(middle, *others)
        axes.barh(at, middle, color=_COLOURS[one["met"]], height=0.6)
        axes.errorbar(middle, at, xerr=[[middle - low], [high - middle]], color="#333333", capsize=3, linewidth=1)
        axes.annotate(f"{ratio['of_medians']:.3g}", (high, at), xytext=(6, -4), textcoords="offset points")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color="#333333", linewidth=1, linestyle="--")
    names = [
        f"{one['title']} ({'≥' if 'at_least' in one['target'] else '≤'} {next(iter(one['target'].values())):g})"
        for one in shown
    ]
    axes.set_yticks(range(len(shown)), names)
    axes.set_xlabel("times the target (1 = met)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    picture.tight_layout()
    picture.savefig(path, metadata={"Date": None})
    pyplot.close(picture)


def write(run: dict[str, Any], folder: Path) -> None:
    """All three files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "benchmarks.md").write_text(page(run), encoding="utf-8")
    _drawn(run, folder / "bench.svg")
