"""What inference needs: workers that hold the engines, and a durable queue of tasks."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from hilum.inference.domain import Finding, Input, Task
from hilum.inference.engines.port import Tensor, TensorSpec


class ModelKey(NamedTuple):
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model as the workers hold it."""

    key: ModelKey
    engine: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class ReadImages:
    """Read these images with one model; maps are stored under ``result_id``."""

    model: ModelKey
    result_id: str
    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class InferTensors:
    """Run one model on tensors as they are."""

    model: ModelKey
    tensors: Mapping[str, Tensor]
    outputs: tuple[str, ...]


class WorkerDied(Exception):
    """The worker process ended, or was ended for taking too long, with a job in hand."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Lease(Protocol):
    """One worker, for one job at a time."""

    async def read(self, job: ReadImages) -> Sequence[Finding]:
        """Raises StepFailed, Unavailable (an object store that is away), or WorkerDied."""

    async def infer(self, job: InferTensors) -> Mapping[str, Tensor]:
        """Raises Rejected for tensors that do not fit, Fault when the engine fails, or WorkerDied."""


class Workers(Protocol):
    """A bounded number of worker processes; who waits is served in turn."""

    @property
    def models(self) -> Mapping[ModelKey, LoadedModel]:
        """What every worker has loaded."""

    @property
    def free(self) -> int:
        """How many could be leased at once."""

    def lease(self, *, at_most_waiting: int | None = None) -> AbstractAsyncContextManager[Lease]:
        """A free worker. Raises Overloaded when more than ``at_most_waiting`` wait already."""


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task in hand; ``headers`` carry the trace it belongs to, ``deaths`` how many workers it has cost."""

    task: Task
    headers: Mapping[str, str]
    deaths: int


HELD_FOR = timedelta(minutes=5)
"""How long a task may be in one hand, where nobody says otherwise."""


class TaskQueue(Protocol):
    """The durable queue, in one transaction."""

    def add(self, queued: QueuedTask) -> bool:
        """False when the task is known already, waiting or done."""

    def claim(self, holder: str, now: datetime, held_for: timedelta = HELD_FOR) -> QueuedTask | None:
        """The task that ``holder`` has in hand already, else the most urgent that waits; now in its hand.

        One that was in another's hand for longer than was asked for waits again: its holder died, or stands still.
        """

    def give_back(self, task_id: str, holder: str, *, died: bool) -> None:
        """It waits again, where it is in the hand of ``holder``; ``died`` counts one more worker that it has cost."""

    def finish(self, task_id: str, now: datetime) -> bool:
        """It is done; False when it was before. What is left of it only tells that it is done."""

    def recover(self) -> None:
        """What was in hand when the process ended waits again."""

    def forget(self, done_before: datetime) -> None:
        """Drop what was done long ago."""
