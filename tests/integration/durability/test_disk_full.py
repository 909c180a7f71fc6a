"""On a full disk: nobody is told that something is kept which is not, the service stays, and goes on by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum.contracts import topics
from hilum.eventlog.sqlite import SqliteEventLog
from peers.volumes import Volume, memory_volume

pytestmark = pytest.mark.peers

OUT_OF_RESOURCES = 0xA700  # PS3.4 B.2.3
SERVICES = ("ingest", "imaging", "ledger")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with memory_volume(tmp_path / "volume", 64) as volume:
        yield volume


def half_written(state: Path) -> list[Path]:
    return list((state / "objects").rglob("*.partial"))


async def test_every_sender_is_told_to_send_again_and_is_served_once_there_is_room(volume: Volume, start) -> None:
    state = volume.folder / "state"
    async with start(state, *SERVICES) as system:
        first = system.hilum.pid
        assert await system.over_mllp(1) == "AA"
        volume.fill()
        for number in range(10, 15):
            assert await system.over_mllp(number) == "AR"
            assert await system.over_grpc(number) in ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
            assert await system.over_dicom(number) == OUT_OF_RESOURCES
        assert half_written(state) == []

        volume.free()
        await system.hilum.until_ready(True)
        for number in range(10, 15):
            assert await system.over_mllp(number) == "AA"
            assert await system.over_grpc(number) == "AA"
            assert await system.over_dicom(number) == 0
        assert half_written(state) == []
        assert system.hilum.pid == first
        assert await system.hilum.stop() == 0
    log = SqliteEventLog(state / "log.db")
    log.open()
    heads = await log.heads([topics.MESSAGES.name, topics.INSTANCES.name, topics.ORDERS.name])
    log.close()
    counted = {topic: sum(head for place, head in heads.items() if place.topic == topic) for topic, _ in heads}
    assert counted == {topics.MESSAGES.name: 11, topics.INSTANCES.name: 5, topics.ORDERS.name: 11}


async def test_room_for_a_message_and_not_for_an_image_serves_the_message(volume: Volume, start) -> None:
    async with start(volume.folder / "state", "ingest", "imaging") as system:
        assert await system.over_mllp(1) == "AA"
        volume.fill(leave_bytes=800_000)
        assert await system.over_dicom(2) == OUT_OF_RESOURCES
        assert half_written(volume.folder / "state") == []
        assert await system.over_mllp(3) == "AA"


async def test_readiness_says_what_is_wrong_and_when_it_is_over(volume: Volume, start) -> None:
    async with start(volume.folder / "state", "ledger") as system:
        assert (await system.hilum.until_ready(True))["troubles"] == {}
        volume.fill()
        told = await system.hilum.until_ready(False)
        assert (told["ready"], told["waiting"], told["troubles"]) == (False, [], {"state": "state_full"})
        volume.free()
        assert (await system.hilum.until_ready(True))["troubles"] == {}
        assert await system.hilum.stop() == 0


async def test_a_start_on_a_full_disk_ends_with_one_line(volume: Volume, start, command) -> None:
    state = volume.folder / "state"
    async with start(state, "ingest") as system:
        assert await system.over_mllp(1) == "AA"
        assert await system.hilum.stop() == 0
    volume.fill()
    ended = await command("serve", "ingest", "--state", state, "--mllp-port", 0, "--http-port", 0, "--grpc-port", 0)
    assert ended.status == 1
    assert len(ended.lines) == 1
    assert ended.lines[0].startswith("state_full: ")
