"""The worker processes, watched: started, leased, ended when they take too long, started again when they die."""

import asyncio
import contextlib
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from hilum.errors import HilumError, Overloaded, Unavailable
from hilum.inference.adapters import wire
from hilum.inference.domain import Finding, StepFailed
from hilum.inference.engines.port import Tensor
from hilum.inference.ports import InferTensors, LoadedModel, ModelKey, ReadImages, WorkerDied

_LOG = logging.getLogger(__name__)
_MODULE = "hilum.inference.adapters.worker"
_START_SECONDS = 60.0
_END_SECONDS = 5.0


class Worker:
    """One process; one job at a time."""

    def __init__(self, setup: wire.WorkerSetup, job_seconds: float) -> None:
        self._setup = setup
        self._job_seconds = job_seconds
        self._process: Process | None = None
        self._jobs: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.loaded: tuple[LoadedModel, ...] = ()

    @property
    def pid(self) -> int | None:
        """The process' identity while it lives."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Raises Fault when the engines cannot be loaded, Unavailable when no process comes up."""
        if self._closed:
            raise Unavailable("worker_closed", "the worker was told to end")
        threads = {name: str(self._setup.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _MODULE,
                stdin=PIPE,
                stdout=PIPE,
                env=os.environ | threads,
                start_new_session=True,
            )
            if self._closed:  # meanwhile: `close` ends what was started
                raise Unavailable("worker_closed", "the worker was told to end")
            hello = await self._exchange(self._setup, _START_SECONDS)
        except (OSError, WorkerDied) as error:
            raise Unavailable("worker_start", "a worker process did not come up") from error
        if isinstance(hello, HilumError):
            await self._end()
            raise hello
        self.loaded = cast(tuple[LoadedModel, ...], hello)

    def begin(self, job: ReadImages | InferTensors) -> "asyncio.Task[Any]":
        """The reply to a job, in a process that is started first where there is none."""
        task = asyncio.create_task(self._do(job))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return task

    async def _do(self, job: ReadImages | InferTensors) -> Any:
        if self.pid is None:
            _LOG.warning("a worker process is started again")
            await self.start()
        reply = await self._exchange(job, self._job_seconds)
        if isinstance(reply, HilumError | StepFailed):
            raise reply
        return reply

    async def close(self) -> None:
        """End for good; a job in hand gets a few seconds.

        A process that is just being started is waited for. The end of the event loop cancels every task, those of
        asyncio itself too, and such a start would then wait for ever (seen with Python 3.11).
        """
        self._closed = True
        await self._end()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self._end()

    async def _end(self) -> None:
        """Close its pipe, on which it ends by itself; kill it when it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            await _kill(process)

    async def _exchange(self, message: Any, seconds: float) -> Any:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                process.stdin.write(wire.pack(message))
                await process.stdin.drain()
                size = wire.length(await process.stdout.readexactly(wire.HEADER_BYTES))
                return wire.unpack(await process.stdout.readexactly(size))
        except TimeoutError as error:
            await _kill(process)
            raise WorkerDied("worker_timeout") from error
        except (asyncio.IncompleteReadError, OSError, ValueError) as error:
            await _kill(process)
            raise WorkerDied("worker_crashed") from error


class WorkerLease:
    """`hilum.inference.ports.Lease` of one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.running: asyncio.Task[Any] | None = None

    async def read(self, job: ReadImages) -> Sequence[Finding]:
        return cast(Sequence[Finding], await self._ask(job))

    async def infer(self, job: InferTensors) -> Mapping[str, Tensor]:
        return cast(Mapping[str, Tensor], await self._ask(job))

    async def _ask(self, job: ReadImages | InferTensors) -> Any:
        # A caller that goes away must not leave half a reply in the pipe: the exchange always ends.
        self.running = self._worker.begin(job)
        return await asyncio.shield(self.running)


class WorkerPool:
    """`hilum.inference.ports.Workers`: a fixed number of processes, leased in turn."""

    def __init__(self, setup: wire.WorkerSetup, count: int, job_seconds: float) -> None:
        self._workers = [Worker(setup, job_seconds) for _ in range(count)]
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        self._waiting = 0
        self._models: dict[ModelKey, LoadedModel] = {}

    @property
    def models(self) -> Mapping[ModelKey, LoadedModel]:
        return self._models

    @property
    def free(self) -> int:
        return self._idle.qsize()

    @property
    def pids(self) -> list[int]:
        """The living processes."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    async def start(self) -> None:
        """Start every worker. Raises Fault or Unavailable."""
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self._workers:
                    group.create_task(worker.start())
        except BaseException as error:
            await self.close()
            if isinstance(error, ExceptionGroup):
                raise error.exceptions[0] from None
            raise
        self._models = {model.key: model for model in self._workers[0].loaded}
        for worker in self._workers:
            self._idle.put_nowait(worker)

    async def close(self) -> None:
        """End every worker; a job in hand gets a few seconds."""
        await asyncio.gather(*(worker.close() for worker in self._workers))

    @asynccontextmanager
    async def lease(self, *, at_most_waiting: int | None = None) -> AsyncIterator[WorkerLease]:
        if at_most_waiting is not None and self._idle.empty() and self._waiting >= at_most_waiting:
            raise Overloaded("engine_busy", "too many requests wait for an engine")
        self._waiting += 1
        try:
            worker = await self._idle.get()
        finally:
            self._waiting -= 1
        lease = WorkerLease(worker)
        try:
            yield lease
        finally:
            if lease.running is None or lease.running.done():
                self._idle.put_nowait(worker)
            else:
                lease.running.add_done_callback(lambda task: self._returned(worker, task))

    def _returned(self, worker: Worker, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled():
            task.exception()  # nobody waits for it any more
        self._idle.put_nowait(worker)


async def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
