"""The job ``callbacks`` as a process that kills itself at a moment: ``python -m tests.consumers.callbacks_process``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from consumers.callbacks import open_job
from consumers.settings import Settings

MOMENTS = ("before-call", "before-observation", "before-close", "before-forgetting")


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(moment: str) -> None:
    job = open_job(Settings.read())
    match moment:
        case "before-call":
            job._calls["step_functions"]._gated._client.meta.events.register("before-send.sfn.SendTaskSuccess", die)
        case "before-observation":
            job._calls["step_functions"]._gate.observe = die  # type: ignore[method-assign, assignment]
        case "before-close":
            job._calls["step_functions"]._gate.close = die  # type: ignore[method-assign, assignment]
        case "before-forgetting":
            job._tokens.forget = die  # type: ignore[method-assign]
    job.take({0})
    for _ in range(200):
        job.step()
    job.close()


if __name__ == "__main__":
    main(sys.argv[1])
