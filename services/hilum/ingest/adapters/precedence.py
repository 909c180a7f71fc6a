"""Acknowledgement goes before digestion: a sender waits for the one, nobody for the other.

Both run in one interpreter. Each time the event loop lets go of its lock, and it does so several times a message, a
thread that computes may hold it for milliseconds. So while messages are coming in, digestion pauses before each of its
own; never for long, so that it goes on under any load, and not at all for what has waited too long already.
"""

import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from hilum.clock import Clock

# A sender that waits for its acknowledgement sends the next message sooner than in 2 ms. Before one message, at most:
_PAUSES_SECONDS = (0.002, 0.01, 0.01, 0.01, 0.01)
_CALM_SECONDS = 0.1  # after so long without a message there is nothing to give way to
_PATIENCE = timedelta(seconds=30)  # what was received longer ago is digested without a pause


class Precedence:
    """Entered for each message in hand, on the event loop; `give_way` pauses digestion, in its own thread."""

    def __init__(self, clock: Clock, pause: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._pause = pause
        self._in_hand = 0
        self._entered = 0
        self._last = -math.inf
        self._answering: int | None = None  # the thread that answers

    def __enter__(self) -> None:
        self._in_hand += 1
        self._entered += 1
        self._answering = threading.get_ident()

    def __exit__(self, *_raised: object) -> None:
        self._in_hand -= 1
        self._last = self._clock.monotonic()

    def give_way(self, received_at: datetime) -> None:
        """Return once it is quiet, or after a while; at once for what is late, or in the thread that answers."""
        if self._answering == threading.get_ident() or self._clock.now() - received_at >= _PATIENCE:
            return
        if not self._in_hand and self._clock.monotonic() - self._last >= _CALM_SECONDS:
            return
        for seconds in _PAUSES_SECONDS:
            # Quiet is what nothing enters while we pause: the time before that may have passed waiting for our lock.
            entered = self._entered
            self._pause(seconds)
            if not self._in_hand and self._entered == entered:
                return
