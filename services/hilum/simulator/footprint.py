"""How much memory this process and its children hold (Linux, /proc)."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_EVERY_SECONDS = 0.5


def resident_megabytes() -> float:
    """The resident set of this process and of all its descendants, in MB; shared pages count once each process."""
    return sum(_resident(pid) for pid in _tree(os.getpid())) / 1e6


class Peak:
    """The largest footprint seen."""

    def __init__(self) -> None:
        self.megabytes = 0.0


@asynccontextmanager
async def watched_footprint() -> AsyncIterator[Peak]:
    """Look twice a second while the block runs."""
    peak = Peak()

    async def watch() -> None:
        while True:
            peak.megabytes = max(peak.megabytes, await asyncio.to_thread(resident_megabytes))
            await asyncio.sleep(_EVERY_SECONDS)

    task = asyncio.create_task(watch(), name="footprint")
    try:
        yield peak
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    return found


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
