"""Each event log that the contract suites run on: opened again and again, from elsewhere, and while it refuses."""

import asyncio
import contextlib
import resource
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from hilum.contracts import topics
from hilum.contracts.topics import Topic
from hilum.eventlog.port import EventLog
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hosting import SystemClock
from peers.kafka import Kafka

TOPICS = (topics.ORDERS, topics.REPORTS, topics.DEAD_LETTERS)


class Logs(Protocol):
    program: str
    """Python that opens the log as ``log`` in another process."""
    refused_may_land: bool
    """Whether what was refused may be in the log all the same."""

    def open(self) -> EventLog:
        """Another handle on the same log."""

    def refusing(self) -> AbstractContextManager[None]:
        """While it is entered, nothing can be made durable."""

    def close(self) -> None: ...


@contextmanager
def full_disk() -> Iterator[None]:
    """While it is entered, no file of this process can grow: what a full disk does to a local adapter."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with contextlib.suppress(TypeError):
            signal.signal(signal.SIGXFSZ, before)


class SqliteLogs:
    refused_may_land = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: list[SqliteEventLog] = []
        self.program = (
            "from pathlib import Path\n"
            "from hilum.eventlog.sqlite import SqliteEventLog\n"
            f"log = SqliteEventLog(Path({str(path)!r}))\n"
            "log.open()\n"
        )

    def open(self) -> EventLog:
        log = SqliteEventLog(self._path, busy_seconds=5)
        log.open()
        self._opened.append(log)
        return log

    def refusing(self) -> AbstractContextManager[None]:
        return full_disk()

    def close(self) -> None:
        for log in self._opened:
            log.close()


class KafkaLogs:
    """Topics of its own on a broker that all tests share."""

    refused_may_land = True

    def __init__(self, cluster: Kafka, wanted: tuple[Topic, ...] = TOPICS) -> None:
        from hilum.eventlog.kafka.settings import KafkaSettings

        (self._broker,) = cluster.brokers
        self._topics = wanted
        self._settings = KafkaSettings(
            brokers=cluster.addresses, topic_prefix=f"t-{uuid.uuid4().hex[:12]}-", one_broker=True, append_seconds=3
        )
        self._opened: list[EventLog] = []
        self.program = (
            "from hilum.contracts import topics\n"
            "from hilum.eventlog.kafka.log import KafkaEventLog\n"
            "from hilum.eventlog.kafka.settings import KafkaSettings\n"
            "from hilum.hosting import SystemClock\n"
            f"settings = KafkaSettings.model_validate_json({self._settings.model_dump_json()!r})\n"
            "log = KafkaEventLog(settings, SystemClock(), (topics.ORDERS,), 4)\n"
            "log.open()\n"
        )

    def open(self) -> EventLog:
        from hilum.eventlog.kafka.log import KafkaEventLog

        log = KafkaEventLog(self._settings, SystemClock(), self._topics, partitions=4)
        log.open()
        self._opened.append(log)
        return log

    def refusing(self) -> AbstractContextManager[None]:
        """The broker stands still: it takes the bytes and answers nothing."""
        return self._broker.frozen()

    def close(self) -> None:
        for log in self._opened:
            log.close()  # type: ignore[attr-defined]
        self._ask(
            lambda admin: admin.delete_topics([self._settings.topic_prefix + topic.name for topic in self._topics])
        )

    def _ask(self, work):  # type: ignore[no-untyped-def]
        from aiokafka.admin import AIOKafkaAdminClient

        async def ask():  # type: ignore[no-untyped-def]
            admin = AIOKafkaAdminClient(bootstrap_servers=list(self._settings.brokers), request_timeout_ms=10_000)
            await admin.start()
            try:
                return await work(admin)
            finally:
                await admin.close()

        with ThreadPoolExecutor(1) as thread:  # the test's own loop may be running in this one
            return thread.submit(lambda: asyncio.run(ask())).result()
