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
        # Whoever read our output has gone: nothing is left to say, and closing stdout must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT)
    finally:
        gc.freeze()  # the process ends, and its memory with it: to look through all of that takes long


def _leave(code: int, line: str = "") -> None:
    if line:
        print(as_text(" ".join(line.split())), file=sys.stderr)
    sys.exit(code)
