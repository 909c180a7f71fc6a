"""One seeded world: the seven services' own code, a hospital, and what befalls them."""

import asyncio
import contextvars
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from hilum.contracts import topics
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.embedded import packages_folder
from hilum.errors import Unavailable
from hilum.eventlog.port import Event, event_of
from hilum.hosting import Platform, Service
from hilum.imaging.service import open_storage
from hilum.inference.service import InferenceService
from hilum.inference.settings import Settings as InferenceSettings
from hilum.ingest.service import build as build_ingest
from hilum.ingest.settings import Settings as IngestSettings
from hilum.integration.domain.attempt import DeliveryRecord
from hilum.integration.service import IntegrationService
from hilum.ledger.domain.receipts import Receipt as Heard
from hilum.ledger.service import LedgerService
from hilum.ledger.settings import Settings as LedgerSettings
from hilum.packages import ModelPackage, load_all
from hilum.simulator.receipts import Receipts
from hilum.simulator.ris import Ris
from hilum.simulator.world.clock import SeededIds, SimulatedClock
from hilum.simulator.world.database import Databases
from hilum.simulator.world.disk import SimulatedObjects
from hilum.simulator.world.faults import Faults
from hilum.simulator.world.history import History
from hilum.simulator.world.judge import Judge, Violation
from hilum.simulator.world.log import LogWeather, SimulatedLog
from hilum.simulator.world.loop import Process, SimulatedLoop
from hilum.simulator.world.network import Network, Weather
from hilum.simulator.world.peers import Manners, SimulatedHospital, SimulatedPeer
from hilum.simulator.world.senders import Door, feed, modality
from hilum.simulator.world.story import SPREAD, story
from hilum.simulator.world.workers import SimulatedWorkers
from hilum.site import parse_site
from hilum.workflow.service import WorkflowService, algorithm_of
from hilum.workflow.settings import Settings as WorkflowSettings

MLLP_PORT, RIS_PORT = 2575, 2576
FEEDS = 3
SERVICES = ("ingest", "imaging", "workflow", "inference", "integration", "ledger")
_DEADLINE = 1800.0  # seconds after the last fault, by when all must have ended
_SITE = {
    "site": "world",
    "identifier_authority": "HOSPITAL",
    "ris": {"port": RIS_PORT, "acknowledgement_timeout_seconds": 3},
    "ehr": {"url": "http://127.0.0.1:1/fhir"},
    "pacs": {"port": 1},
    "completeness": {"quiet_seconds": 4, "settle_seconds": 1},
    "matching": {"order_wait_seconds": 45, "image_wait_seconds": 90, "result_wait_seconds": 30},
}


@dataclass(frozen=True)
class Report:
    """One life of one seed. ``violation`` is None when all that must hold did."""

    seed: int
    digest: str
    violation: Violation | None
    seconds: float
    counts: Mapping[str, int]
    lines: Sequence[str]


def live(seed: int, studies: int = 40, *, keep_all: bool = False) -> Report:
    """Live ``seed`` through and judge it. Raises nothing that the world itself brings about."""
    world = World(seed, studies)
    world.history.keep_all = keep_all
    return world.live()


