"""One MLLP connection: frames in, acknowledgements out in the same order.

A connection is not read further while its frames are being kept, which is the backpressure. A protocol and not a
stream: a message costs two callbacks, no task, no timer and no copy through a second buffer.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
        self._answers: list[bytes] = []  # to those that are, in their order
        self._unanswered = 0
        self._full = False  # until the peer has read what we wrote
        self._deaf: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._heard = self._loop.time()
        self._reason = ""  # why it will end once all that was read is answered
        self._lost = False
        self._aborted = False

    @property
    def _busy(self) -> bool:
        return bool(self._unanswered or self._waiting)

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
        self._full = True
        self._deaf = self._loop.call_later(self._limits.write_seconds, self._give_up)

    def resume_writing(self) -> None:
        if self._deaf is not None:
            self._deaf.cancel()
        if self._full:
            self._full = False
            if not self._unanswered:
                self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        for timer in (self._idle, self._closing, self._deaf):
            if timer is not None:
                timer.cancel()
        self._full = False
        if exc is not None:
            _LOG.info("an MLLP connection was lost: %s", type(exc).__name__)
        _CLOSED.add(1, {"reason": (self._reason or "lost") if exc is None else "lost"})
        if self._aborted or not self._unanswered:
            self._go_on()

    # What the listener calls.

    def drain(self) -> None:
        """Read no more; what was read whole is still answered, of anything else its sender will hear nothing."""
        self._end("draining")

    def abort(self) -> None:
        """Now, whatever is in hand: what of it is kept all the same nobody hears of."""
        self._aborted = True
        self._waiting.clear()
        self._transport.abort()

    # The messages.

    def _take(self, found: Sequence[Frame | FramingFault]) -> None:
        if not found:
            return
        self._waiting.extend(found)
        if self._unanswered or self._full:
            self._transport.pause_reading()
        else:
            self._keep()

    def _take_unfinished(self) -> None:
        unfinished = self._decoder.finish()
        if unfinished is not None and unfinished.payload:
            self._take([unfinished])

    def _keep(self) -> None:
        """Have the next of what waits kept; what a sender had sent whole also when it has gone meanwhile: not every
        one waits for its answer.
        """
        items = self._next()
        self._unanswered = len(items)
        self._answers = [b""] * len(items)
        try:
            for place, item in enumerate(items):
                if isinstance(item, Frame):
                    self._intake.take(item.payload, _TRANSPORT, partial(self._answered, place))
                else:
                    _FAULTS.add(1, {"reason": item.code})
                    # The sender of an interrupted block already began another: an answer would be taken for that one's.
                    mute = item.code == "block_interrupted"
                    self._intake.take_fault(item, _TRANSPORT, partial(self._answered, None if mute else place))
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends one connection and no other
            _LOG.error("an MLLP connection was closed for a defect of ours: %s", type(error).__name__)
            self._unanswered -= len(items) - place
            self._break()

    def _next(self) -> list[Frame | FramingFault]:
        """Several at once; a large one alone: it leaves the event loop, and those behind it would overtake."""
        if len(self._waiting) == 1:
            some, self._waiting = self._waiting, []
            return some
        some = self._waiting[:_TOGETHER]
        large = next((place for place, item in enumerate(some) if len(item.payload) > LARGE), None)
        if large is not None:
            del some[large or 1 :]
        del self._waiting[: len(some)]
        return some

    def _answered(self, place: int | None, receipt: Receipt | None) -> None:
        self._unanswered -= 1
        if receipt is None:
            self._break()
        elif place is not None:
            self._answers[place] = encode(receipt.acknowledgement)
        if self._unanswered:
            return
        if not self._transport.is_closing():
            self._transport.write(self._answers[0] if len(self._answers) == 1 else b"".join(self._answers))
        if not self._full:
            self._go_on()

    def _go_on(self) -> None:
        """Everything in hand is answered, and the peer has room for more."""
        self._heard = self._loop.time()
        if self._waiting:
            self._keep()
        elif self._lost:
            self._door.leave(self)
        elif self._reason:
            self._close()
        elif not self._transport.is_reading():
            self._transport.resume_reading()

    def _break(self) -> None:
        """A defect of ours: this connection ends, and no other."""
        self._reason = "defect"
        self._waiting.clear()
        self._transport.abort()

    # The end.

    def _end(self, reason: str) -> None:
        """Read no more, and close when all that was read is answered."""
        self._reason = self._reason or reason
        if self._transport.is_closing():
            return
        self._transport.pause_reading()
        if not self._busy:
            self._close()

    def _close(self) -> None:
        """Once the peer has read what we wrote, or too late for that."""
        self._transport.close()
        if self._transport.get_write_buffer_size() and self._closing is None:
            self._closing = self._loop.call_later(self._limits.write_seconds, self._give_up)

    def _look_idle(self) -> None:
        left = self._heard + self._limits.idle_seconds - self._loop.time()
        if self._busy:
            left = self._limits.idle_seconds
        if left > 0:
            self._idle = self._loop.call_later(left, self._look_idle)
            return
        self._take_unfinished()
        self._end("idle")

    def _give_up(self) -> None:
        _LOG.info("an MLLP connection was lost: its peer does not read")
        self._transport.abort()
