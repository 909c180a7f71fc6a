"""The engines of the seeded world: what they say follows from the study."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random

from hilum.errors import Unavailable
from hilum.inference.domain import Finding, State
from hilum.inference.engines.port import Tensor
from hilum.inference.ports import InferTensors, Lease, LoadedModel, ModelKey, ReadImages, WorkerDied
from hilum.packages import ModelPackage
from hilum.simulator.world.story import positive


class SimulatedWorkers:
    """`hilum.inference.service.WorkerProcesses`: what an engine says follows from the study; a worker may die.

    It does so once for a result at most (``died``): the second time would end its task as failed.
    """

    def __init__(self, packages: Sequence[ModelPackage], chance: Random, died: set[str]) -> None:
        self._died = died
        self.models = {
            ModelKey(one.name, one.version): LoadedModel(ModelKey(one.name, one.version), "simulated", (), ())
            for one in packages
        }
        self._findings = {one.name: one.findings[0] for one in packages}
        self._chance = chance
        self._free = asyncio.Semaphore(2)

    @property
    def free(self) -> int:
        return 0 if self._free.locked() else 1

    async def start(self) -> None:
        """They are there."""

    async def close(self) -> None:
        """They go with the process."""

    @asynccontextmanager
    async def lease(self, *, at_most_waiting: int | None = None) -> AsyncIterator[Lease]:  # noqa: ARG002 - nobody else
        async with self._free:
            yield self

    async def read(self, job: ReadImages) -> Sequence[Finding]:
        await asyncio.sleep(0.05 + self._chance.random() * 0.2)
        if self._chance.random() < 0.05 and job.result_id not in self._died:
            self._died.add(job.result_id)
            raise WorkerDied("by chance")
        finding = self._findings[job.model.name]
        present = positive(job.model.name, job.inputs[0].object_key.split("/")[1])
        return (
            Finding(
                finding.id,
                State.PRESENT if present else State.ABSENT,
                0.9 if present else 0.1,
                finding.threshold,
                job.inputs[0].sop_instance_uid,
            ),
        )

    async def infer(self, job: InferTensors) -> Mapping[str, Tensor]:
        raise Unavailable("engine_lost", f"{job.model.name} reads images alone here")
