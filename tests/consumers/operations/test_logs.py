"""Log lines: JSON for machines, text for people, and not the same line over and over."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from consumers.operations.logs import Seldom

PROGRAM = """
import logging
import structlog
from consumers.operations.logs import set_up_logs
set_up_logs({format!r}, {level!r})
log = structlog.get_logger("consumers.one").bind(job="indexer")
log.debug("finer")
log.info("entry", partition=1, offset=7, odd=object)
log.warning("graver")
for n in range(50):
    logging.getLogger("kafka.conn").warning("no connection %d", n)
logging.getLogger("kafka.conn").info("never said")
try:
    1 / 0
except ZeroDivisionError as error:
    log.error("a fault", exc_info=error)
"""


def said(format_name: str, level: str) -> list[str]:
    """What such a program writes to stderr."""
    command = [sys.executable, "-c", PROGRAM.format(format=format_name, level=level)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_each_line_is_one_json_object() -> None:
    """With the coordinates of the entry, also a traceback, also what a library says: that once."""
    lines = [json.loads(line) for line in said("auto", "info")]
    assert [line["event"] for line in lines] == ["entry", "graver", "no connection 0", "a fault"]
    assert [line["level"] for line in lines] == ["info", "warning", "warning", "error"]
    assert {name: lines[0][name] for name in ("job", "partition", "offset")} == {
        "job": "indexer",
        "partition": 1,
        "offset": 7,
    }
    assert "ZeroDivisionError" in lines[3]["exception"]
    assert lines[2]["logger"] == "kafka.conn"
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_the_least_level_is_kept() -> None:
    """Finer lines come only when they are asked for, and are left out as told."""
    assert json.loads(said("json", "debug")[0])["event"] == "finer"
    assert [json.loads(line)["event"] for line in said("json", "error")][-1] == "a fault"
    assert "entry" not in [json.loads(line)["event"] for line in said("json", "warning")]


def test_text_is_for_people() -> None:
    """Text has the same words, and is no JSON."""
    text = "\n".join(said("text", "info"))
    assert "entry" in text
    assert "indexer" in text
    assert not text.startswith("{")


def test_seldom_counts_what_it_holds_back() -> None:
    """A key is said at once and again after a while, with how often it was held back; keys don't fill the memory."""
    now = [100.0]
    seldom = Seldom(30.0, clock=lambda: now[0])
    assert [seldom.may_say("a"), seldom.may_say("a"), seldom.may_say("b"), seldom.may_say("a")] == [0, None, 0, None]
    now[0] += 30.0
    assert [seldom.may_say("a"), seldom.may_say("a")] == [2, None]
    for number in range(5_000):
        seldom.may_say(number)
    assert len(seldom._said) <= 1_000


HOSTILE = """
import structlog
from consumers.operations.logs import set_up_logs
set_up_logs("text", "info")
text = "x\\n2026-01-01 [info] forged\\x1b[2J\\x9b\\u202e"
log = structlog.get_logger("consumers.one")
log.warning(text, subject=text, several=[text])
try:
    raise ValueError(text)
except ValueError as error:
    log.error("a fault", exc_info=error)
"""


def test_text_that_others_wrote_stays_in_its_line() -> None:
    """On a terminal neither an event nor a value moves the cursor or begins a line; a traceback is set in."""
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE], cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    said = re.sub("\x1b\\[[0-9;]*m", "", done.stderr)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said)
    assert not [one for one in said.splitlines() if one.startswith("2026-01-01 [info] forged")]
    assert "<U+000A>2026-01-01 [info] forged<U+001B>[2J<U+009B><U+202E>" in said.splitlines()[0]
    assert "ValueError" in said
