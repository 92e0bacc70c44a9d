"""Figures: reads over HTTP, against a bare FastAPI route that returns the same bytes. Each in a process of its own."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.ledgers import filled, folder, indexed
from bench.publishing import COMMAND
from bench.rounds import Figure, in_turns
from bench.sizes import Sizes
from consumers.api.tokens import add_token, new_token
from tests.broker import free_port

CONNECTIONS = 16
_START_SECONDS = 60.0
_SERVE_BARE = "from bench.bare_route import main; main()"


class Load(NamedTuple):
    """What was measured of a server under load: requests a second, and the 99th percentile of their time in ms."""

    rate: float
    p99_ms: float


@contextmanager
def _served(command: list[str], port: int, place: Path, **settings: str) -> Iterator[int]:
    """A server in a process of its own, up and answering; its port."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), **settings}
    with (place / f"{port}.err").open("wb") as errors:
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1.0).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        said = (place / f"{port}.err").read_text()[-500:]
                        raise RuntimeError(f"the server did not start: {said}") from None
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(30.0)


def _request(port: int, path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n\r\n".encode()


def _whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the server answered: {answer[:300]!r}")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return len(body) >= length


def get(port: int, path: str, token: str) -> bytes:
    """The body of one answer."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(_request(port, path, token))
        answer = b""
        while not _whole(answer):
            answer += connection.recv(65_536)
    return answer.partition(b"\r\n\r\n")[2]


def load(port: int, paths: list[str], token: str, count: int) -> Load:
    """Ask so often, over connections that are kept, each with one request under way."""
    requests = [_request(port, path, token) for path in paths]
    times: list[float] = []
    sent = 0
    with selectors.DefaultSelector() as ready:
        began = time.perf_counter()
        for _ in range(min(CONNECTIONS, count)):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(requests[sent % len(requests)])
            sent += 1
            ready.register(connection, selectors.EVENT_READ, [time.perf_counter(), b""])
        while len(times) < count:
            for key, _ in ready.select():
                waits, connection = key.data, key.fileobj
                assert isinstance(connection, socket.socket)
                waits[1] += connection.recv(65_536)
                if not _whole(waits[1]):
                    continue
                now = time.perf_counter()
                times.append(now - waits[0])
                if sent < count:
                    waits[:] = now, b""
                    connection.sendall(requests[sent % len(requests)])
                    sent += 1
                else:
                    ready.unregister(connection)
                    connection.close()
        seconds = time.perf_counter() - began
    times.sort()
    return Load(count / seconds, 1_000 * times[int(0.99 * (len(times) - 1))])


def reads(sizes: Sizes) -> list[Figure]:
    measured: dict[str, list[Load]] = {"ours": [], "theirs": []}
    with folder() as place:
        workload = filled(place / "ledger.db", sizes.small_ledger)
        indexed(place / "ledger.db")
        token, entry = new_token(actor="user:bench", scopes=("read",))
        add_token(place / "tokens.json", entry)
        names = workload.subjects[: max(1, len(workload.subjects) // 2)]
        paths = [f"/v1/work-items/{name}/decision" for name in names]
        ours, theirs = free_port(), free_port()
        settings = {
            "PAUSELEDGER_LOG": f"sqlite:///{place}/ledger.db",
            "PAUSELEDGER_INDEX": f"sqlite:///{place}/ledger.db",
            "PAUSELEDGER_API_TOKENS": str(place / "tokens.json"),
            "PAUSELEDGER_API_RATE": "1000000",
            "PAUSELEDGER_API_BURST": "1000000",
        }
        with _served([*COMMAND, "serve", "--port", str(ours)], ours, place, **settings):
            (place / "same-bytes").write_bytes(get(ours, paths[0], token))
            bare = [sys.executable, "-c", _SERVE_BARE, str(theirs), str(place / "same-bytes")]
            with _served(bare, theirs, place):

                def side(name: str, port: int, asked: list[str]) -> float:
                    measured[name].append(load(port, asked, token, sizes.http_reads))
                    return measured[name][-1].rate

                in_turns(
                    "http-reads",
                    lambda: side("ours", ours, paths),
                    lambda: side("theirs", theirs, paths[:1]),
                    sizes.rounds,
                    unit="reads/s",
                )
    counted = {name: each[-sizes.rounds :] for name, each in measured.items()}
    return [_figure("rate", counted, sizes), _figure("p99_ms", counted, sizes)]


def _figure(what: str, counted: dict[str, list[Load]], sizes: Sizes) -> Figure:
    is_rate = what == "rate"
    return Figure(
        name="http-reads" if is_rate else "http-reads-p99",
        title=f"HTTP: reads of decisions ({'rate' if is_rate else '99th percentile'})",
        unit="reads/s" if is_rate else "ms",
        ours="pauseledger serve, GET …/decision with a token, of many work items, each up to the log's end",
        theirs="a bare async FastAPI route that returns the same bytes, no authentication",
        target=0.5 if is_rate else 2.0,
        at_least=is_rate,
        ours_each=[getattr(one, what) for one in counted["ours"]],
        theirs_each=[getattr(one, what) for one in counted["theirs"]],
        notes={"reads_a_round": sizes.http_reads, "connections": CONNECTIONS},
    )
