"""moto's server with its real interpreter of state machines, in this process, on 127.0.0.1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Any]]:
    """Its address, as ``endpoint``. The interpreter calls the other services of the same server by MOTO_PORT."""
    from moto.core.config import default_user_config
    from moto.server import ThreadedMotoServer

    before = {name: os.environ.get(name) for name in (*AWS, "MOTO_PORT")}
    executes = default_user_config["stepfunctions"]["execute_state_machine"]
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        os.environ.update(AWS, MOTO_PORT=str(port))
        default_user_config["stepfunctions"]["execute_state_machine"] = True
        yield {"endpoint": f"http://{host}:{port}"}
    finally:
        server.stop()
        default_user_config["stepfunctions"]["execute_state_machine"] = executes
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