class World:
    def __init__(self, seed: int, studies: int) -> None:
        self.seed = seed

        def chance(what: str) -> Random:
            return Random(f"{seed} {what}")  # one stream each, so that more of one thing leaves the others alike

        self.loop = SimulatedLoop(chance("threads"))
        self.history = History(self.loop)
        self.network = Network(self.loop, chance("network"), Weather())
        self.loop.network = self.network
        self.clock = SimulatedClock(self.loop)
        self.objects = SimulatedObjects(chance("objects"), self.history)
        self.databases = Databases(f"world-{uuid.uuid4()}", chance("databases"), self.history)
        self.story = story(chance("story"), studies)
        self.processes: dict[str, Process] = {}
        self.stood_still = (0.0, 0.0)  # when integration last did, and until when
        self.judge = Judge(self.story, self.loop.time, self._held, self._grace)
        self.log = SimulatedLog(self.loop, chance("log"), LogWeather(), self.history, self._durable)
        self.site = parse_site(_SITE)
        self.packages = packages()
        self.door = Door()
        self.manners = {name: Manners(chance(name)) for name in ("ris", "ehr", "pacs")}
        self.ris = Ris(script=self.manners["ris"], now=self.clock.now, on_arrival=self._at_ris)
        self.hospital = SimulatedHospital(self.site, self._peer("ehr"), self._peer("pacs"))
        self.platform = Platform(
            site=self.site,
            log=self.log,
            objects=self.objects,
            objects_folder=Path("nowhere"),
            open_store=self.databases.open,
            packages_folder=Path("nowhere"),
            clock=self.clock,
            ids=SeededIds(chance("ids")),
        )
        self.ledger: LedgerService | None = None
        self._chance = chance
        self._failed: asyncio.Future[None] = self.loop.create_future()
        self._ended = False
        self._died: set[str] = set()

    def live(self) -> Report:
        violation: Violation | None = None
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._live())
        except Violation as found:
            violation = found
        finally:
            seconds, digest = self.loop.time(), self.history.digest
            self._bury()
        return Report(self.seed, digest, violation, seconds, dict(self.history.counts), list(self.history.lines))

    # The services, each a process.

    def boot(self, name: str) -> Process:
        """Start a process of ``name``; it is started again when it ends for want of its database or its log."""
        process = Process(name)
        self.processes[name] = process
        self.history.note("boot", name)
        self.loop.start(process, self._serve(process), name)
        return process

    def kill(self, name: str) -> None:
        self.history.note("kill", name)
        self.processes[name].kill()

    async def _serve(self, process: Process) -> None:
        try:
            if process.name == "imaging":
                await self._serve_imaging(process)
            else:
                await self._service(process.name).serve(lambda: self.history.note("ready", process.name))
        except BaseException as error:  # noqa: BLE001 - judged by what it is
            if self._ended:
                return
            if not _only_unavailable(error):
                self.fail(Violation("services_stand", f"{process.name} ended with {error!r}"))
                return
        await asyncio.sleep(1.0)
        if not self._ended:
            process.kill()
            if self.processes[process.name] is process:
                self.loop.call_soon(self.boot, process.name, context=contextvars.Context())

    def _service(self, name: str) -> Service:
        platform = self.platform
        match name:
            case "ingest":
                return build_ingest(IngestSettings(mllp_port=MLLP_PORT, grpc_port=None), platform)
            case "workflow":
                installed = {(one.name, one.version): algorithm_of(one) for one in self.packages}
                return WorkflowService(WorkflowSettings(look_seconds=5), platform, installed)
            case "inference":
                workers = SimulatedWorkers(self.packages, self._chance(f"workers {self.loop.time()}"), self._died)
                return InferenceService(InferenceSettings(grpc_port=None, workers=2), platform, self.packages, workers)
            case "integration":
                packages = {(one.name, one.version): one for one in self.packages}
                return IntegrationService(platform, packages, self.hospital)
            case _:
                settings = LedgerSettings(grpc_port=None, watch_seconds=10, undelivered_seconds=300)
                self.ledger = LedgerService(settings, platform, sorted(one.name for one in self.packages))
                return self.ledger

    async def _serve_imaging(self, process: Process) -> None:
        async with open_storage(self.platform) as storage:
            self.door.storage, self.door.process = storage, process
            self.history.note("ready", "imaging")
            await asyncio.get_running_loop().create_future()

    # A life.

    async def _live(self) -> None:
        await self.ris.start(RIS_PORT)
        for name in SERVICES:
            self.boot(name)
        await self._policy("alpha", 1, "live")
        await self._policy("beta", 1, "silent")
        faults = Faults(self, self._chance("faults"))
        work = [*self._senders(), self._policies(), faults.befall()]
        tasks = [asyncio.create_task(self._watched(one)) for one in work]
        told = asyncio.create_task(asyncio.wait(tasks))
        failed: asyncio.Future[Any] = self._failed
        await asyncio.wait([told, failed], timeout=_DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        self._raise()
        if not told.done():
            raise Violation("senders_are_answered", "somebody still waits for an acknowledgement")
        faults.end()
        until = self.loop.time() + _DEADLINE
        while self.judge.unfinished() and self.loop.time() < until:
            await asyncio.sleep(2.0)
            self._raise()
        self.judge.verdict()
        await self._adds_up()
        self._raise()

    def _senders(self) -> list[Any]:
        chance = self._chance("senders")
        feeds: list[list[Any]] = [[] for _ in range(FEEDS)]
        for telling in self.story.tellings:
            delayed = replace(telling, at=telling.at + chance.random() * chance.choice((0.0, 0.0, 6.0)))
            feeds[chance.randrange(FEEDS)].append(delayed)
        devices: list[list[Any]] = [[], []]
        for image in self.story.images:
            devices[chance.randrange(2)].append(image)
        sending = [
            feed(MLLP_PORT, sorted(one, key=lambda telling: telling.at), self.judge, self._chance(f"feed {n}"), 0.1)
            for n, one in enumerate(feeds)
        ]
        sending += [
            modality(self.loop, self.door, one, self.judge, self._chance(f"modality {n}"), 0.15)
            for n, one in enumerate(devices)
        ]
        return sending

    async def _policies(self) -> None:
        await asyncio.sleep(SPREAD / 2)
        await self._policy("beta", 2, "live")

    async def _policy(self, algorithm: str, revision: int, state: str) -> None:
        package = next(one for one in self.packages if one.name == algorithm)
        policy = Policy(
            algorithm=algorithm,
            algorithm_version=package.version,
            package_digest=package.digest,
            state=state,
            revision=revision,
        )
        policy.at.FromDatetime(self.clock.now())
        event = event_of(topics.POLICIES, algorithm, policy, f"policy-{algorithm}-{revision}", self.clock.now())
        while True:
            with suppress(Unavailable):
                await self.log.append([event])
                return
            await asyncio.sleep(0.5)

    async def _adds_up(self) -> None:
        assert self.ledger is not None
        receipts = [*self.ris.receipts, *self.hospital.ehr.receipts, *self.hospital.pacs.receipts]
        heard = [Heard(one.peer, one.kind, one.identity, one.sha256, one.outcome) for one in receipts]
        if self.ledger.desk is None:
            raise Violation("ledger_adds_up", "the ledger does not answer")
        found = await self.ledger.desk.reconcile(heard)
        for check in found.checks:
            if not check.holds:
                raise Violation(f"ledger:{check.name}", check.detail)

    async def _watched(self, work: Any) -> None:
        try:
            await work
        except Violation as found:
            self.fail(found)
        except Exception as error:  # noqa: BLE001 - a defect of the world itself must not pass for its end
            self.fail(Violation("the_world_stands", repr(error)))

    # What others tell it.

    def fail(self, violation: Violation) -> None:
        if not self._failed.done():
            self._failed.set_exception(violation)

    def _raise(self) -> None:
        if self._failed.done():
            self._failed.result()

    def _durable(self, event: Event) -> None:
        self._judged(lambda: self.judge.durable(event))

    def _judged(self, judge: Callable[[], None]) -> None:
        """What a judge raises must end the world, and not whoever happened to call."""
        try:
            judge()
        except Violation as found:
            self.fail(found)
        except Exception as error:  # noqa: BLE001 - as above
            self.fail(Violation("the_world_stands", repr(error)))

    def _grace(self) -> float:
        began, ended = self.stood_still
        return ended - began if self.loop.time() < ended + 10 else 0.0

    def _held(self, key: str) -> bytes | None:
        return self.objects.held(key)

    def _peer(self, name: str) -> SimulatedPeer:
        return SimulatedPeer(name, Receipts(name, now=self.clock.now), self.manners[name], self._at_peer)

    def _at_ris(self, payload: bytes) -> None:
        self.history.note("ris", hashlib.sha256(payload).hexdigest()[:16])
        self._judged(lambda: self.judge.at_ris(payload))

    def _at_peer(self, name: str, record: DeliveryRecord, data: bytes) -> None:
        self.history.note(name, record.id, hashlib.sha256(data).hexdigest()[:16])
        self._judged(lambda: self.judge.at_peer(record.id, record.result_id, data))

    def _bury(self) -> None:
        """Let every task end, the killed ones too, where nothing can be seen or changed any more."""
        self._ended = True
        self._failed.cancel()
        with suppress(asyncio.CancelledError, Violation):
            self._failed.exception()
        for process in self.loop.processes:
            process.alive = True
            process.go_on(self.loop)
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=600))
        self.databases.close()
        asyncio.set_event_loop(None)
        self.loop.close()


@cache
def packages() -> tuple[ModelPackage, ...]:
    """Two that look at the same studies: alpha asks for S, beta for A."""
    phantom = next(one for one in load_all(packages_folder()) if one.name == "pneumothorax-phantom")
    beta = [one.model_copy(update={"priority": type(one.priority)("A")}) for one in phantom.findings if one.priority]
    return (
        phantom.model_copy(update={"name": "alpha", "digest": "a" * 64}),
        phantom.model_copy(update={"name": "beta", "digest": "b" * 64, "findings": tuple(beta)}),
    )


def _only_unavailable(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_only_unavailable, error.exceptions))
    return isinstance(error, Unavailable)
