"""Hosting: what every service is given, and how services start, become ready, and drain.

The one place, with the adapters, that reads the system's clock and makes random identities.
"""

import asyncio
import logging
import signal
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from hilum.clock import Clock
from hilum.errors import Fault
from hilum.eventlog.port import EventLog
from hilum.ids import Ids
from hilum.objects.port import Objects
from hilum.site import Site
from hilum.store.sql import SqlStore

_LOG = logging.getLogger(__name__)


class SystemClock:
    """`hilum.clock.Clock` of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RandomIds:
    """`hilum.ids.Ids` from the system's randomness."""

    def new(self) -> str:
        return str(uuid.uuid4())


@dataclass(frozen=True)
class Platform:
    """What `build(settings, platform)` of every service is given, embedded and in production alike."""

    site: Site
    log: EventLog
    objects: Objects
    # How a worker process opens the same object store: `hilum.objects.files.FileObjects(folder)`.
    objects_folder: Path
    open_store: Callable[[str, sa.MetaData], SqlStore]
    packages_folder: Path
    clock: Clock = field(default_factory=SystemClock)
    ids: Ids = field(default_factory=RandomIds)


class Service(Protocol):
    """One service of the house plan."""

    name: str

    async def serve(self, ready: Callable[[], None]) -> None:
        """Run until cancelled; call ``ready`` once requests are answered and state is loaded.

        On cancellation: stop accepting, finish what is in hand, close everything, then re-raise.
        """


class Readiness:
    """Which services are ready, and what troubles one that was; behind /readyz."""

    def __init__(self, names: Iterable[str]) -> None:
        self._waiting = set(names)
        self._all = asyncio.Event()
        self.troubles: dict[str, str] = {}  # by name of what has it: its code

    def trouble(self, name: str, code: str) -> None:
        """``name`` has the trouble ``code``; none any more when it is empty."""
        if code:
            self.troubles[name] = code
        else:
            self.troubles.pop(name, None)

    def ready(self, name: str) -> None:
        self._waiting.discard(name)
        if not self._waiting:
            self._all.set()

    @property
    def waiting(self) -> list[str]:
        return sorted(self._waiting)

    async def wait(self) -> None:
        await self._all.wait()


async def host(services: Iterable[Service], readiness: Readiness) -> None:
    """Run ``services`` until cancelled. One that fails ends them all: an orchestrator restarts the process."""
    async with asyncio.TaskGroup() as group:
        for service in services:
            group.create_task(_serve(service, readiness), name=service.name)


async def _serve(service: Service, readiness: Readiness) -> None:
    def ready() -> None:
        _LOG.info("%s is ready", service.name)
        readiness.ready(service.name)

    await service.serve(ready)
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return  # told to, and it drained
    raise Fault("service_ended", f"{service.name} ended without being told to")


def cancel_on_signals(task: "asyncio.Task[None]") -> None:
    """SIGTERM and SIGINT drain: they cancel ``task`` once; a second one is left to the interpreter."""
    loop = asyncio.get_running_loop()

    def drain() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain)
