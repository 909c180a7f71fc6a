"""The use cases: take tasks in, perform the most urgent, publish one result each; and infer for callers."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from opentelemetry import metrics

from hilum.clock import Clock
from hilum.errors import Duplicate, Fault, Rejected, Unavailable
from hilum.ids import derived_id
from hilum.inference.domain import EngineSpec, Finding, Step, StepFailed, Task, newest
from hilum.inference.engines.port import Tensor
from hilum.inference.ports import (
    HELD_FOR,
    InferTensors,
    Lease,
    LoadedModel,
    ModelKey,
    QueuedTask,
    ReadImages,
    TaskQueue,
    WorkerDied,
    Workers,
)
from hilum.telemetry import span

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_DEATHS = 2  # a task that ends two workers ends as failed:engine
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_LOOK_SECONDS = 5.0  # without news: another process may have heard of a task, and died before it was performed
_KEEP_DONE = timedelta(days=30)
_METER = metrics.get_meter("hilum")
_TASKS = _METER.create_counter("hilum.inference.tasks", description="tasks concluded, by outcome and model")
_SECONDS = _METER.create_histogram("hilum.inference.task.duration", "s", "from claiming a task to its outcome")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task; ``failure`` is None when it resulted."""

    task: Task
    result_id: str
    findings: Sequence[Finding]
    failure: StepFailed | None
    engine: str
    started_at: datetime
    ended_at: datetime


class Transactions(Protocol):
    """One database transaction at a time; ``publish`` is part of it."""

    async def on_queue(self, work: Callable[[TaskQueue], _T]) -> _T: ...

    async def conclude(self, outcome: Outcome) -> None:
        """Finish the task and publish its result, both or neither; nothing when it was finished before."""


def _tell(told: asyncio.Future[QueuedTask | None], queued: QueuedTask | None) -> None:
    if not told.done():
        told.set_result(queued)


