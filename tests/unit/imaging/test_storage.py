"""The use case of storing: its order, its turns, and what is left when a step fails."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from hilum.errors import Overloaded, Rejected, Unavailable
from hilum.imaging.app import OnOneLoop, Storage
from hilum.imaging.domain import Arrival, Decision, Held, PutAside, Refusal

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """Objects, index and journal of one test; ``steps`` in the order in which they took effect."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.fails: set[str] = set()
        self.known: dict[str, list[Held]] = defaultdict(list)

    def put(self, key: str, data: bytes) -> None:
        self._step("put", key)

    async def held(self, sop_instance_uid: str) -> Sequence[Held]:
        await asyncio.sleep(0)
        return tuple(self.known[sop_instance_uid])

    def note(self, sop_instance_uid: str, held: Held) -> None:
        self.known[sop_instance_uid].append(held)

    async def make_room(self) -> None:
        if "room" in self.fails:
            raise Overloaded("index_behind", "")

    async def stored(self, arrival: Arrival, object_key: str, reason: str) -> None:
        await asyncio.sleep(0)
        self._step("event", object_key + (f" {reason}" if reason else ""))

    async def refused(self, refusal: Refusal, object_key: str) -> str:
        self._step("letter", f"{object_key} {refusal.code}")
        return "letter's event"

    def identity(self, arrival: Arrival) -> str:
        return f"event of {arrival.file.decode()}"

    def _step(self, kind: str, what: str) -> None:
        if kind in self.fails:
            raise Unavailable(f"{kind}_failed", "")
        self.steps.append(f"{kind} {what}")


def arrival(content: str = "a", uid: str = "1.2.3", reason: str = "") -> Arrival:
    digest = content.encode() * 32
    return Arrival(uid, "1.2", digest, b"file", "TEST", NOW, b"", reason)


def storage(world: World, waiting: OnOneLoop | None = None) -> Storage:
    return Storage(world, world, world, waiting)


async def test_the_object_comes_before_the_event() -> None:
    world = World()
    assert await storage(world).store(arrival()) is Decision.STORE
    assert world.steps == ["put instances/1.2/1.2.3.dcm", "event instances/1.2/1.2.3.dcm"]


async def test_an_object_that_is_not_durable_is_never_stated() -> None:
    world = World()
    world.fails = {"put"}
    with pytest.raises(Unavailable):
        await storage(world).store(arrival())
    assert world.steps == []


async def test_an_instance_whose_event_failed_is_stored_anew_when_it_comes_again() -> None:
    world = World()
    world.fails = {"event"}
    with pytest.raises(Unavailable):
        await storage(world).store(arrival())
    world.fails = set()
    assert await storage(world).store(arrival()) is Decision.STORE
    assert [step.split()[0] for step in world.steps] == ["put", "put", "event"]


async def test_a_reason_travels_with_the_event() -> None:
    world = World()
    await storage(world).store(arrival(reason="frame_size_disagrees"))
    assert world.steps[-1] == "event instances/1.2/1.2.3.dcm frame_size_disagrees"


async def test_the_same_instance_at_once_is_stored_once() -> None:
    world = World()
    turns = OnOneLoop()
    keeper = storage(world, turns)
    decisions = await asyncio.gather(*(keeper.store(arrival()) for _ in range(8)))
    assert decisions.count(Decision.STORE) == 1
    assert len(world.steps) == 2
    assert not turns._turns


async def test_two_data_sets_of_one_uid_at_once_are_one_stored_and_one_put_aside() -> None:
    world = World()
    keeper = storage(world)
    results = await asyncio.gather(keeper.store(arrival("a")), keeper.store(arrival("b")), return_exceptions=True)
    assert results[0] is Decision.STORE
    assert isinstance(results[1], Rejected)
    assert results[1].code == "sop_instance_conflict"
    aside = f"quarantine/1.2.3/{(b'b' * 32).hex()}.dcm"
    assert world.steps[2:] == [f"put {aside}", f"event {aside} sop_instance_conflict"]


async def test_a_data_set_put_aside_is_not_stated_twice() -> None:
    world = World()
    keeper = storage(world)
    await keeper.store(arrival("a"))
    for _ in range(2):
        with pytest.raises(Rejected):
            await keeper.store(arrival("b"))
    assert len(world.steps) == 4


async def test_what_is_put_aside_names_its_event_the_second_time_too() -> None:
    world = World()
    keeper = storage(world)
    await keeper.store(arrival("a"))
    for _ in range(2):
        with pytest.raises(PutAside) as caught:
            await keeper.store(arrival("b"))
        assert caught.value.event_id == "event of file"


async def test_instances_of_different_uids_do_not_wait_for_each_other() -> None:
    world = World()
    turns = OnOneLoop()
    keeper = storage(world, turns)
    async with turns.turn("1.2.3"):
        held_up = asyncio.create_task(keeper.store(arrival(uid="1.2.3")))
        assert await keeper.store(arrival(uid="1.2.4")) is Decision.STORE
        assert not held_up.done()
    assert await held_up is Decision.STORE


async def test_an_index_that_is_behind_stops_new_work() -> None:
    world = World()
    world.fails = {"room"}
    with pytest.raises(Overloaded, match="index_behind"):
        await storage(world).store(arrival())
    assert world.steps == []


async def test_what_is_refused_is_kept_and_then_stated() -> None:
    world = World()
    refusal = Refusal(b"r" * 32, b"file", "TEST", NOW, "1.2", "1.2.3", "1.2.840.10008.1.2", "uid_missing", "")
    assert await storage(world).refuse(refusal) == "letter's event"
    key = f"quarantine/refused/{(b'r' * 32).hex()}.dcm"
    assert world.steps == [f"put {key}", f"letter {key} uid_missing"]
