"""Log lines that a peer can provoke, bounded: no flood from outside becomes a flood in the log."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

SECONDS = 10.0


@dataclass(slots=True)
class _Window:
    """Of one message: since when, how many lines were written, how many left out."""

    began: float
    written: int = 0
    left_out: int = 0


class BoundedWarnings:
    """Warnings, each message at most ``lines`` times in ``seconds``; those left out are told by their number.

    A message is its format string: those are constants of ours, so that what is remembered is bounded too. Call
    `settle` now and then, or the number waits for the message's next line. Safe to use from any thread.
    """

    def __init__(
        self, log: logging.Logger, monotonic: Callable[[], float], *, lines: int = 1, seconds: float = SECONDS
    ) -> None:
        """``monotonic`` as of `hilum.clock.Clock`, in seconds."""
        self._log = log
        self._monotonic = monotonic
        self._lines = lines
        self._seconds = seconds
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def warning(self, message: str, *values: object) -> None:
        """As `logging.Logger.warning`."""
        self.settle()
        with self._lock:
            window = self._windows.setdefault(message, _Window(self._monotonic()))
            if window.written == self._lines:
                window.left_out += 1
                return
            window.written += 1
        self._log.warning(message, *values)

    def settle(self, *, at_end: bool = False) -> None:
        """Tell what was left out in the windows that are over; ``at_end``, in all of them."""
        now = self._monotonic()
        with self._lock:
            over = [
                (message, window)
                for message, window in self._windows.items()
                if at_end or now - window.began >= self._seconds
            ]
            for message, _ in over:
                del self._windows[message]
        for message, window in over:
            if window.left_out:
                self._log.warning("%d more in %.0f s: %s", window.left_out, now - window.began, message)
