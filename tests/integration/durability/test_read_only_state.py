"""State that takes no writes: at a start it is said in one line; under a running process senders are told to wait."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.accounts import logged
from peers.volumes import Volume, disk_volume, memory_volume

pytestmark = pytest.mark.peers

OUT_OF_RESOURCES = 0xA700  # PS3.4 B.2.3
FREE_PORTS = ("--mllp-port", "0", "--http-port", "0", "--grpc-port", "0")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with memory_volume(tmp_path / "volume", 64) as volume:
        yield volume


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Volume]:
    with disk_volume(tmp_path / "disk", 64) as disk:
        yield disk


async def test_a_start_on_read_only_state_ends_with_one_line(volume: Volume, start, command) -> None:
    state = volume.folder / "state"
    async with start(state, "ingest") as system:
        assert await system.hilum.stop() == 0
    volume.remount("ro")
    ended = await command("serve", "ingest", "--state", state, *FREE_PORTS)
    assert ended.status == 2
    assert ended.lines == [f"state_folder: {state} cannot be written: Read-only file system"]


async def test_a_first_start_on_a_read_only_disk_ends_with_one_line(volume: Volume, command) -> None:
    volume.remount("ro")
    ended = await command("serve", "ingest", "--state", volume.folder / "state", *FREE_PORTS)
    assert ended.status == 2
    assert ended.lines == [f"state_folder: {volume.folder / 'state'} cannot be written: Read-only file system"]


async def test_the_ledger_of_read_only_state_can_be_read(volume: Volume, start, command) -> None:
    state = volume.folder / "state"
    async with start(state, "ingest", "ledger") as system:
        assert await system.over_mllp(1) == "AA"
        assert await system.hilum.stop() == 0
    volume.remount("ro")
    ended = await command("ledger", "--state", state, "--json")
    assert (ended.status, ended.lines) == (0, [])


async def test_a_disk_that_turns_read_only_keeps_what_was_acknowledged_and_takes_no_more(disk: Volume, start) -> None:
    state = disk.folder / "state"
    async with start(state, "ingest", "imaging", "ledger") as system:
        assert await system.over_mllp(1) == "AA"
        assert await system.over_dicom(2) == 0
        disk.turn_read_only()
        for number in range(10, 13):
            assert await system.over_mllp(number) == "AR"
            assert await system.over_grpc(number) in ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
            assert await system.over_dicom(number) == OUT_OF_RESOURCES
        assert (await system.hilum.until_ready(False))["troubles"] == {"state": "state_read_only"}
        assert await system.hilum.stop() == 0
    disk.mount_again()
    async with start(state, "ingest", "imaging", "ledger") as system:
        assert await system.over_mllp(10) == "AA"
        assert await system.over_dicom(10) == 0
        assert await system.hilum.stop() == 0
    assert {name for name, _ in await logged(state / "log.db")} == {"M0001", "M0010"}
    assert sorted(path.stem for path in (state / "objects").rglob("*.dcm")) == ["1.2.3.10", "1.2.3.2"]
    assert list((state / "objects").rglob("*.partial")) == []
