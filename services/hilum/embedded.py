"""All services, or some, in one process on one machine: SQLite log and state, file objects.

The services are built by the same `build(settings, platform)` as in production; only what the
platform is made of differs. No transaction spans the log and a service's state, as with Kafka.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from hilum import telemetry
from hilum.errors import Fault, Rejected, Unavailable
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hosting import Platform, Readiness, Service, SystemClock, cancel_on_signals, host
from hilum.http import HttpService, application
from hilum.objects.files import FileObjects
from hilum.objects.leftovers import Leftovers
from hilum.site import Site, load_site
from hilum.store.integrity import check_state
from hilum.store.room import Room, trouble_of
from hilum.store.sql import SqlStore, open_sqlite

_LOG = logging.getLogger(__name__)

SERVICES = ("ingest", "imaging", "workflow", "inference", "integration", "ledger", "oversight")


@dataclass(frozen=True)
class Options:
    """What `hilum serve` is told. A port of 0 takes a free one; None leaves it to the service's settings."""

    state: Path = Path("hilum-data")
    config: Path | None = None
    mllp_port: int | None = None
    dicom_port: int | None = None
    grpc_port: int | None = None
    http_port: int | None = None
    otlp_endpoint: str | None = None
    services: tuple[str, ...] = SERVICES
    packages_folder: Path | None = None
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)  # service -> settings, for tests


@dataclass(frozen=True)
class Running:
    """A system that is ready, and where it listens."""

    site: Site
    services: dict[str, Service]
    http_port: int
    hosting: "asyncio.Task[None]"

    @property
    def mllp_port(self) -> int:
        return self._port("ingest", "mllp_port")

    @property
    def grpc_port(self) -> int:
        return self._port("ingest", "grpc_port")

    @property
    def dicom_port(self) -> int:
        return self._port("imaging", "dicom_port")

    @property
    def inference_grpc_port(self) -> int:
        return self._port("inference", "grpc_port")

    @property
    def ledger_grpc_port(self) -> int:
        return self._port("ledger", "grpc_port")

    def _port(self, service: str, name: str) -> int:
        return int(getattr(self.services[service], name))


def packages_folder() -> Path:
    """Where the model packages are: HILUM_MODELS, else beside the source, else inside the distribution."""
    told = os.environ.get("HILUM_MODELS")
    if told:
        return Path(told)
    beside = Path(__file__).resolve().parents[2] / "models"
    return beside if beside.is_dir() else Path(str(files("hilum"))) / "models"


def open_platform(options: Options, site: Site) -> tuple[Platform, SqliteEventLog]:
    log = SqliteEventLog(options.state / "log.db")
    try:
        log.open()
    except Fault as error:
        remedy = "restore log.db and its -wal, with the state folder of the same moment, from a copy"
        raise Fault(error.code, f"{options.state / 'log.db'} is damaged ({error.text}): {remedy}") from error
    objects_folder = options.state / "objects"

    def open_store(service: str, tables: sa.MetaData) -> SqlStore:
        return open_sqlite(options.state / "state" / f"{service}.db", tables)

    platform = Platform(
        site=site,
        log=log,
        objects=FileObjects(objects_folder),
        objects_folder=objects_folder,
        open_store=open_store,
        packages_folder=options.packages_folder or packages_folder(),
    )
    return platform, log


