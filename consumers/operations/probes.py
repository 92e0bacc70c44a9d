"""``/metrics``, ``/healthz`` and ``/readyz`` over HTTP, on the address that PAUSELEDGER_METRICS names.

``/healthz`` says whether to start the process again: a job's thread is gone, or hangs. A broker that is away is no
reason for that, and a job that opens may take long: it makes tables of an older version anew. ``/readyz`` says whether
every job has its share, and got through to log and index when it last tried.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from consumers.operations.metrics import REGISTRY
from consumers.worker import Worker
from ledger.errors import WrongUsage

_FORM = "Use [HOST:]PORT, such as 127.0.0.1:9108."
_LOCAL = "127.0.0.1"
_READ_SECONDS = 10.0
OPENING_SECONDS = 3_600.0
"""How long a job may open: started again it would begin from nothing, and be no quicker."""

Answer = tuple[HTTPStatus, str, bytes]


def address_of(text: str) -> tuple[str, int]:
    """Host and port of ``[HOST:]PORT``; this machine only, unless told. Raises ``WrongUsage``."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise WrongUsage(f"PAUSELEDGER_METRICS: {text!r} is no address.", _FORM)
    return host.strip("[]") or _LOCAL, int(port)


def healthy(workers: Sequence[Worker], health_seconds: float) -> tuple[bool, dict[str, Any]]:
    """Whether every job's thread runs and comes round, and of each how many seconds ago it did."""
    jobs = {}
    for worker in workers:
        silent = round(time.monotonic() - worker.beat, 1)
        alive = worker.thread.is_alive() and not _is_late(worker, health_seconds)
        jobs[worker.name] = {"ok": alive, "came_round_seconds_ago": silent}
    return all(job["ok"] for job in jobs.values()), {"jobs": jobs}


def ready(workers: Sequence[Worker], health_seconds: float) -> tuple[bool, dict[str, Any]]:
    """Whether every job works or would; which doesn't, and why."""
    jobs = {}
    for worker in workers:
        standing = worker.standing
        is_late = _is_late(worker, health_seconds)
        problem = standing.problem or ("It has not come round for too long." if is_late else "")
        jobs[worker.name] = {
            "ready": standing.is_ready and not is_late,
            "phase": standing.phase,
            "partitions": list(standing.partitions),
            "problem": problem,
        }
    return all(job["ready"] for job in jobs.values()), {"jobs": jobs}


def _is_late(worker: Worker, health_seconds: float) -> bool:
    most = max(OPENING_SECONDS, health_seconds) if worker.is_opening else health_seconds
    return time.monotonic() - worker.beat > most


class Probes:
    """The server, listening. Raises ``WrongUsage`` where it can't."""

    def __init__(self, address: str, workers: Sequence[Worker], health_seconds: float) -> None:
        host, port = address_of(address)
        answers: dict[str, Callable[[], Answer]] = {
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)),
            "/healthz": lambda: _told(*healthy(workers, health_seconds)),
            "/readyz": lambda: _told(*ready(workers, health_seconds)),
        }
        try:
            self._server = _server_on(host)((host, port), _asked(answers))
        except OSError as error:
            problem = f"PAUSELEDGER_METRICS: {address} can't be listened on: {error.strerror or error}."
            raise WrongUsage(problem, "Choose another port, or end what listens there.") from None
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


def _told(ok: bool, content: dict[str, Any]) -> Answer:
    status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "application/json", orjson.dumps({"ok": ok, **content}) + b"\n"


def _server_on(host: str) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = AF_INET6 if ":" in host else ThreadingHTTPServer.address_family

    return Server


def _asked(answers: dict[str, Callable[[], Answer]]) -> type[BaseHTTPRequestHandler]:
    class Asked(BaseHTTPRequestHandler):
        timeout = _READ_SECONDS  # who connects and says nothing does not keep a thread
        server_version = "pauseledger"
        sys_version = ""

        def do_GET(self) -> None:  # the library's name
            answer = answers.get(self.path.partition("?")[0])
            if answer is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            status, kind, body = answer()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """A probe every few seconds is no news."""

    return Asked
