"""An asyncio event loop on simulated time, and processes on it that can be killed or paused between any two steps.

Nothing here waits: when no callback is ready, the clock moves to the next one that is due. What would run in a thread
runs on the loop after a simulated delay, so that a history has one order only.
"""

import asyncio
import contextvars
import selectors
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Protocol, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_LONGEST_WORK = 0.004  # seconds that a thread's work takes at most, when nothing is slow
IN_TURN = 1e-7
"""Seconds that part two things which must keep their order: timers of the same time have none."""
CURRENT: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)


@dataclass(eq=False)
class Process:
    """What lives and dies together. Its callbacks wait while it is paused; when it is dead, for the world to end."""

    name: str
    alive: bool = True
    paused: bool = False
    clock_offset: float = 0.0
    slowness: float = 1.0
    waiting: deque[Callable[[], object]] = field(default_factory=deque)
    at_death: list[Callable[[], None]] = field(default_factory=list)

    def kill(self) -> None:
        """As kill -9: nothing of it runs any more, not even its ``finally``."""
        if self.alive:
            self.alive = False
            for told in self.at_death:
                told()

    def go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self.paused = False
        waiting, self.waiting = list(self.waiting), deque()
        for run in waiting:
            loop.call_soon(run, context=contextvars.Context())


class _NoSelector(selectors.SelectSelector):
    """Selects nothing, and instead of waiting moves the clock."""

    def __init__(self, move: Callable[[float], None]) -> None:
        super().__init__()
        self._move = move

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("the world stands still: nothing is ready and nothing is due")
        self._move(timeout)
        return []


class Connections(Protocol):
    """What `create_server` and `create_connection` ask for (`hilum.simulator.world.network`)."""

    def listen(self, factory: Callable[[], asyncio.BaseProtocol], port: int) -> asyncio.AbstractServer: ...

    async def connect(
        self, factory: Callable[[], asyncio.BaseProtocol], port: int
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]: ...


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`time` starts at 0 and moves only when nothing is ready."""

    def __init__(self, chance: Random) -> None:
        self._now = 0.0
        self._chance = chance
        self.network: Connections | None = None
        self.processes: list[Process] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._free_at: dict[Executor, float] = {}  # one-thread executors: when they have done what they were given
        super().__init__(_NoSelector(self._move))

    def time(self) -> float:
        return self._now

    def _move(self, seconds: float) -> None:
        self._now += max(seconds, 0.0)

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        found = contextvars.copy_context() if context is None else context
        return super().call_soon(_step, found.get(CURRENT), callback, args, context=found)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        found = contextvars.copy_context() if context is None else context
        return super().call_at(when, _step, found.get(CURRENT), callback, args, context=found)

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)  # there are no other threads

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> "asyncio.Future[_T]":
        """Run ``func`` on the loop a little later; what an executor of one thread is given stays in its order."""
        process = CURRENT.get()
        future: asyncio.Future[_T] = self.create_future()
        delay = self._chance.random() * _LONGEST_WORK * (process.slowness if process else 1.0)
        at = self._now + delay
        if executor is not None:
            at = max(at, self._free_at.get(executor, 0.0) + IN_TURN)
            self._free_at[executor] = at

        def work() -> None:
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001 - a thread hands on whatever is raised
                if not future.cancelled():
                    future.set_exception(error)
            else:
                if not future.cancelled():
                    future.set_result(result)

        self.call_at(at, work)
        return future

    async def create_server(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        assert self.network is not None, host
        return self.network.listen(factory, int(port or 0))

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        assert self.network is not None, host
        return await self.network.connect(factory, int(port))

    def create_task(self, coro: Any, **told: Any) -> "asyncio.Task[Any]":
        """Held until it has ended: a task of a dead process must not be collected, which would run its ``finally``."""
        task = super().create_task(coro, **told)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def start(self, process: Process, coroutine: Any, name: str = "") -> "asyncio.Task[Any]":
        """A task of ``process``, and with it all that it starts."""
        if process not in self.processes:
            self.processes.append(process)
        context = contextvars.copy_context()
        context.run(CURRENT.set, process)
        return self.create_task(coroutine, name=name or process.name, context=context)


def _step(process: Process | None, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
    if process is None or (process.alive and not process.paused):
        callback(*args)
    else:
        context = contextvars.copy_context()
        process.waiting.append(partial(context.run, callback, *args))
