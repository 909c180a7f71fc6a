"""The MLLP listener: accepts so many connections, closes what is over, drains at the end."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable

from opentelemetry import metrics

from hilum.errors import Unavailable
from hilum.ingest.adapters.mllp_connection import READ, Connection, MllpLimits
from hilum.ingest.app import Intake
from hilum.logs import SECONDS, BoundedWarnings

_LOG = logging.getLogger(__name__)
_METER = metrics.get_meter("hilum")
ABORT_SECONDS = 5.0
"""How long what was aborted may take to go: far more than it needs."""
_CONNECTIONS = _METER.create_up_down_counter("hilum.ingest.mllp.connections", description="open MLLP connections")


class MllpListener:
    """`start` binds; `port` is the bound one; `stop` finishes the messages in hand."""

    def __init__(
        self,
        intake: Intake,
        host: str,
        port: int,
        limits: MllpLimits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """A ``port`` of 0 takes a free one."""
        self._intake = intake
        self._address = (host, port)
        self._limits = limits
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._stopping = False
        self._warnings = BoundedWarnings(_LOG, monotonic)
        self._settling: asyncio.Task[None] | None = None
        self.buffer = memoryview(bytearray(READ))
        self.port = 0

    async def start(self) -> None:
        """Raises Unavailable ``port_taken``."""
        host, port = self._address
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._connection, host, port, backlog=512)
        except OSError as error:
            raise Unavailable("port_taken", f"ingest cannot listen on MLLP port {port}") from error
        for listening in self._server.sockets:  # inherited: what a peer that does not read may pile up in the kernel
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, READ)
        self.port = self._server.sockets[0].getsockname()[1]
        self._settling = asyncio.create_task(self._settle(), name="mllp warnings")

    async def stop(self) -> None:
        """Accept nothing more, answer what was read, close."""
        if self._server is None:
            return
        self._stopping = True
        await self._accept_no_more(self._server)
        for connection in tuple(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(self._limits.drain_seconds):
                await self._empty.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
            await self._gone()
        if self._settling is not None:
            self._settling.cancel()
        self._warnings.settle(at_end=True)

    async def _accept_no_more(self, server: asyncio.Server) -> None:
        """Then close: what asyncio has accepted and not yet attached to its server it leaves open where that closed."""
        loop = asyncio.get_running_loop()
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
        await asyncio.sleep(0)
        server.close()

    async def _gone(self) -> None:
        try:
            async with asyncio.timeout(ABORT_SECONDS):
                await self._empty.wait()
        except TimeoutError:
            _LOG.error("%d MLLP connections did not end though they were aborted", len(self._connections))

    def enter(self, connection: Connection) -> str:
        if self._stopping:
            return "draining"  # it was accepted before the server closed
        if len(self._connections) >= self._limits.connections:
            self._warnings.warning("an MLLP connection was refused: %d are open", len(self._connections))
            return "too_many"
        self._connections.add(connection)
        self._empty.clear()
        _CONNECTIONS.add(1)
        return ""

    def leave(self, connection: Connection) -> None:
        if connection not in self._connections:
            return  # it was never let in
        self._connections.discard(connection)
        _CONNECTIONS.add(-1)
        if not self._connections:
            self._empty.set()

    def _connection(self) -> Connection:
        return Connection(self._intake, self._limits, self, self._warnings)

    async def _settle(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            self._warnings.settle()
