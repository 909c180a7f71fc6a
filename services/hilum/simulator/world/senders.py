"""Who tells Hilum: the RIS's feeds, and a modality. Neither gives up, and both now and then say a thing twice."""

import asyncio
from random import Random
from typing import Protocol

from hilum.errors import HilumError
from hilum.imaging.app import Storage
from hilum.imaging.domain import Arrival, PutAside
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.world.loop import Process, SimulatedLoop
from hilum.simulator.world.story import Imaging, Telling

_PATIENT = 1_000_000  # attempts
_ANSWER_SECONDS = 5.0


class Witness(Protocol):
    """Who is told what a sender was told."""

    def acknowledged(self, telling: Telling, code: str) -> None: ...

    def stored(self, arrival: Arrival) -> None: ...

    def put_aside(self, arrival: Arrival) -> None: ...


async def feed(port: int, tellings: list[Telling], witness: Witness, chance: Random, again: float) -> None:
    """Send each message at its time, over one connection that is made anew when it breaks."""
    link = Hl7Feed("127.0.0.1", port, answer_seconds=_ANSWER_SECONDS, retry_seconds=0.5, attempts=_PATIENT)
    loop = asyncio.get_running_loop()
    for telling in tellings:
        await asyncio.sleep(max(0.0, telling.at - loop.time()))
        for _ in range(2 if chance.random() < again else 1):
            sent = await link.send(telling.message_control_id, telling.payload)
            assert sent.answer is not None
            witness.acknowledged(telling, sent.answer.code)
    await link.close()


class Door:
    """Where the modality finds imaging: the storage of the process that runs now, if one does."""

    def __init__(self) -> None:
        self.storage: Storage | None = None
        self.process: Process | None = None


async def modality(
    loop: SimulatedLoop, door: Door, images: list[Imaging], witness: Witness, chance: Random, again: float
) -> None:
    """Send each image at its time; one without an answer is sent again until it has one."""
    for image in images:
        await asyncio.sleep(max(0.0, image.at - loop.time()))
        for _ in range(2 if chance.random() < again else 1):
            while not await _store(loop, door, image.arrival, witness):  # noqa: ASYNC110 - the modality's own patience
                await asyncio.sleep(0.5)


async def _store(loop: SimulatedLoop, door: Door, arrival: Arrival, witness: Witness) -> bool:
    storage, process = door.storage, door.process
    if storage is None or process is None or not process.alive:
        return False
    answer: asyncio.Future[str] = loop.create_future()

    async def receive() -> None:
        try:
            await storage.store(arrival)
            said = "stored"
        except PutAside:
            said = "put aside"
        except HilumError:
            said = ""
        if not answer.done():
            answer.set_result(said)

    loop.start(process, receive(), "association")
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            said = await answer
    except TimeoutError:
        return False
    if said == "stored":
        witness.stored(arrival)
    elif said:
        witness.put_aside(arrival)
    return bool(said)
