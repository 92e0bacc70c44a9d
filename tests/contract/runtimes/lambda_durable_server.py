"""The service beside the durable function: AWS' own local runner with its SQLite store, as a process of its own.

Two of its settings are changed, so that a killed function is invoked again soon and as long as it takes: AWS goes on
retrying for hours, the local runner gives up after five tries, five seconds apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-west-2"}


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Any]]:
    """The runner on a port of its own; ``runner`` is its address. It ends with its standard input."""
    with (folder / "runner.log").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.runtimes.lambda_durable_server", str(folder / "executions.db")],
            cwd=ROOT,
            env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, (folder / "runner.log").read_text()
        yield {"runner": address}
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def serve(store: str) -> None:
    """Run until standard input ends."""
    from aws_durable_execution_sdk_python_testing.executor import Executor
    from aws_durable_execution_sdk_python_testing.runner import WebRunner, WebRunnerConfig
    from aws_durable_execution_sdk_python_testing.stores.base import StoreType
    from aws_durable_execution_sdk_python_testing.web.server import WebServiceConfig

    Executor.RETRY_BACKOFF_SECONDS = 1
    Executor.MAX_CONSECUTIVE_FAILED_ATTEMPTS = 60
    service = WebServiceConfig(host="127.0.0.1", port=0)
    runner = WebRunner(WebRunnerConfig(service, store_type=StoreType.SQLITE, store_path=store))
    runner.start()
    server = runner._server
    assert server is not None
    threading.Thread(target=runner.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.read()
    os._exit(0)  # invocations that wait for a function that was killed are of no use to anybody


if __name__ == "__main__":
    serve(sys.argv[1])
