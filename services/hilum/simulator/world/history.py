"""What happened in a seeded world, and its digest: two lives of one seed must have the same."""

import hashlib
from collections import Counter

from hilum.simulator.world.loop import CURRENT, SimulatedLoop

_KEPT = 400


class History:
    """Each happening is hashed; the last few stay readable, for whoever asks why."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._hash = hashlib.sha256()
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()
        self.keep_all = False

    def note(self, what: str, *details: str) -> None:
        process = CURRENT.get()
        line = f"{self._loop.time():.6f} {process.name if process else '-'} {what} {' '.join(details)}"
        self._hash.update(line.encode() + b"\n")
        self.counts[what] += 1
        self.lines.append(line)
        if not self.keep_all and len(self.lines) > 2 * _KEPT:
            del self.lines[:_KEPT]

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
