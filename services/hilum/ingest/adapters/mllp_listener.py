"""The MLLP listener: frames in, acknowledgements out in the same order, each connection on its own.

A connection is not read while its frames are being kept, which is the backpressure. What a sender pipelines into one
read is kept together, so that one sync of the log serves it all.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from opentelemetry import metrics

from hilum.errors import Unavailable
from hilum.hl7.mllp import Frame, FrameDecoder, FramingFault, encode
from hilum.ingest.app import LARGE, Intake, Receipt
from hilum.logs import SECONDS, BoundedWarnings

_LOG = logging.getLogger(__name__)
_METER = metrics.get_meter("hilum")
_CONNECTIONS = _METER.create_up_down_counter("hilum.ingest.mllp.connections", description="open MLLP connections")
_CLOSED = _METER.create_counter("hilum.ingest.mllp.closed", description="connections that we closed, by reason")
_STRAY = _METER.create_counter("hilum.ingest.mllp.stray_bytes", unit="By", description="bytes outside any block")
_FAULTS = _METER.create_counter("hilum.ingest.mllp.faults", description="blocks that were never whole, by reason")
_READ = 64 * 1024
_TOGETHER = 32  # frames of one connection kept at once; keeps the event loop responsive
_TRANSPORT = "mllp"


@dataclass(frozen=True, slots=True)
class MllpLimits:
    """What a peer may cost us; see `hilum.ingest.settings`."""

    message_bytes: int
    connections: int
    idle_seconds: float
    write_seconds: float
    stray_bytes: int
    drain_seconds: float


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
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._warnings = BoundedWarnings(_LOG, monotonic)
        self._settling: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Raises Unavailable ``port_taken``."""
        host, port = self._address
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=_READ, backlog=512)
        except OSError as error:
            raise Unavailable("port_taken", f"ingest cannot listen on MLLP port {port}") from error
        for listening in self._server.sockets:  # inherited: what a peer that does not read may pile up in the kernel
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _READ)
        self.port = self._server.sockets[0].getsockname()[1]
        self._settling = asyncio.create_task(self._settle(), name="mllp warnings")

    async def stop(self) -> None:
        """Accept nothing more, answer what was read, close."""
        if self._server is None:
            return
        self._server.close()
        for connection in self._connections.values():
            connection.drain()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=self._limits.drain_seconds)
        left = list(self._connections)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if self._settling is not None:
            self._settling.cancel()
        self._warnings.settle(at_end=True)

    async def _settle(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            self._warnings.settle()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._limits.connections:
            _CLOSED.add(1, {"reason": "too_many"})
            self._warnings.warning("an MLLP connection was refused: %d are open", len(self._connections))
            await _close(writer)
            return
        connection = _Connection(self._intake, self._limits, reader, writer, self._warnings)
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = connection
        _CONNECTIONS.add(1)
        try:
            reason = await connection.serve()
            _CLOSED.add(1, {"reason": reason})
        except (ConnectionError, TimeoutError) as error:
            _CLOSED.add(1, {"reason": "lost"})
            _LOG.info("an MLLP connection was lost: %s", type(error).__name__)
            writer.transport.abort()
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends one connection and no other
            _CLOSED.add(1, {"reason": "defect"})
            _LOG.error("an MLLP connection was closed for a defect of ours: %s", type(error).__name__)
            writer.transport.abort()
        finally:
            del self._connections[task]
            _CONNECTIONS.add(-1)
            await _close(writer)


class _Connection:
    def __init__(
        self,
        intake: Intake,
        limits: MllpLimits,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        warnings: BoundedWarnings,
    ) -> None:
        self._intake = intake
        self._limits = limits
        self._reader = reader
        self._writer = writer
        self._warnings = warnings
        self._decoder = FrameDecoder(limits.message_bytes)
        self._draining = False
        self._reading: asyncio.Timeout | None = None

    def drain(self) -> None:
        """Read no more; what was read is still answered."""
        self._draining = True
        if self._reading is not None:
            self._reading.reschedule(0)

    async def serve(self) -> str:
        """Until the peer ends, falls silent, or turns out to speak something else; returns why."""
        while not self._draining:
            data = await self._read()
            if data is None:
                break
            counted = self._decoder.discarded
            found = self._decoder.feed(data)
            stray = self._decoder.discarded - counted
            if stray:
                _STRAY.add(stray)
            for start in range(0, len(found), _TOGETHER):
                await self._answer(found[start : start + _TOGETHER])
            if self._decoder.discarded > self._limits.stray_bytes and not self._decoder.in_block:
                self._warnings.warning(
                    "an MLLP connection sent %d bytes outside any block; closed", self._decoder.discarded
                )
                return "not_mllp"
        if self._draining:
            return "draining"  # what was not read whole was not answered: its sender will send it again
        unfinished = self._decoder.finish()
        if unfinished is not None and unfinished.payload:
            await self._answer([unfinished])
        return "ended" if self._reader.at_eof() else "idle"

    async def _read(self) -> bytes | None:
        """The next bytes; None at the end of the stream, after the idle time, or when draining."""
        try:
            async with asyncio.timeout(self._limits.idle_seconds) as self._reading:
                return await self._reader.read(_READ) or None
        except TimeoutError:
            return None
        finally:
            self._reading = None

    async def _answer(self, items: Sequence[Frame | FramingFault]) -> None:
        """Keep ``items``, then write their answers in order; an interrupted block is kept but not answered.

        Its sender already began another block: an extra answer would be taken for that one's.
        """
        if any(len(item.payload) > LARGE for item in items):  # these leave the event loop: one by one, or they overtake
            receipts = [await self._keep(item) for item in items]
        elif len(items) == 1:
            receipts = [await self._keep(items[0])]
        else:
            receipts = await asyncio.gather(*(self._keep(item) for item in items))
        for item, receipt in zip(items, receipts, strict=True):
            if isinstance(item, Frame) or item.code != "block_interrupted":
                self._writer.write(encode(receipt.acknowledgement))
        async with asyncio.timeout(self._limits.write_seconds):
            await self._writer.drain()

    async def _keep(self, item: Frame | FramingFault) -> Receipt:
        if isinstance(item, Frame):
            return await self._intake.receive(item.payload, _TRANSPORT)
        _FAULTS.add(1, {"reason": item.code})
        return await self._intake.refuse(item, _TRANSPORT)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()
