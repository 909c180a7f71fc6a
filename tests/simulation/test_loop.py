"""The loop of the seeded world: its time, its processes, its threads that are none."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random

import pytest

from hilum.simulator.world.loop import Process, SimulatedLoop


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    loop = SimulatedLoop(Random(1))
    yield loop
    loop.close()


def ticking(loop: SimulatedLoop, told: list[float]) -> Callable[[], Awaitable[None]]:
    async def tick() -> None:
        try:
            while True:
                await asyncio.sleep(1)
                told.append(loop.time())
        finally:
            told.append(-1.0)

    return tick


def test_time_moves_to_what_is_due_and_nobody_waits(loop: SimulatedLoop) -> None:
    loop.run_until_complete(asyncio.sleep(86_400))
    assert loop.time() == 86_400


def test_a_world_in_which_nothing_can_happen_any_more_is_told(loop: SimulatedLoop) -> None:
    with pytest.raises(RuntimeError, match="stands still"):
        loop.run_until_complete(loop.create_future())


def test_a_killed_process_runs_nothing_more_not_even_its_finally(loop: SimulatedLoop) -> None:
    told: list[float] = []
    process = Process("one")

    async def life() -> None:
        loop.start(process, ticking(loop, told)())
        await asyncio.sleep(2.5)
        process.kill()
        await asyncio.sleep(10)

    loop.run_until_complete(life())
    assert told == [1.0, 2.0]
    process.alive = True  # else its coroutine is collected unfinished
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    process.go_on(loop)
    loop.run_until_complete(asyncio.wait(left))


def test_a_paused_process_goes_on_where_it_stood(loop: SimulatedLoop) -> None:
    told: list[float] = []
    process = Process("one")

    async def life() -> None:
        task = loop.start(process, ticking(loop, told)())
        await asyncio.sleep(1.5)
        process.paused = True
        await asyncio.sleep(5)
        process.go_on(loop)
        await asyncio.sleep(1.2)
        task.cancel()
        await asyncio.wait({task})

    loop.run_until_complete(life())
    assert told == [1.0, 6.5, 7.5, -1.0]


def test_what_a_process_starts_is_of_it(loop: SimulatedLoop) -> None:
    told: list[float] = []
    process = Process("one")

    async def parent() -> None:
        asyncio.get_running_loop().create_task(child())

    async def child() -> None:
        await asyncio.sleep(1)
        told.append(loop.time())

    async def life() -> None:
        loop.start(process, parent())
        await asyncio.sleep(0.5)
        process.kill()
        await asyncio.sleep(5)
        process.alive = True
        process.go_on(loop)
        await asyncio.sleep(0)

    loop.run_until_complete(life())
    assert told == [5.5]


def test_threads_work_later_and_one_thread_in_its_order(loop: SimulatedLoop) -> None:
    from concurrent.futures import ThreadPoolExecutor

    told: list[int] = []
    with ThreadPoolExecutor(1) as one:

        async def life() -> None:
            await asyncio.gather(*(loop.run_in_executor(one, told.append, number) for number in range(50)))

        loop.run_until_complete(life())
    assert told == list(range(50))
    assert loop.time() > 0
