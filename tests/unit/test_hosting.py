"""Starting, becoming ready, draining."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from random import Random

import pytest

from hilum.errors import Fault
from hilum.hosting import LOOP_LAG, LoopLag, RandomIds, Readiness, SystemClock, cancel_on_signals, host
from hilum.simulator.world.loop import SimulatedLoop


class Serves:
    """Ready at once; what became of it is told in ``ended``."""

    def __init__(self, name: str, ends: Exception | None = None, returns: bool = False) -> None:
        self.name = name
        self._ends = ends
        self._returns = returns
        self.ended = ""

    async def serve(self, ready: Callable[[], None]) -> None:
        ready()
        if self._ends is not None:
            raise self._ends
        if self._returns:
            return
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = "drained"


async def test_readiness_waits_for_every_service() -> None:
    readiness = Readiness(["a", "b"])
    waiting = asyncio.create_task(readiness.wait())
    readiness.ready("a")
    readiness.ready("a")
    await asyncio.sleep(0)
    assert not waiting.done()
    assert readiness.waiting == ["b"]
    readiness.ready("b")
    await asyncio.wait_for(waiting, 1)
    assert readiness.waiting == []


async def test_cancelling_the_host_drains_every_service() -> None:
    services = [Serves("a"), Serves("b")]
    readiness = Readiness(["a", "b"])
    hosting = asyncio.create_task(host(services, readiness))
    await asyncio.wait_for(readiness.wait(), 1)
    hosting.cancel()
    await asyncio.wait([hosting])
    assert hosting.cancelled()
    assert [service.ended for service in services] == ["drained", "drained"]


async def test_a_service_that_fails_ends_them_all() -> None:
    other = Serves("other")
    with pytest.raises(ExceptionGroup) as ended:
        await host([other, Serves("bad", ends=OSError("port"))], Readiness(["other", "bad"]))
    assert ended.group_contains(OSError)
    assert other.ended == "drained"


async def test_a_service_that_ends_unasked_is_a_fault() -> None:
    with pytest.raises(ExceptionGroup) as ended:
        await host([Serves("gone", returns=True), Serves("other")], Readiness(["gone", "other"]))
    (fault,) = ended.value.exceptions
    assert isinstance(fault, Fault)
    assert fault.code == "service_ended"


async def test_a_service_that_returns_when_told_to_end_has_drained() -> None:
    class Swallows(Serves):
        async def serve(self, ready: Callable[[], None]) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await super().serve(ready)

    readiness = Readiness(["a"])
    hosting = asyncio.create_task(host([Swallows("a")], readiness))
    await asyncio.wait_for(readiness.wait(), 1)
    hosting.cancel()
    await asyncio.wait([hosting])
    assert hosting.cancelled()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains_and_the_second_is_the_interpreters(number: signal.Signals) -> None:
    task: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(60))
    cancel_on_signals(task)
    os.kill(os.getpid(), number)
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_the_system_clock_is_aware_and_steady() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.02)
    assert clock.monotonic() - before >= 0.02
    offset = clock.now().utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 0


def test_random_ids_are_new_each_time() -> None:
    ids = RandomIds()
    made = {ids.new() for _ in range(100)}
    assert len(made) == 100
    assert {len(each) for each in made} == {36}


def test_while_services_run_a_late_event_loop_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[float] = []
    monkeypatch.setattr(LoopLag, "note", lambda _self, late, _now: noted.append(late))
    loop = SimulatedLoop(Random(1))

    async def late_once() -> None:
        readiness = Readiness(["a"])
        hosting = asyncio.create_task(host([Serves("a")], readiness))
        await readiness.wait()
        await asyncio.sleep(3 * LOOP_LAG.LOOK_SECONDS)
        assert max(noted) < 0.001
        loop._move(LOOP_LAG.LOOK_SECONDS + 0.2)  # a step that takes so long: the fault that is to be noticed
        await asyncio.sleep(LOOP_LAG.LOOK_SECONDS)
        assert max(noted) > 0.199
        hosting.cancel()
        await asyncio.wait([hosting])
        count = len(noted)
        await asyncio.sleep(3 * LOOP_LAG.LOOK_SECONDS)
        assert len(noted) == count

    try:
        loop.run_until_complete(late_once())
    finally:
        loop.close()


def test_the_longest_lag_is_told_for_one_window_more_and_then_forgotten() -> None:
    lag = LoopLag()
    lag.note(0.3, now=101.0)
    lag.note(0.1, now=102.0)
    told = [lag.longest(now) for now in (109.0, 111.0, 119.0, 121.0)]
    assert told == [0.3, 0.3, 0.3, 0.0]
    lag.note(0.2, now=131.0)
    assert lag.longest(159.0) == 0.0
