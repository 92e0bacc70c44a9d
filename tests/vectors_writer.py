"""Write ``docs/vectors`` from its stories: ``python -m tests.vectors_writer``; with ``--check`` say what is stale.

What a story expects is written by hand, from ``docs/protocol.md``. Before anything is written it is compared with what
the code concludes; a difference is a bug, in the story or in the code, and nothing is written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.stories import actions, grants, ownership, pauses, settling, wire
from tests.stories.story import Story
from tests.vectors import vectors_of, wrong_decisions, wrong_verdicts

FOLDER = Path(__file__).parent.parent / "docs" / "vectors"
STORIES: tuple[Callable[[], Story], ...] = (
    *pauses.STORIES,
    *ownership.STORIES,
    *grants.STORIES,
    *settling.STORIES,
    *actions.STORIES,
    *wire.STORIES,
)


def files() -> dict[str, str]:
    """The name and the text of every file, as the stories tell them."""
    told = [tell() for tell in STORIES]
    return {
        f"{number:02}-{story.name}.json": json.dumps(story.as_dict(), ensure_ascii=False, indent=1) + "\n"
        for number, story in enumerate(told, start=1)
    }


def faults(text: str) -> list[str]:
    """Where the code concludes something else than a file says."""
    vectors = vectors_of(json.loads(text))
    return wrong_verdicts(vectors) + wrong_decisions(vectors)


def stale(written: dict[str, str]) -> list[str]:
    """Which files in the folder are not as the stories tell them."""
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    return sorted(name for name in there | written if there.get(name) != written.get(name))


def main(arguments: list[str]) -> int:
    """Compare, then write or check; 1 where something differs."""
    told = files()
    found = [f"{name}: {fault}" for name, text in told.items() for fault in faults(text)]
    if not found and arguments == ["--check"]:
        found = [f"{name} is stale: run python -m tests.vectors_writer" for name in stale(told)]
    elif not found:
        for name in stale(told):
            path = FOLDER / name
            path.write_text(told[name], encoding="utf-8") if name in told else path.unlink()
    print("\n".join(found) if found else f"{len(told)} stories hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
