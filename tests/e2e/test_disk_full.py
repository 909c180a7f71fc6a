"""The disk fills up again and again under load: the service waits, goes on by itself, and everything adds up."""

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from hilum.simulator.examinations import phantom_examinations
from hilum.simulator.hospital import simulated_hospital
from peers.accounts import assert_accounted_for
from peers.hilum_process import HilumProcess
from peers.load import Load
from peers.volumes import Volume, memory_volume

FILLINGS = 2
# Room that is left: none, and enough for a message but not for an image.
LEFT_BYTES = (0, 1_000_000)
SETTLING_SECONDS = 90.0


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with memory_volume(tmp_path / "volume", 512) as volume:
        yield volume


@pytest.mark.timeout(300)
# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_disk_that_is_full_for_a_while_costs_time_and_nothing_else(tmp_path: Path, volume: Volume) -> None:
    async with simulated_hospital(tmp_path / "hospital") as hospital:
        site = tmp_path / "site.yaml"
        site.write_text(yaml.safe_dump(hospital.site()))
        hilum = HilumProcess(volume.folder / "state", site, tmp_path / "hilum.log")
        drawn = phantom_examinations(200, datetime.now(UTC), seed=time.time_ns() % 1_000_000)
        load = Load(hilum, [one for one in drawn if one.ordered and one.truth is not None], lanes=2)
        chance = random.Random(0)
        try:
            await hilum.start()
            first = hilum.pid
            load.start(hospital, every_seconds=0.4)
            for number in range(FILLINGS):
                await asyncio.sleep(chance.uniform(2.0, 4.0))
                await asyncio.to_thread(volume.fill, LEFT_BYTES[number])
                await asyncio.sleep(chance.uniform(2.0, 4.0))
                volume.free()
                load.check()
            await load.stop()
            assert load.examinations >= FILLINGS
            assert hilum.pid == first
            await assert_accounted_for(hilum, hospital, load, SETTLING_SECONDS)
        finally:
            await load.give_up()
            hilum.end()
        assert "unexpected" not in hilum.log.read_text()
