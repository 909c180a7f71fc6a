"""Whether the state folder takes writes: asked every few seconds, told at /readyz.

The answer of the moment to each sender does not depend on it: what cannot be kept is refused as it comes.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

from opentelemetry import metrics

from hilum.clock import Clock

_LOG = logging.getLogger(__name__)
_UNWRITABLE = metrics.get_meter("hilum").create_up_down_counter(
    "hilum.state.unwritable", description="1 while the state folder takes no writes"
)
_PROBE = "room.probe"
_BYTES = 1024 * 1024  # there must be room for at least so much
_EVERY_SECONDS = 2.0
_CODES = {errno.ENOSPC: "state_full", errno.EDQUOT: "state_full", errno.EROFS: "state_read_only"}
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL)


def trouble_of(error: OSError) -> str:
    """The code of what keeps a folder from being written."""
    return _CODES.get(error.errno or 0, "state_unwritable")


def trouble(folder: Path) -> str:
    """Why ``folder`` takes no writes; empty when it does. Blocks."""
    probe = folder / _PROBE
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _BYTES)
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as error:
        return "" if error.errno in _CANNOT_RESERVE else trouble_of(error)
    return ""


class Room:
    """`hilum.hosting.Service` that watches the state folder."""

    name = "state"

    def __init__(self, folder: Path, clock: Clock, report: Callable[[str], None]) -> None:
        """``report`` is given the trouble's code at each change, empty when it is over."""
        self._folder = folder
        self._clock = clock
        self._report = report

    async def serve(self, ready: Callable[[], None]) -> None:
        known = ""
        ready()
        while True:
            found = await asyncio.to_thread(trouble, self._folder)
            if found != known:
                self._tell(found, known)
                known = found
            await self._clock.sleep(_EVERY_SECONDS)

    def _tell(self, found: str, known: str) -> None:
        self._report(found)
        _UNWRITABLE.add(bool(found) - bool(known))
        if found:
            _LOG.error("the state folder takes no writes: %s; senders are told to send again", found)
        else:
            _LOG.warning("the state folder takes writes again")
