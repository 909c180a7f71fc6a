"""The clock as a port: domain and application code learn the time, and wait, only through it.

`hosting` supplies the system's clock; the seeded world supplies one that it drives itself.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The current time, timezone-aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary origin; never steps back."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` have passed on this clock."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Microseconds since 1970 in UTC: exact, as databases keep time. A naive ``at`` raises TypeError."""
    return (at - _EPOCH) // _MICROSECOND


def at_microseconds(count: int) -> datetime:
    """The inverse of `microseconds`."""
    return _EPOCH + timedelta(microseconds=count)
