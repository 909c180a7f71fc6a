"""The object store of the seeded world: what was put is safe once `put` has returned, and not before."""

from collections.abc import Iterator
from random import Random

from hilum.errors import Fault, Unavailable
from hilum.objects.port import StoredObject
from hilum.simulator.world.history import History


class SimulatedObjects:
    """`hilum.objects.port.Objects`. A put that fails may have left its object behind, whole; never a part of it."""

    def __init__(self, chance: Random, history: History) -> None:
        self._chance = chance
        self._history = history
        self.refuses = 0.0
        self._held: dict[str, bytes] = {}

    def put(self, key: str, data: bytes | memoryview) -> None:
        if self._chance.random() < self.refuses:
            if self._chance.random() < 0.5:
                self._held[key] = bytes(data)
            raise Unavailable("objects_unavailable", "an object was not stored")
        self._held[key] = bytes(data)
        self._history.note("put", key)

    def get(self, key: str) -> bytes:
        if self._chance.random() < self.refuses:
            raise Unavailable("objects_unavailable", "an object was not read")
        try:
            return self._held[key]
        except KeyError:
            raise Fault("object_missing", "the object store does not hold what an event refers to") from None

    def held(self, key: str) -> bytes | None:
        """What lies there, without a fault; for whoever judges."""
        return self._held.get(key)

    def exists(self, key: str) -> bool:
        return key in self._held

    def delete(self, key: str) -> None:
        self._held.pop(key, None)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for key in sorted(self._held):
            if key.startswith(prefix):
                yield StoredObject(key, len(self._held[key]))
