"""The rendering process from outside: started, asked, ended when it takes too long, started again when it dies."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process

from hilum.errors import Fault, HilumError, Unavailable
from hilum.integration.adapters.render_jobs import Job
from hilum.integration.adapters.render_worker import HEADER, Setup, pack, unpack

_MODULE = "hilum.integration.adapters.render_worker"
_END_SECONDS = 5.0


class Renderer:
    """One process, one job at a time; pixels and documents never occupy the event loop."""

    def __init__(self, setup: Setup, job_seconds: float) -> None:
        self._setup = setup
        self._job_seconds = job_seconds
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._exchanges: set[asyncio.Task[bytes]] = set()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process' identity while it lives."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def render(self, job: Job) -> bytes:
        """The document of ``job``.

        Raises what `hilum.integration.adapters.render_jobs.perform` raises; Unavailable ``render_timeout``,
        ``render_died`` or ``worker_start``.
        """
        # A caller that goes away must not leave half an answer in the pipe: the exchange always ends.
        exchange = asyncio.create_task(self._in_turn(job))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._ended)
        return await asyncio.shield(exchange)

    def _ended(self, exchange: "asyncio.Task[bytes]") -> None:
        self._exchanges.discard(exchange)
        if not exchange.cancelled():
            exchange.exception()  # its caller may have gone away

    async def close(self) -> None:
        """Close its pipe, on which it ends by itself; kill it when it does not. What is in hand ends with it.

        A process that is just being started is waited for. The end of the event loop cancels every task, those of
        asyncio itself too, and such a start would then wait for ever (seen with Python 3.11).
        """
        self._closed = True
        await self._end()
        await asyncio.gather(*self._exchanges, return_exceptions=True)
        await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            await _kill(process)

    async def _in_turn(self, job: Job) -> bytes:
        async with self._turn:
            return await self._exchange(job)

    async def _exchange(self, job: Job) -> bytes:
        process = await self._started()
        if self._closed:  # meanwhile: `close` ends what was started
            raise Unavailable("render_died", "the rendering process was closed")
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._job_seconds):
                process.stdin.write(pack(job))
                await process.stdin.drain()
                (size,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
                answer = unpack(await process.stdout.readexactly(size))
        except TimeoutError:
            await _kill(process)
            raise Unavailable("render_timeout", "a rendering took too long and was ended") from None
        except (asyncio.IncompleteReadError, OSError):
            await _kill(process)
            raise Unavailable("render_died", "the rendering process died") from None
        if isinstance(answer, HilumError):
            raise answer
        if not isinstance(answer, bytes):
            raise Fault("render_failed", "the rendering process gave no document")
        return answer

    async def _started(self) -> Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        if self._closed:
            raise Unavailable("render_died", "the rendering process was closed")
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
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
        except OSError as error:
            raise Unavailable("worker_start", f"no rendering process ({type(error).__name__})") from None
        assert self._process.stdin is not None
        self._process.stdin.write(pack(self._setup))
        return self._process


async def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
