"""Apache Kafka: one broker, or three with replicas in three zones, each a Java process of its own on loopback."""

import asyncio
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from peers.certificates import certificates
from peers.child import required, running, stop
from peers.ports import take_free_port
from peers.testbed import maven_jars

_HERE = Path(__file__).parent / "kafka_server"
_CLUSTER_ID = "aGlsdW0tdGVzdHMta3JhZg"  # 16 bytes in base64url
_HEAP = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_SECONDS = 60.0


@dataclass
class Broker:
    """One broker, which can be killed, frozen and started again on what is left in its folder."""

    number: int
    address: str
    folder: Path
    java: Sequence[str | Path]
    processes: ExitStack
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        assert self.process is None
        arguments = [*self.java, "kafka.Kafka", self.folder / "server.properties"]
        self.process = self.processes.enter_context(running(arguments, self.folder / "log"))

    def kill(self) -> None:
        """SIGKILL: whatever the operating system has not written yet, it still writes."""
        process = self._running()
        process.kill()
        process.wait()
        self.process = None

    def stop(self) -> None:
        """Politely: the broker hands its partitions over first."""
        stop(self._running(), 30.0)
        self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP while it is entered: connections stay open and nothing answers."""
        process = self._running()
        os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process.pid, signal.SIGCONT)

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self.process is not None
        return self.process


@dataclass(frozen=True)
class Kafka:
    """A running cluster."""

    brokers: Sequence[Broker]
    secured: "Secured | None" = None

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(broker.address for broker in self.brokers)

    def wait_until_ready(self) -> None:
        """Return once every broker that was started is in the cluster, as the cluster itself says."""
        awake = {broker.address for broker in self.brokers if broker.process is not None}
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            for broker in self.brokers:
                if broker.process is not None and broker.process.poll() is not None:
                    raise RuntimeError(f"broker {broker.number} ended:\n{_end_of(broker.folder / 'log')}")
            if asyncio.run(_members(sorted(awake))) == awake:
                return
            time.sleep(0.2)
        raise RuntimeError(f"Kafka did not start:\n{_end_of(self.brokers[0].folder / 'log')}")


@dataclass(frozen=True)
class Secured:
    """What a client needs at the second listener, where both sides prove who they are and the client signs in."""

    address: str
    ca_file: Path
    certificate_file: Path
    key_file: Path
    username: str
    password: str


@contextmanager
def kafka(brokers: int = 1, config: pytest.Config | None = None, *, secured: bool = False) -> Iterator[Kafka]:
    """A cluster of so many brokers, empty; with three, a topic is in sync while two of its replicas are.

    ``secured``: one broker with a second listener, SASL (SCRAM) over mutual TLS.
    """
    assert brokers == 1 or not secured
    jars = maven_jars("kafka", _HERE / "pom.xml", config)
    logging = f"-Dlog4j2.configurationFile={_HERE / 'log4j2.properties'}"
    java = (required("java", "default-jdk-headless"), *_HEAP, logging, "-cp", f"{jars}/*")
    ports = [(take_free_port(), take_free_port()) for _ in range(brokers)]
    voters = ",".join(f"{number}@127.0.0.1:{controller}" for number, (_, controller) in enumerate(ports, 1))
    with (
        tempfile.TemporaryDirectory(prefix="hilum-kafka-", ignore_cleanup_errors=True) as scratch,
        ExitStack() as stack,
    ):
        members = []
        for number, (port, controller) in enumerate(ports, 1):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            properties = _properties(number, port, controller, voters, folder / "data", brokers)
            security = _secure(folder, properties) if secured else None
            (folder / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
            _format(java, folder, security)
            members.append(Broker(number, f"127.0.0.1:{port}", folder, java, stack))
        for member in members:
            member.start()
        cluster = Kafka(members, security)
        cluster.wait_until_ready()
        yield cluster


def _properties(
    number: int, port: int, controller: int, voters: str, data: Path, brokers: int
) -> dict[str, str | int | Path]:
    replicas, in_sync = (3, 2) if brokers >= 3 else (1, 1)
    return {
        "process.roles": "broker,controller",
        "node.id": number,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data,
        "broker.rack": f"zone-{number}",
        "auto.create.topics.enable": "false",
        # A dead broker is missed after 3 s and not after 9: the tests wait for it.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "group.initial.rebalance.delay.ms": 0,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        "log.cleaner.backoff.ms": 500,  # compaction is looked for as soon as a segment is closed
        "num.network.threads": 2,
        "num.io.threads": 4,
    }


def _secure(folder: Path, properties: dict[str, str | int | Path]) -> Secured:
    """Add the second listener to ``properties``, with certificates that are made for it."""
    files = certificates(folder)
    port = take_free_port()
    properties |= {
        "listeners": f"{properties['listeners']},CLIENT://127.0.0.1:{port}",
        "listener.security.protocol.map": f"{properties['listener.security.protocol.map']},CLIENT:SASL_SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.client.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": files.server,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": files.ca,
        "listener.name.client.ssl.client.auth": "required",  # the unnamed one is heeded without SASL alone
    }
    address = f"127.0.0.1:{port}"
    return Secured(address, files.ca, files.client, files.client, "hilum", secrets.token_urlsafe(16))


def _format(java: Sequence[str | Path], folder: Path, security: Secured | None) -> None:
    tool = [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", folder / "server.properties"]
    if security is not None:
        tool += ["--add-scram", f"SCRAM-SHA-512=[name={security.username},password={security.password}]"]
    with (folder / "log").open("ab") as log:
        done = subprocess.run([str(word) for word in tool], stdout=log, stderr=log, check=False, timeout=_SECONDS)
    if done.returncode:
        raise RuntimeError(f"Kafka's folder could not be formatted:\n{_end_of(folder / 'log')}")


async def _members(addresses: Sequence[str]) -> set[str]:
    """The brokers that the cluster counts at present; none where nobody answers."""
    from aiokafka.admin import AIOKafkaAdminClient  # only who starts a broker needs the library
    from aiokafka.errors import KafkaError

    admin = AIOKafkaAdminClient(bootstrap_servers=list(addresses), request_timeout_ms=5000)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    except (KafkaError, OSError):
        return set()
    finally:
        await admin.close()
    return {f"{broker['host']}:{broker['port']}" for broker in cluster["brokers"]}


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


@pytest.fixture(scope="session")
def one_broker(pytestconfig: pytest.Config) -> Iterator[Kafka]:
    """One Kafka broker a session: quick to start, and not durable."""
    with kafka(1, pytestconfig) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def three_brokers(pytestconfig: pytest.Config) -> Iterator[Kafka]:
    """Three Kafka brokers a session; whoever ends one starts it again."""
    with kafka(3, pytestconfig) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def secured_broker(pytestconfig: pytest.Config) -> Iterator[Kafka]:
    """One Kafka broker a session that wants TLS certificates and a password."""
    with kafka(1, pytestconfig, secured=True) as cluster:
        yield cluster
