"""A desk's round: what is answered is told, whatever comes behind it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from consumers.api.desk import Desk
from consumers.settings import Ledger
from ledger.errors import UnusableLog, WrongUsage
from tests.consumers.api.conftest import settings_in


def test_a_slow_question_holds_up_none_before_it(tmp_path: Path) -> None:
    """Of three questions of one round the first is answered while the second is still being answered."""
    desk = Desk(settings_in(tmp_path), "desk", tells_each=True)
    begin, end = threading.Event(), threading.Event()

    async def asked() -> None:
        wait = asyncio.ensure_future(desk.ask(lambda _: begin.wait(10.0), seconds=10.0))
        await asyncio.sleep(0.5)  # the desk is busy with it: those that follow are one round
        first = asyncio.ensure_future(desk.ask(lambda _: 1, seconds=10.0))
        slow = asyncio.ensure_future(desk.ask(lambda _: end.wait(10.0), seconds=10.0))
        await asyncio.sleep(0)
        begin.set()
        assert await wait
        assert await asyncio.wait_for(first, 5.0) == 1
        assert not slow.done()
        end.set()
        assert await slow

    try:
        asyncio.run(asked())
    finally:
        end.set()
        desk.close()


def test_settings_that_are_wrong_are_not_the_callers_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that can't be opened as it is named is an error of the server, whose log names the file."""

    def wrong(*_: object, **__: object) -> Ledger:
        raise WrongUsage("There is no file ledger.db.", "Make it.")

    monkeypatch.setattr("consumers.settings.Settings.open", wrong)
    desk = Desk(settings_in(tmp_path), "desk")
    try:
        with pytest.raises(UnusableLog, match=r"ledger\.db"):
            asyncio.run(desk.ask(lambda _: 1, seconds=10.0))
    finally:
        desk.close()
