"""What a run that was cut off had half written: objects under a partial name, which nobody will ever finish."""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from hilum.objects.files import PARTIAL

_LOG = logging.getLogger(__name__)
_OTHER_HOST_SECONDS = 60.0  # a writer that we cannot see may be at work on one that is younger


def remove_leftovers(root: Path, started: float) -> int:
    """Remove partial objects under ``root`` whose writers are gone; how many there were. Blocks.

    ``started`` is when this process began to write, in seconds since the epoch.
    """
    removed = 0
    for parent, _, names in os.walk(root):
        for name in names:
            if not name.endswith(PARTIAL):
                continue
            path = Path(parent, name)
            with suppress(OSError):  # finished or removed meanwhile
                if _abandoned(name, path.stat().st_mtime, started):
                    path.unlink()
                    removed += 1
    return removed


def _abandoned(name: str, modified: float, started: float) -> bool:
    """Process identities come again, above all in containers: the time tells whose a name with ours is."""
    writer = name.removesuffix(PARTIAL).rpartition(".")[2].partition("-")[0]
    if writer == str(os.getpid()):
        return modified < started
    alive = writer.isdigit() and Path("/proc", writer).exists()
    return not alive or modified < started - _OTHER_HOST_SECONDS


class Leftovers:
    """`hilum.hosting.Service` that clears up after a run that did not end in order, beside what now runs."""

    name = "leftovers"

    def __init__(self, root: Path, started: datetime, *, wanted: bool) -> None:
        self._root = root
        self._started = started
        self._wanted = wanted

    async def serve(self, ready: Callable[[], None]) -> None:
        ready()
        if self._wanted:
            removed = await asyncio.to_thread(remove_leftovers, self._root, self._started.timestamp())
            if removed:
                _LOG.info("%d half-written objects of a run that was cut off were removed", removed)
        await asyncio.get_running_loop().create_future()
