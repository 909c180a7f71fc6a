"""Hosting: what every service is given, and how services start, become ready, and drain.

The one place, with the adapters, that reads the system's clock and makes random identities.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

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


_RANDOM_BITS = 0xFFFFFFFF_FFFF_0FFF_3FFFFFFFFFFFFFFF
_VERSION_4 = 0x00000000_0000_4000_8000000000000000


class RandomIds:
    """`hilum.ids.Ids` from the system's randomness."""

    def new(self) -> str:
        # As str(uuid.uuid4()), in half the time: every event has one (RFC 9562, 5.4).
        digits = f"{int.from_bytes(os.urandom(16), 'big') & _RANDOM_BITS | _VERSION_4:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


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


class LoopLag:
    """How late the event loop runs what is due: nothing on it, and no thread beside it, may hold it up for long.

    Measured by waking every ``LOOK_SECONDS``. Metrics: the histogram ``hilum.event_loop.lag``, in seconds, and
    ``hilum.event_loop.lag.max``, the longest of the last one or two windows of ``WINDOW_SECONDS``.
    """

    LOOK_SECONDS = 0.05
    WINDOW_SECONDS = 10.0

    def __init__(self) -> None:
        self._window = 0
        self._longest = (0.0, 0.0)  # of the window before, and of this one

    def note(self, late: float, now: float) -> None:
        """A wake-up was ``late`` seconds late; ``now`` is monotonic, in seconds."""
        self._turn(now)
        self._longest = (self._longest[0], max(self._longest[1], late))
        _LAG.record(late)

    def longest(self, now: float) -> float:
        """The longest of this window and the one before, in seconds."""
        self._turn(now)
        return max(self._longest)

    def _turn(self, now: float) -> None:
        window = int(now / self.WINDOW_SECONDS)
        if window != self._window:
            self._longest = (self._longest[1] if window == self._window + 1 else 0.0, 0.0)
            self._window = window

    async def watch(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self.LOOK_SECONDS
            await asyncio.sleep(self.LOOK_SECONDS)
            now = loop.time()
            self.note(max(0.0, now - due), now)


def _longest_lag(_options: CallbackOptions) -> Iterator[Observation]:
    yield Observation(LOOP_LAG.longest(time.monotonic()))


_METER = metrics.get_meter("hilum")
_LAG = _METER.create_histogram("hilum.event_loop.lag", unit="s", description="how late the event loop runs what is due")
LOOP_LAG = LoopLag()
_METER.create_observable_gauge(
    "hilum.event_loop.lag.max",
    [_longest_lag],
    unit="s",
    description="the longest lag of the last ten to twenty seconds",
)


async def host(services: Iterable[Service], readiness: Readiness) -> None:
    """Run ``services`` until cancelled. One that fails ends them all: an orchestrator restarts the process."""
    watching = asyncio.create_task(LOOP_LAG.watch(), name="event loop lag")
    try:
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(_serve(service, readiness), name=service.name)
    finally:
        watching.cancel()


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
