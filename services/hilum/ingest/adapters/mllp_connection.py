"""One MLLP connection: frames in, acknowledgements out in the same order.

A connection is not read while its frames are being kept, which is the backpressure; what a sender pipelines into one
read is kept together, so that one sync of the log serves it all. A protocol and not a stream: a message costs one
callback and one task, no timer and no copy through a second buffer.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from opentelemetry import metrics

from hilum.hl7.mllp import Frame, FrameDecoder, FramingFault, encode
from hilum.ingest.app import LARGE, Intake, Receipt
from hilum.logs import BoundedWarnings

_LOG = logging.getLogger(__name__)
_METER = metrics.get_meter("hilum")
_CLOSED = _METER.create_counter("hilum.ingest.mllp.closed", description="connections that we closed, by reason")
_STRAY = _METER.create_counter("hilum.ingest.mllp.stray_bytes", unit="By", description="bytes outside any block")
_FAULTS = _METER.create_counter("hilum.ingest.mllp.faults", description="blocks that were never whole, by reason")
_TOGETHER = 32  # frames of one connection kept at once; keeps the event loop responsive
_TRANSPORT = "mllp"
READ = 64 * 1024
"""Bytes of one read."""


@dataclass(frozen=True, slots=True)
class MllpLimits:
    """What a peer may cost us; see `hilum.ingest.settings`."""

    message_bytes: int
    connections: int
    idle_seconds: float
    write_seconds: float
    stray_bytes: int
    drain_seconds: float


class Door(Protocol):
    """Who lets connections in, and is told when one has gone and nothing of it is in hand."""

    buffer: memoryview
    """What is read lies here until it is copied, at once: all connections share it."""

    def enter(self, connection: "Connection") -> str:
        """Why it may not come in, "" if it may."""
        ...

    def leave(self, connection: "Connection") -> None: ...


class Connection(asyncio.BufferedProtocol):
    """From the accept until the peer ends, falls silent, or turns out to speak something else."""

    _transport: asyncio.Transport

    def __init__(self, intake: Intake, limits: MllpLimits, door: Door, warnings: BoundedWarnings) -> None:
        self._intake = intake
        self._limits = limits
        self._door = door
        self._warnings = warnings
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder(limits.message_bytes)
        self._waiting: list[Frame | FramingFault] = []  # whole, and not yet being kept
        self._working: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None  # done when the peer has read what we wrote
        self._deaf: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._heard = self._loop.time()
        self._reason = ""  # why it will end once all that was read is answered
        self._lost = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._reason = self._door.enter(self)
        if self._reason:
            transport.close()
        else:
            self._idle = self._loop.call_later(self._limits.idle_seconds, self._look_idle)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._door.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = self._loop.time()
        decoder = self._decoder
        counted = decoder.discarded
        found = decoder.feed(bytes(self._door.buffer[:nbytes]))
        if decoder.discarded != counted:
            _STRAY.add(decoder.discarded - counted)
            if decoder.discarded > self._limits.stray_bytes and not decoder.in_block:
                text = "an MLLP connection sent %d bytes outside any block; closed"
                self._warnings.warning(text, decoder.discarded)
                self._take(found)
                self._end("not_mllp")
                return
        self._take(found)

    def eof_received(self) -> bool:
        self._take_unfinished()
        self._end("ended")
        return True  # it may still be listening

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()
        self._deaf = self._loop.call_later(self._limits.write_seconds, self._give_up)

    def resume_writing(self) -> None:
        if self._deaf is not None:
            self._deaf.cancel()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._idle is not None:
            self._idle.cancel()
        if self._closing is not None:
            self._closing.cancel()
        self.resume_writing()
        if exc is not None:
            _LOG.info("an MLLP connection was lost: %s", type(exc).__name__)
        _CLOSED.add(1, {"reason": (self._reason or "lost") if exc is None else "lost"})
        if self._working is None:
            self._door.leave(self)

    # What the listener calls.

    def drain(self) -> None:
        """Read no more; what was read whole is still answered, of anything else its sender will hear nothing."""
        self._end("draining")

    def abort(self) -> None:
        """Now, whatever is in hand."""
        if self._working is not None:
            self._working.add_done_callback(self._aborted)
            self._working.cancel()
        self._transport.abort()

    def _aborted(self, _working: asyncio.Task[None]) -> None:
        """A task that is cancelled before its first turn never comes to its ``finally``."""
        if self._working is not None:
            self._working = None
            if self._lost:
                self._door.leave(self)

    # The messages.

    def _take(self, found: Sequence[Frame | FramingFault]) -> None:
        if not found:
            return
        self._waiting.extend(found)
        if self._working is None:
            self._working = self._loop.create_task(self._work())
        else:
            self._transport.pause_reading()

    def _take_unfinished(self) -> None:
        unfinished = self._decoder.finish()
        if unfinished is not None and unfinished.payload:
            self._take([unfinished])

    async def _work(self) -> None:
        """Answer everything that waits; what arrives meanwhile is read when this has ended."""
        try:
            while self._waiting:
                items = self._waiting[:_TOGETHER]
                del self._waiting[:_TOGETHER]
                await self._answer(items)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends one connection and no other
            _LOG.error("an MLLP connection was closed for a defect of ours: %s", type(error).__name__)
            self._reason = "defect"
            self._transport.abort()
        finally:
            self._working = None
            self._heard = self._loop.time()
            if self._lost:
                self._door.leave(self)
            elif self._reason:
                self._close()
            elif not self._transport.is_reading():
                self._transport.resume_reading()

    async def _answer(self, items: Sequence[Frame | FramingFault]) -> None:
        """Keep ``items``, then write their answers in order; an interrupted block is kept but not answered.

        Its sender already began another block: an extra answer would be taken for that one's. What a sender that has
        gone had sent whole is kept all the same: not every one waits for its answer.
        """
        if len(items) == 1:
            receipts = [await self._keep(items[0])]
        elif any(
            len(item.payload) > LARGE for item in items
        ):  # these leave the event loop: one by one, or they overtake
            receipts = [await self._keep(item) for item in items]
        else:
            receipts = await asyncio.gather(*(self._keep(item) for item in items))
        if self._transport.is_closing():
            return
        answers = [
            encode(receipt.acknowledgement)
            for item, receipt in zip(items, receipts, strict=True)
            if isinstance(item, Frame) or item.code != "block_interrupted"
        ]
        self._transport.write(b"".join(answers))
        if self._room is not None:
            await self._room

    async def _keep(self, item: Frame | FramingFault) -> Receipt:
        if isinstance(item, Frame):
            return await self._intake.receive(item.payload, _TRANSPORT)
        _FAULTS.add(1, {"reason": item.code})
        return await self._intake.refuse(item, _TRANSPORT)

    # The end.

    def _end(self, reason: str) -> None:
        """Read no more, and close when all that was read is answered."""
        self._reason = self._reason or reason
        if self._transport.is_closing():
            return
        self._transport.pause_reading()
        if self._working is None:
            self._close()

    def _close(self) -> None:
        """Once the peer has read what we wrote, or too late for that."""
        self._transport.close()
        if self._transport.get_write_buffer_size() and self._closing is None:
            self._closing = self._loop.call_later(self._limits.write_seconds, self._give_up)

    def _look_idle(self) -> None:
        left = self._heard + self._limits.idle_seconds - self._loop.time()
        if self._working is not None:
            left = self._limits.idle_seconds
        if left > 0:
            self._idle = self._loop.call_later(left, self._look_idle)
            return
        self._take_unfinished()
        self._end("idle")

    def _give_up(self) -> None:
        _LOG.info("an MLLP connection was lost: its peer does not read")
        self._transport.abort()
