"""How much memory a process has held; and a ``pauseledger`` command that tells it when it ends.

Nothing is imported here but what the command imports itself.
"""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory_mib() -> float:
    """The most memory that this process has held. ``ru_maxrss`` would count its parent's too."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main() -> None:
    """Run the command; its last line on stderr is the memory that it took, in MiB."""
    from consumers.cli.main import main as command

    try:
        command()
    finally:
        print(peak_memory_mib(), file=sys.stderr)


if __name__ == "__main__":
    main()
