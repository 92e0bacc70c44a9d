"""Several notaries at once, as threads and as processes: one history, whoever signs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from consumers.evidence.notary import latest
from consumers.settings import Settings
from ledger.evidence.notes import read_checkpoint, read_note
from tests.consumers.evidence.acme import Acme
from tests.faults.command import environment
from tests.faults.waiting import until

ROOT = Path(__file__).parents[2]
NOTARIES, ROUNDS = 3, 12


def test_notaries_that_race_sign_one_history(tmp_path: Path) -> None:
    """While the log grows, three sign what each of them has read: every root is that of the log, and none is lost."""
    acme = Acme(tmp_path)
    failures: list[BaseException] = []

    def sign() -> None:
        try:
            with acme.notary() as notary:
                for _ in range(ROUNDS):
                    acme.append(7)
                    notary.checkpoint(0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=sign) for _ in range(NOTARIES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    acme.look_at_all()
    assert acme.checkpoint().checkpoint.size == 1 + 7 * ROUNDS * NOTARIES
    acme.look_at_all()


def settings_of(acme: Acme) -> dict[str, str]:
    return {
        "PAUSELEDGER_LOG": f"sqlite:///{acme.log_path}",
        "PAUSELEDGER_KEYS": str(acme.keys),
        "PAUSELEDGER_TILES": str(acme.tiles),
        "PAUSELEDGER_NOTARY_ENTRIES": "1",
    }


def test_the_job_signs_until_it_is_killed_or_halts(tmp_path: Path) -> None:
    """As a process: killed it is followed by another, which halts with exit code 1 when the log is another."""
    acme = Acme(tmp_path)
    command = [sys.executable, "-c", "from consumers.cli.app import main; main()", "run", "notary"]
    settings = Settings.read(f"sqlite:///{acme.log_path}", keys=acme.keys, tiles=str(acme.tiles))

    def has_signed(size: int) -> bool:
        found = latest(settings, 0)
        return found is not None and read_checkpoint(read_note(found).text).size == size

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment(**settings_of(acme)), stderr=subprocess.PIPE, text=True
        )

    acme.append(5)
    first = started()
    try:
        until(lambda: has_signed(6), what="a checkpoint")
    finally:
        first.kill()
        first.communicate()
    acme.append(2)
    second = started()
    try:
        until(lambda: has_signed(8), what="the next checkpoint")
        acme.change_log("UPDATE log_records SET value = x'00' WHERE offset = 6")
        acme.append(1)
        _, said = second.communicate(timeout=60)
    finally:
        second.kill()
        second.wait()
    assert second.returncode == 1
    (halted,) = [line for line in map(json.loads, said.splitlines()) if line["event"] == "halted"]
    assert halted["error"] == "LogChanged"
    assert halted["problem"].startswith("Entry 0:6 was signed, and another record lies there now")
    assert halted["advice"].startswith("Nothing is signed.")
    assert has_signed(8)
