"""A clock that a test drives; its sleeps cost no time."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 29, 0, 59, 59, 999_999, UTC)


class QuickClock:
    """`hilum.clock.Clock`: `now` moves by sleeping and by `pass_`; ``slept`` remembers each sleep."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._now = start
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    def pass_(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.pass_(seconds)
        await asyncio.sleep(0)