def build_services(options: Options, platform: Platform) -> list[Service]:
    """Each service by its own `build`. Raises `Rejected` that lists every fault of every service's settings."""
    built: list[Service] = []
    faults: list[str] = []
    for name in options.services:
        module = import_module(f"hilum.{name}.service")
        faults += _unknown_in_environment(module.Settings)
        try:
            settings = module.Settings(**_told(options, name, module.Settings))
            built.append(module.build(settings, platform))
        except ValidationError as error:
            faults += [f"{name}.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        except Rejected as error:
            faults.append(f"{name}: {error.text}")
    if faults:
        raise Rejected("settings", "\n".join(faults))
    return built


def _unknown_in_environment(settings: type[BaseSettings]) -> list[str]:
    """Variables with the service's prefix that name no setting of it: most likely typing errors."""
    prefix = str(settings.model_config["env_prefix"])
    known = {f"{prefix}{field}".upper() for field in settings.model_fields}
    return [
        f"{name}: there is no such setting"
        for name in sorted(os.environ)
        if name.upper().startswith(prefix) and name.upper() not in known
    ]


@dataclass
class _Run:
    """What the marks say of the last run, and whether this one has begun to work on the state."""

    interrupted: frozenset[str]
    begun: bool = False


@contextmanager
def _locked(options: Options) -> Iterator[_Run]:
    """Each service's state is one process' own; yields which services' last run did not end in order.

    A run that never begins leaves the marks as it found them.

    Raises `Rejected` ``state_in_use`` that names those that run, ``state_folder``, and `Unavailable` ``state_full``.
    """
    folder = options.state / "state"
    in_use: list[str] = []
    locks: dict[str, IO[bytes]] = {}
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in options.services:
                lock = held.enter_context((folder / f"{name}.running").open("ab", buffering=0))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    locks[name] = lock
                except BlockingIOError:
                    in_use.append(name)
            if in_use:
                raise Rejected("state_in_use", f"another process runs {', '.join(in_use)} on {options.state}")
            run = _Run(frozenset(name for name, lock in locks.items() if lock.tell()))
            fresh = [lock for name, lock in locks.items() if name not in run.interrupted]
            for unmarked in fresh:
                _mark(unmarked)
        except OSError as error:
            kind = Unavailable if trouble_of(error) == "state_full" else Rejected
            code = "state_full" if kind is Unavailable else "state_folder"
            raise kind(code, f"{options.state} cannot be written: {error.strerror}") from error
        try:
            yield run
        except BaseException as error:
            if not run.begun:
                _unmark(fresh)
            elif not isinstance(error, Exception):
                _unmark(locks.values())  # it was told to end, and did
            raise  # else what the marks say is true
        _unmark(locks.values())


def _mark(lock: IO[bytes]) -> None:
    """What is left of it at the next start says that this run did not end in order."""
    lock.write(b"running\n")
    os.fdatasync(lock.fileno())


def _unmark(locks: Iterable[IO[bytes]]) -> None:
    for lock in locks:
        with suppress(OSError):
            lock.truncate(0)


def _told(options: Options, service: str, settings: Any) -> dict[str, Any]:
    """The command line's ports and folders, for those settings that the service has."""
    told: dict[str, Any] = {"state_folder": options.state}
    if service == "ingest":
        told |= {"mllp_port": options.mllp_port, "grpc_port": options.grpc_port}
    elif service == "imaging":
        told["dicom_port"] = options.dicom_port
    elif options.grpc_port == 0:
        told["grpc_port"] = 0
    told |= options.overrides.get(service, {})
    return {name: value for name, value in told.items() if value is not None and name in settings.model_fields}


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[Running]:
    """Start, wait until every service is ready, and drain at the end. Raises `Rejected` with every bad setting."""
    site = load_site(options.config) if options.config else Site(site="hilum")
    provider = telemetry.configure(
        "hilum" if len(options.services) > 1 else options.services[0],
        options.otlp_endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"),
        SystemClock().monotonic,
    )
    try:
        with _locked(options) as this:
            await asyncio.to_thread(_check_state, options, this.interrupted)
            async with _running(options, site, this) as system:
                yield system
    finally:
        if provider is not None:
            provider.shutdown()


def _check_state(options: Options, interrupted: frozenset[str]) -> None:
    """Raises `Fault` ``state_corrupt`` with a line for each database that is damaged, before anything starts."""
    faults: list[str] = []
    for name in options.services:
        try:
            check_state(options.state / "state" / f"{name}.db", ended_in_order=name not in interrupted)
        except Fault as error:
            faults.append(error.text)
    if faults:
        raise Fault("state_corrupt", "\n".join(faults))


@asynccontextmanager
async def _running(options: Options, site: Site, this: _Run) -> AsyncIterator[Running]:
    platform, log = open_platform(options, site)
    try:
        services = build_services(options, platform)
        readiness = Readiness([*(service.name for service in services), HttpService.name])
        room = Room(options.state, platform.clock, partial(readiness.trouble, Room.name))
        http = HttpService(
            application(readiness), "127.0.0.1", 8080 if options.http_port is None else options.http_port
        )
        leftovers = Leftovers(platform.objects_folder, platform.clock.now(), wanted=bool(this.interrupted))
        this.begun = True
        hosting = asyncio.create_task(host([*services, http, room, leftovers], readiness))
        try:
            await _ready_or_failed(readiness, hosting)
            yield Running(site, {service.name: service for service in services}, http.port, hosting)
        finally:
            hosting.cancel()
            with suppress(asyncio.CancelledError):
                await hosting
    finally:
        log.close()


async def _ready_or_failed(readiness: Readiness, hosting: "asyncio.Task[None]") -> None:
    ready = asyncio.create_task(readiness.wait())
    await asyncio.wait({ready, hosting}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        ready.cancel()
        hosting.result()


async def run(options: Options, started: Callable[[Running], None] = lambda _running: None) -> None:
    """`hilum serve`: until SIGTERM or SIGINT, which drain. A service that fails ends the process with its error."""
    os.umask(0o077)  # the log, the state and the images are the patients'
    main = asyncio.current_task()
    assert main is not None
    cancel_on_signals(main)
    with suppress(asyncio.CancelledError):
        async with running(options) as system:
            started(system)
            await asyncio.shield(system.hosting)


def names_of(told: Sequence[str]) -> tuple[str, ...]:
    """`all`, or names of services. Raises `Rejected` that names the ones there are."""
    if list(told) == ["all"]:
        return SERVICES
    unknown = [name for name in told if name not in SERVICES]
    if unknown:
        raise Rejected("service", f"no service {', '.join(unknown)}; there are all, {', '.join(SERVICES)}")
    return tuple(told)