class Inference:
    """One core behind the task consumer and the Open Inference Protocol."""

    def __init__(
        self,
        specs: Sequence[EngineSpec],
        workers: Workers,
        transactions: Transactions,
        clock: Clock,
        waiting: int,
        held_for: timedelta = HELD_FOR,
    ) -> None:
        """``waiting`` bounds how many callers may wait for a worker; ``held_for``: longer than any task takes."""
        self._held_for = held_for
        self._specs = {ModelKey(spec.name, spec.version): spec for spec in specs}
        self._workers = workers
        self._transactions = transactions
        self._clock = clock
        self._waiting = waiting
        self._news = asyncio.Event()
        self._idle: dict[str, asyncio.Future[QueuedTask | None]] = {}  # performers that wait, by holder
        self._accepted = 0  # in the transaction that is open

    # Tensors, for callers.

    @property
    def models(self) -> Mapping[ModelKey, LoadedModel]:
        return self._workers.models

    def versions(self, name: str) -> list[str]:
        """The served versions of a model, oldest first; empty when there is no such model."""
        found = {key.version: self._specs[key] for key in self.models if key.name == name}
        ordered: list[str] = []
        while found:
            ordered.insert(0, newest(found))
            del found[ordered[0]]
        return ordered

    def model(self, name: str, version: str) -> LoadedModel:
        """A served model, its newest version when none is named; Rejected ``model_unknown`` or ``version_unknown``."""
        versions = self.versions(name)
        if not versions:
            raise Rejected("model_unknown", "no model of that name is served")
        if version and version not in versions:
            raise Rejected("version_unknown", "that version of the model is not served")
        return self.models[ModelKey(name, version or versions[-1])]

    async def infer(
        self, model: LoadedModel, tensors: Mapping[str, Tensor], outputs: Sequence[str]
    ) -> Mapping[str, Tensor]:
        """Raises Rejected, Overloaded (too many wait), Unavailable (the worker ended) or Fault."""
        known = [spec.name for spec in model.outputs]
        unknown = [name for name in outputs if name not in known]
        if unknown:
            raise Rejected("tensor_name", f"the outputs are {', '.join(known)}")
        job = InferTensors(model.key, tensors, tuple(outputs) or tuple(known))
        try:
            async with self._workers.lease(at_most_waiting=self._waiting) as lease:
                return await lease.infer(job)
        except WorkerDied as error:
            raise Unavailable("engine_lost", "the engine's process ended; it is being started again") from error

    # Tasks.

    def accept(self, queue: TaskQueue, task: Task, headers: Mapping[str, str]) -> None:
        """Put a task in the queue, in the consumer's transaction; Duplicate when it is known."""
        if not queue.add(QueuedTask(task, headers, 0)):
            raise Duplicate("task_known", "the task is queued or done")
        self._accepted += 1

    def assign(self, queue: TaskQueue, when_committed: Callable[[Callable[[], None]], None]) -> None:
        """Give what was accepted in this transaction to performers that wait, as long as there are workers for them."""
        accepted, self._accepted = self._accepted, 0
        idle = list(self._idle.items())[: self._workers.free]
        for holder, told in idle[:accepted]:
            queued = queue.claim(holder, self._clock.now(), self._held_for)
            if queued is not None:
                when_committed(partial(_tell, told, queued))
        if accepted > len(idle):
            when_committed(self.wake)

    def wake(self) -> None:
        """There may be something to perform."""
        self._news.set()
        for told in self._idle.values():
            _tell(told, None)

    async def recover(self) -> None:
        """At start: what was in hand waits again, and what was done long ago is forgotten."""
        await self._transactions.on_queue(lambda queue: queue.recover())
        await self._transactions.on_queue(lambda queue: queue.forget(self._clock.now() - _KEEP_DONE))

    async def perform(self, holder: str) -> None:
        """Perform tasks, the most urgent first, until cancelled; run one of these a worker.

        ``holder`` is this performer's and no other's: a task that it was given and did not hear of is still its own.
        A worker is leased before a task is chosen, so that what arrives meanwhile can still go first.
        """
        failures, given = 0, None
        while True:
            async with self._workers.lease() as lease:
                queued = given or await self._claimed(holder)
                done = queued is None or await self._one(lease, queued, holder)
            given = None
            if queued is None:
                given = await self._given(holder)
            elif done:
                failures = 0
                self.wake()  # another performer may be waiting while tasks remain
            else:
                await self._clock.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
                failures += 1

    async def _claimed(self, holder: str) -> QueuedTask | None:
        def claim(queue: TaskQueue) -> QueuedTask | None:
            return queue.claim(holder, self._clock.now(), self._held_for)

        self._news.clear()
        return await self._transactions.on_queue(claim)

    async def _given(self, holder: str) -> QueuedTask | None:
        """Wait for news; the task, where it was given to this performer at once."""
        if self._news.is_set():
            return None
        told: asyncio.Future[QueuedTask | None] = asyncio.get_running_loop().create_future()
        self._idle[holder] = told
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                return await told
        except TimeoutError:
            return None  # a task that was given at this very moment is claimed next: it is its own
        finally:
            del self._idle[holder]

    async def _one(self, lease: Lease, queued: QueuedTask, holder: str) -> bool:
        """Perform one task to its conclusion; False when it went back to the queue."""
        task = queued.task
        attributes = {"hilum.task_id": task.task_id, "hilum.algorithm": task.algorithm}
        with span("inference.task", headers=queued.headers, attributes=attributes):
            started = self._clock.now()
            result_id = derived_id("result", task.task_id)
            key = ModelKey(task.algorithm, task.algorithm_version)
            findings: Sequence[Finding] = ()
            failure: StepFailed | None = None
            try:
                self._check_package(task)
                findings = await lease.read(ReadImages(key, result_id, task.inputs))
            except StepFailed as error:
                failure = error
            except Unavailable as error:
                _LOG.warning("a task waits: %s", error.code)
                await self._transactions.on_queue(lambda queue: queue.give_back(task.task_id, holder, died=False))
                return False
            except WorkerDied as error:
                _LOG.warning("a worker ended with a task in hand: %s", error.reason)
                if queued.deaths + 1 < _DEATHS:
                    await self._transactions.on_queue(lambda queue: queue.give_back(task.task_id, holder, died=True))
                    return False
                failure = StepFailed(Step.ENGINE, error.reason, "the task ended every worker that took it")
            except Fault as error:
                failure = StepFailed(Step.ENGINE, error.code, error.text)
            if failure is not None:
                _LOG.warning("a task failed at %s: %s", failure.step, failure.code)
            loaded = self.models.get(key)
            engine = loaded.engine if loaded else ""
            outcome = Outcome(task, result_id, findings, failure, engine, started, self._clock.now())
            await self._transactions.conclude(outcome)
            labels = {"algorithm": task.algorithm, "outcome": f"failed:{failure.step}" if failure else "resulted"}
            _TASKS.add(1, labels)
            _SECONDS.record((outcome.ended_at - started).total_seconds(), labels)
        return True

    def _check_package(self, task: Task) -> None:
        spec = self._specs.get(ModelKey(task.algorithm, task.algorithm_version))
        if spec is None:
            raise StepFailed(Step.PACKAGE, "model_unknown", "the model is not installed here")
        if task.package_digest and task.package_digest != spec.digest:
            raise StepFailed(Step.PACKAGE, "digest_differs", "another content of this version is installed here")
