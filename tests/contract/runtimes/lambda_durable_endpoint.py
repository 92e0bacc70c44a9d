"""A small Lambda endpoint: runs a durable function in this process, as a Lambda execution environment does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aws_durable_execution_sdk_python_testing.invoker import create_test_lambda_context


class Endpoint:
    """Takes the runner's invocations of one function on ``port`` (0: any), as long as its process lives."""

    def __init__(self, function: Callable[[Any, Any], Any], port: int = 0) -> None:
        self._changed = threading.Condition()
        self._running = self._done = 0
        self._function = function
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._requests())
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def idle(self) -> bool:
        """Whether it was invoked, and no invocation runs."""
        with self._changed:
            return self._done > 0 and self._running == 0

    def _requests(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                failed, told = endpoint._invoked(asked)
                body = json.dumps(told).encode()
                self.send_response(200)
                if failed:
                    self.send_header("X-Amz-Function-Error", "Unhandled")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Requests

    def _invoked(self, asked: Any) -> tuple[bool, Any]:
        with self._changed:
            self._running += 1
        try:
            return False, self._function(asked, create_test_lambda_context())
        except Exception as error:  # as Lambda does: told to the invoker, who retries
            return True, {"errorMessage": str(error), "errorType": type(error).__name__}
        finally:
            with self._changed:
                self._running -= 1
                self._done += 1
