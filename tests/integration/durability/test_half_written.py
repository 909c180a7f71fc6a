"""What was half written when the process was killed does not stay: the next start removes it."""

import asyncio
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.peers


async def test_the_start_after_a_kill_removes_half_written_objects(tmp_path: Path, start) -> None:
    state = tmp_path / "state"
    async with start(state, "imaging") as system:
        assert await system.over_dicom(1) == 0
        [stored] = (state / "objects" / "instances").rglob("*.dcm")
        left = stored.with_name(f"1.2.3.2.dcm.{system.hilum.pid}-7.partial")
        left.write_bytes(stored.read_bytes()[:1000])
        await system.hilum.kill()
    async with start(state, "imaging") as system:
        until = time.monotonic() + 10
        while left.exists() and time.monotonic() < until:
            await asyncio.sleep(0.05)
        assert not left.exists()
        assert stored.exists()
        assert await system.over_dicom(1) == 0
        assert await system.hilum.stop() == 0
