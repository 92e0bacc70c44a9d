"""Where the program begins. ``verify`` comes first, and alone: it imports the pure rules and the crypto, no log, no
index, no network client, so that whoever audits it has that much to read, and nothing else runs.
"""

from __future__ import annotations

import gc
import sys

gc.set_threshold(250_000, 20, 100)  # what a ledger holds has no cycles, nor has what is imported from here on


def main() -> None:
    """Run a command."""
    if sys.argv[1:2] == ["verify"]:
        from consumers.cli import verify

        verify.main()
    else:
        from consumers.cli import app

        app.main()


if __name__ == "__main__":
    main()
