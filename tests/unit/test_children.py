"""Child processes: whoever goes away while one is being started leaves nothing behind, and nothing that hangs."""

import asyncio
import os
from pathlib import Path

import pytest

from hilum.errors import Unavailable
from hilum.inference.adapters.wire import WorkerSetup
from hilum.inference.adapters.workers import Worker, WorkerPool
from hilum.inference.ports import InferTensors, ModelKey
from hilum.integration.adapters.render_jobs import ImageJob
from hilum.integration.adapters.render_worker import Setup
from hilum.integration.adapters.renderer import Renderer

MEMORY = 2**31
# Turns of the event loop after which it is interrupted: before, amid and after the start of its process.
STEPS = range(1, 7)


def left_behind() -> set["asyncio.Task[object]"]:
    return asyncio.all_tasks() - {asyncio.current_task()}


def processes() -> set[int]:
    """Our children that still run, or that nobody has waited for."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(after_name[1]) == os.getpid():
            found.add(int(path.parent.name))
    return found


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("steps", STEPS)
async def test_a_renderer_that_is_closed_while_its_process_is_being_started_leaves_nothing(
    tmp_path: Path, steps: int
) -> None:
    before = processes()
    renderer = Renderer(Setup(str(tmp_path), MEMORY), 30.0)
    job: ImageJob = object()  # type: ignore[assignment]  # it is never read
    asking = asyncio.create_task(renderer.render(job))
    await turns(steps)
    asking.cancel()
    async with asyncio.timeout(20):
        await renderer.close()
        await asyncio.gather(asking, return_exceptions=True)
    assert left_behind() == set()
    assert processes() <= before
    with pytest.raises(Unavailable):
        await renderer.render(job)


@pytest.mark.parametrize("steps", STEPS)
async def test_a_worker_that_is_closed_while_its_process_is_being_started_leaves_nothing(
    tmp_path: Path, steps: int
) -> None:
    before = processes()
    worker = Worker(WorkerSetup((), str(tmp_path), 1, MEMORY), 30.0)
    asking = worker.begin(InferTensors(ModelKey("none", "1.0.0"), {}, ()))
    await turns(steps)
    async with asyncio.timeout(20):
        await worker.close()
    assert asking.done()
    assert isinstance(asking.exception(), Exception)
    assert left_behind() == set()
    assert processes() <= before


async def test_a_pool_that_is_cancelled_while_it_starts_ends_what_it_began(tmp_path: Path) -> None:
    before = processes()
    pool = WorkerPool(WorkerSetup((), str(tmp_path), 1, MEMORY), 2, 30.0)
    starting = asyncio.create_task(pool.start())
    async with asyncio.timeout(20):
        while not pool.pids:
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    assert starting.cancelled()
    assert left_behind() == set()
    assert processes() <= before
