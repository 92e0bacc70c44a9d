"""The publisher of a server, and another one after an error has ended it.

A publisher ends for good when its log or its disk fails it in a way that waiting does not mend: right for a command,
whose user sees it at once. A server goes on: it opens another, one try in a few seconds, and is not ready until one
has lived as long as that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ledger.errors import LedgerError
from ledger.publisher import Publisher

OPEN_AGAIN_SECONDS = 3.0
_LOG = logging.getLogger("pauseledger.api")


class Pressroom:
    """Holds the publisher that works now. Thread-safe."""

    def __init__(self, open_one: Callable[[], Publisher]) -> None:
        self._open_one = open_one
        self._lock = threading.Lock()
        self._tried_at = float("-inf")
        self._last_trouble: LedgerError | None = None
        self._closed = False
        self.current = open_one()

    def publisher(self) -> Publisher:
        """The publisher; a new one where an error ended the last, unless one was opened a moment ago."""
        with self._lock:
            trouble = self.current.trouble
            if trouble is not None and not self._closed and time.monotonic() - self._tried_at >= OPEN_AGAIN_SECONDS:
                self._tried_at, self._last_trouble = time.monotonic(), trouble
                _LOG.error("The publisher ended, and another is opened: %s", trouble)
                self._open_another()
            return self.current

    def _open_another(self) -> None:
        try:
            former, self.current = self.current, self._open_one()
        except LedgerError as error:
            _LOG.error("No other publisher can be opened: %s", error)
            return
        # It has answered everybody, or does so by their deadlines: nobody here need wait for that.
        threading.Thread(target=former.close, name="pauseledger-former-publisher", daemon=True).start()

    @property
    def trouble(self) -> LedgerError | None:
        """Why events may not be recorded now: what ended the publisher, until another has lived for a while."""
        found = self.publisher().trouble
        if found is None and time.monotonic() - self._tried_at < OPEN_AGAIN_SECONDS:
            return self._last_trouble
        return found

    def close(self) -> None:
        """Answer what waits for a verdict, and open no other."""
        with self._lock:
            self._closed = True
        self.current.close()
