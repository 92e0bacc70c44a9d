"""How a command ends: errors that the caller must fix are one line on stderr, with their exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable

from ledger.errors import LedgerError
from ledger.evidence.visible import as_text


def run_to_end(command: Callable[[], object]) -> None:
    """Run what the arguments ask for, and end the process as it must."""
    try:
        command()
    except LedgerError as error:
        _leave(error.exit_code, f"pauseledger: {error}")
    except BrokenPipeError:
        _give_up_stdout()
        _leave(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT)
    finally:
        gc.freeze()  # the process ends, and its memory with it: to look through all of that takes long


def say_at_once(text: str) -> None:
    """Put a whole text on stdout, and end as SIGPIPE would where nobody reads it: that is no result of a command."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_stdout()
        sys.exit(128 + signal.SIGPIPE)


def _give_up_stdout() -> None:
    """What is left to say goes nowhere: closing stdout must not raise again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(code: int, line: str = "") -> None:
    if line:
        print(as_text(" ".join(line.split())), file=sys.stderr)
    sys.exit(code)
