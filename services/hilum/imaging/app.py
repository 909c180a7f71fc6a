"""Storing an instance: the object durable, then its event durable, then the answer (PS3.4 B.2.3 through errors)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hilum.imaging.domain import (
    Arrival,
    Decision,
    Held,
    PutAside,
    Refusal,
    decide,
    object_key,
    quarantine_key,
    refusal_key,
)
from hilum.imaging.ports import Arguments, Index, Journal, Objects, Waiting

CONFLICT = "sop_instance_conflict"


class Storage:
    """The use cases of imaging; instances of different UIDs are stored side by side."""

    def __init__(self, objects: Objects, index: Index, journal: Journal, waiting: Waiting | None = None) -> None:
        """Runs on one event loop, unless ``waiting`` and the ports allow something else."""
        self._objects = objects
        self._index = index
        self._journal = journal
        self._waiting = waiting or OnOneLoop()

    async def store(self, arrival: Arrival) -> Decision:
        """Hold ``arrival``. On return its bytes and its event are durable: now, or since an identical one came.

        Raises:
            PutAside: ``sop_instance_conflict``; another data set holds the UID. This one is in quarantine, durably.
            Unavailable, Overloaded: nothing may be taken for stored; the same bytes may come again.
        """
        await self._index.make_room()
        async with self._waiting.turn(arrival.sop_instance_uid):
            decision = decide(arrival.sha256, await self._index.held(arrival.sop_instance_uid))
            if decision is Decision.STORE:
                await self._keep(arrival, object_key(arrival), arrival.reason, quarantined=False)
            elif decision is Decision.QUARANTINE:
                await self._keep(arrival, quarantine_key(arrival), CONFLICT, quarantined=True)
        if decision in (Decision.QUARANTINE, Decision.KNOWN_QUARANTINED):
            text = "another data set holds this SOP Instance UID; it is kept, this one put aside"
            raise PutAside(CONFLICT, text, self._journal.identity(arrival))
        return decision

    async def refuse(self, refusal: Refusal) -> str:
        """Keep what cannot be stored, as a dead letter with its reason; returns the identity of its event.

        Raises `Unavailable` when it cannot be kept.
        """
        key = refusal_key(refusal)
        await self._waiting.blocking(self._objects.put, key, refusal.file)
        return await self._journal.refused(refusal, key)

    async def _keep(self, arrival: Arrival, key: str, reason: str, *, quarantined: bool) -> None:
        await self._waiting.blocking(self._objects.put, key, arrival.file)
        await self._journal.stored(arrival, key, reason)
        self._index.note(arrival.sop_instance_uid, Held(arrival.sha256, quarantined))


class OnOneLoop:
    """`hilum.imaging.ports.Waiting` on one event loop."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    async def blocking(
        self, work: Callable[Arguments, None], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> None:
        await asyncio.to_thread(work, *arguments, **named)

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        turn = self._turns.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[key]


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
