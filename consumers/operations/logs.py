"""Log lines of ``pauseledger run`` on stderr: one JSON object each, or text for people on a terminal.

Every line says when, how grave, and what; where it is about an entry, ``job``, ``partition`` and ``offset`` say which.
What libraries log goes the same way from WARNING on. What would be said over and over is said once in a while.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Hashable, MutableMapping
from typing import Any

import orjson
import structlog

from ledger.evidence.visible import as_text

_EVERY_SECONDS = 30.0
_MOST_KEPT = 1_000
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_SHARED: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.UnicodeDecoder(),
]


class Seldom:
    """Says of each key whether it may be said now, and how often it was held back since: once in ``every_seconds``."""

    def __init__(self, every_seconds: float = _EVERY_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_seconds = every_seconds
        self._clock = clock
        self._said: dict[Hashable, tuple[float, int]] = {}

    def may_say(self, key: Hashable) -> int | None:
        """How often the key was held back since it was said last; null where it is held back now."""
        now = self._clock()
        last, held_back = self._said.get(key, (-self._every_seconds, 0))
        if now - last < self._every_seconds:
            self._said[key] = (last, held_back + 1)
            return None
        if len(self._said) >= _MOST_KEPT:
            self._said.clear()
        self._said[key] = (now, 0)
        return held_back


class _SeldomTheSame(logging.Filter):
    """Of what libraries say in one place over and over, one line in a while."""

    def __init__(self) -> None:
        super().__init__()
        self._seldom = Seldom()

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record, "_logger"):
            return True
        return self._seldom.may_say((record.name, record.lineno)) is not None


def _as_json(content: Any, **_: Any) -> str:
    return orjson.dumps(content, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


def _seen(value: Any) -> str:
    return as_text(value if isinstance(value, str) else repr(value))


def _visible(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What others wrote stays in its line of text and can't move a terminal; of a traceback each line is one."""
    lines = [as_text(line) for line in event.pop("exception", "").split("\n") if line]
    shown = {as_text(name): _seen(value) for name, value in event.items()}
    return shown | ({"exception": "\n".join(f"  {line}" for line in lines)} if lines else {})


def set_up_logs(format_name: str = "auto", level: str = "info") -> None:
    """Send what is logged from now on to stderr. Libraries are heard from WARNING on."""
    in_json = format_name == "json" or (format_name == "auto" and not sys.stderr.isatty())
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    last: list[Any] = [structlog.processors.format_exc_info]
    if in_json:
        last.append(structlog.processors.JSONRenderer(serializer=_as_json))
    else:
        last += [_visible, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    output.addFilter(_SeldomTheSame())
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(logging.WARNING)
    logging.getLogger("consumers").setLevel(_LEVELS[level])
    logging.getLogger("kafka").setLevel(logging.WARNING)
