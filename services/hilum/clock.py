"""The clock as a port: domain and application code learn the time, and wait, only through it.

`hosting` supplies the system's clock; the seeded world supplies one that it drives itself.
"""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The current time, timezone-aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary origin; never steps back."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` have passed on this clock."""
