"""What befalls a seeded world, each thing at a time and for a while that chance decides; then it is calm."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

from hilum.simulator.world.story import SPREAD

if TYPE_CHECKING:
    from hilum.simulator.world.world import World

_LASTS = SPREAD + 40.0
_APART = 4.0  # seconds between two faults, about


class Faults:
    def __init__(self, world: "World", chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._kinds: list[Callable[[], Awaitable[None]]] = [
            self._crash,
            self._crash,
            self._zombie,
            self._power_failure,
            self._log_away,
            self._log_unsure,
            self._database_unsure,
            self._objects_unsure,
            self._network_breaks,
            self._bad_peer,
            self._bad_peer,
            self._clock_steps,
            self._slow_process,
        ]

    async def befall(self) -> None:
        """One after another, and now and then several at once."""
        async with asyncio.TaskGroup() as group:
            while self._world.loop.time() < _LASTS:
                await asyncio.sleep(self._chance.expovariate(1 / _APART))
                fault = self._chance.choice(self._kinds)
                self._world.history.note("fault", fault.__name__)
                group.create_task(fault())  # type: ignore[arg-type]

    def end(self) -> None:
        """All is well again; clocks that were put back or forward stay where they are."""
        world = self._world
        world.log.weather.away = False
        world.log.weather.refuses = world.log.weather.answer_lost = 0.0
        world.databases.weather.refuses = world.databases.weather.answer_lost = 0.0
        world.objects.refuses = world.network.weather.breaks = 0.0
        world.network.weather.latency = 0.003
        for manners in world.manners.values():
            manners.wrong, manners.slow = 0.0, 0.01

    def _service(self) -> str:
        return self._chance.choice(sorted(self._world.processes))

    async def _while(self, most: float) -> None:
        await asyncio.sleep(self._chance.random() * most)

    async def _crash(self) -> None:
        name = self._service()
        process = self._world.processes[name]
        if process.paused or not process.alive:
            return
        self._world.kill(name)
        await self._while(3.0)
        if self._world.processes[name] is process:
            self._world.boot(name)

    async def _zombie(self) -> None:
        """A process stands still for so long that another takes its place; then it goes on, and finds out late."""
        name = self._chance.choice(["ingest", "workflow", "inference", "integration", "ledger"])
        world, process = self._world, self._world.processes[name]
        if process.paused or not process.alive:
            return
        process.paused = True
        began = world.loop.time()
        await self._while(4.0)
        alone = name == "ingest" or self._chance.random() < 0.3
        if not alone:
            world.boot(name)
        await self._while(4.0)
        if name == "integration":
            world.stood_still = (began, world.loop.time())
        if process.alive:
            process.go_on(world.loop)
        if not alone:
            await self._while(3.0)
            process.kill()

    async def _power_failure(self) -> None:
        self._world.log.power_failure()
        self._world.log.weather.away = True
        await self._while(1.0)
        self._world.log.weather.away = False

    async def _log_away(self) -> None:
        self._world.log.weather.away = True
        await self._while(4.0)
        self._world.log.weather.away = False

    async def _log_unsure(self) -> None:
        weather = self._world.log.weather
        weather.refuses, weather.answer_lost = 0.1, 0.2
        await self._while(6.0)
        weather.refuses = weather.answer_lost = 0.0

    async def _database_unsure(self) -> None:
        weather = self._world.databases.weather
        weather.refuses, weather.answer_lost = 0.1, 0.1
        await self._while(6.0)
        weather.refuses = weather.answer_lost = 0.0

    async def _objects_unsure(self) -> None:
        self._world.objects.refuses = 0.3
        await self._while(6.0)
        self._world.objects.refuses = 0.0

    async def _network_breaks(self) -> None:
        weather = self._world.network.weather
        weather.breaks, weather.latency = 0.2, 0.2
        await self._while(6.0)
        weather.breaks, weather.latency = 0.0, 0.003

    async def _bad_peer(self) -> None:
        manners = self._world.manners[self._chance.choice(["ris", "ehr", "pacs"])]
        manners.wrong, manners.slow = self._chance.choice([0.3, 0.7, 1.0]), self._chance.choice([0.01, 0.5])
        await self._while(40.0)
        manners.wrong, manners.slow = 0.0, 0.01

    async def _clock_steps(self) -> None:
        process = self._world.processes[self._service()]
        process.clock_offset = self._chance.uniform(-1.0, 1.0)

    async def _slow_process(self) -> None:
        process = self._world.processes[self._service()]
        process.slowness = 20.0
        await self._while(5.0)
        process.slowness = 1.0
