"""What a single input may cost. Bounds on a hang, far above what the work takes: not a measure of speed."""

import gc
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooMuchWork(AssertionError):
    """The work was cut off: it would have gone on."""


@contextmanager
def processor_seconds(limit: float) -> Iterator[None]:
    """Raise `TooMuchWork` once the process has spent ``limit`` seconds of processor time in the block."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooMuchWork(f"more than {limit:g} s of processor time for one input")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def allocated_bytes(limit: int) -> Iterator[None]:
    """Fail when the block held more than ``limit`` bytes of Python objects at once."""
    gc.collect()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= limit, f"{peak} bytes were held at once, {limit} are allowed"
