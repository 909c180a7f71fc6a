"""The use case in threads: turns, appends, and what happens when something takes too long."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hilum.contracts import topics
from hilum.errors import Unavailable
from hilum.eventlog.port import Event, EventLog
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.imaging.adapters.threads import DirectLog, InThreads, ThreadLog, appending, completed

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(number: int) -> Event:
    return Event(topics.INSTANCES.name, "1.2", topics.INSTANCES.type, b"", f"event {number}", NOW)


async def offsets(log: EventLog) -> int:
    return sum((await log.heads([topics.INSTANCES.name])).values())


class SlowLog:
    """Accepts at once, or never."""

    def __init__(self) -> None:
        self.appended: list[Event] = []
        self.stuck = False

    async def append(self, events: Sequence[Event]) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.appended += events


async def test_threads_append_to_the_sqlite_log_beside_each_other(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "log.db")
    log.open()
    direct = appending(log, asyncio.get_running_loop(), 5.0)
    assert isinstance(direct, DirectLog)

    def append(number: int) -> None:
        completed(direct.append([event(number)]))

    with ThreadPoolExecutor(8) as pool:
        await asyncio.gather(*(asyncio.get_running_loop().run_in_executor(pool, append, n) for n in range(50)))
    assert await offsets(log) == 50
    log.close()


async def test_an_append_to_a_closed_log_fails_in_the_thread_too(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "log.db")
    log.open()
    direct = DirectLog(log, 5.0)
    log.close()
    with pytest.raises(Unavailable, match="log_closed"):
        await asyncio.to_thread(lambda: completed(direct.append([event(1)])))


async def test_another_log_is_appended_to_on_its_loop() -> None:
    log = SlowLog()
    threads = ThreadLog(log, asyncio.get_running_loop(), 5.0)
    await asyncio.to_thread(lambda: completed(threads.append([event(1)])))
    assert log.appended == [event(1)]


async def test_an_append_that_takes_too_long_is_unavailable() -> None:
    log = SlowLog()
    log.stuck = True
    threads = ThreadLog(log, asyncio.get_running_loop(), 0.05)
    with pytest.raises(Unavailable, match="storing_timed_out"):
        await asyncio.to_thread(lambda: completed(threads.append([event(1)])))


def test_one_at_a_time_has_the_turn_and_none_is_kept() -> None:
    waiting = InThreads(5.0)
    inside, most = 0, 0
    count = threading.Lock()

    async def work() -> None:
        nonlocal inside, most
        async with waiting.turn("1.2.3"):
            with count:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.002)
            with count:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: completed(work()), range(40)))
    assert most == 1
    assert not waiting._turns


def test_a_turn_that_does_not_come_is_unavailable() -> None:
    waiting = InThreads(0.05)

    async def nested() -> None:
        async with waiting.turn("1.2.3"), waiting.turn("1.2.3"):
            pass

    with pytest.raises(Unavailable, match="storing_timed_out"):
        completed(nested())
    assert not waiting._turns


def test_a_coroutine_that_waits_for_a_loop_is_a_mistake_that_is_told() -> None:
    async def mistaken() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="must not be suspended"):
        completed(mistaken())
