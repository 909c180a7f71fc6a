"""`hilum.clock.Clock` and `hilum.ids.Ids` of the seeded world: each process reads its own clock, which may step."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from random import Random

from hilum.simulator.world.loop import CURRENT, SimulatedLoop

BEGINNING = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)


class SimulatedClock:
    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        process = CURRENT.get()
        offset = process.clock_offset if process is not None else 0.0
        return BEGINNING + timedelta(seconds=self._loop.time() + offset)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SeededIds:
    """Random identities that are the same for the same seed."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def new(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
