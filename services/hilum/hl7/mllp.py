"""Minimal lower layer protocol, release 1 (HL7 Transport Specification: MLLP): blocks of ``0B payload 1C 0D``.

Sans-I/O: bytes go in, frames and faults come out. Work is linear in the bytes fed, however they are split.
"""

from dataclasses import dataclass
from typing import NamedTuple

START = b"\x0b"
END = b"\x1c\x0d"


class Frame(NamedTuple):
    """One whole block; ``payload`` is what stood between the start and end characters, unchanged."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class FramingFault:
    """A block that could not be read whole.

    ``code`` is ``block_interrupted`` (a start character inside a block: the reader resynchronised on it),
    ``block_too_large`` or ``block_unfinished`` (the stream ended inside it). ``payload`` is what was held of the
    block when it was given up, never more than the limit; ``lost`` counts its bytes.
    """

    code: str
    text: str
    payload: bytes

    @property
    def lost(self) -> int:
        return len(self.payload)


def encode(payload: bytes) -> bytes:
    """The block that carries ``payload``; the payload must hold neither start character nor end sequence."""
    return START + payload + END


class FrameDecoder:
    """Splits a byte stream into frames, whatever the pieces it arrives in.

    Bytes outside a block are dropped and counted in ``discarded``. At most ``max_bytes`` of a block (plus one piece
    as fed) are held: a larger one yields one fault at once and the rest of it is dropped as it comes.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._buffer = bytearray()  # of the open block, without its start character
        self._open = False
        self._oversize = False  # dropping the rest of a block that was given up
        self._oversize_tail = b""
        self.discarded = 0

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished block are held; None of them has been answered."""
        return len(self._buffer)

    @property
    def in_block(self) -> bool:
        """Whether a block has begun and not ended."""
        return self._open or self._oversize

    def feed(self, data: bytes) -> list[Frame | FramingFault]:
        """Take the next bytes of the stream; returns what became whole or was given up, in stream order."""
        last = len(data) - len(END)
        if not self.in_block and 0 < last <= self._max and data.find(END) == last and data.rfind(START) == 0:
            return [Frame(data[len(START) : last])]  # what mostly comes: one block, whole
        found: list[Frame | FramingFault] = []
        at = 0
        while at < len(data):
            if self._oversize:
                at = self._skip(data, at)
            elif not self._open:
                at = self._seek(data, at)
            else:
                at = self._collect(data, at, found)
        return found

    def finish(self) -> FramingFault | None:
        """The stream has ended; the fault if it ended inside a block."""
        if not self._open:
            self._oversize = False
            return None
        payload = bytes(self._buffer[: self._max])
        self._buffer.clear()
        self._open = False
        return FramingFault("block_unfinished", "the stream ended inside a block", payload)

    def _seek(self, data: bytes, at: int) -> int:
        start = data.find(START, at)
        if start < 0:
            self.discarded += len(data) - at
            return len(data)
        self.discarded += start - at
        self._open = True
        return start + 1

    def _collect(self, data: bytes, at: int, found: list[Frame | FramingFault]) -> int:
        if self._buffer[-1:] == END[:1] and data[at : at + 1] == END[1:]:
            body, end, after = 0, at, at + 1  # the end sequence was split between two pieces
            del self._buffer[-1:]
        else:
            end = data.find(END, at)
            body, after = (len(data) - at, len(data)) if end < 0 else (end - at, end + len(END))
        # A start character cannot occur in a payload. The last one begins the block that is still alive; what lies
        # before it is one fault, so that a storm of start characters costs one answer, not one each.
        restart = data.rfind(START, at, at + body)
        if restart >= 0:
            self._interrupt(data[at:restart], found)
            body -= restart + 1 - at
            at = restart + 1
        undecided = end < 0 and data[-1:] == END[:1]  # it may begin the end sequence, and is no content then
        if len(self._buffer) + body - undecided > self._max:
            room = max(0, self._max - len(self._buffer))
            payload = (bytes(self._buffer) + data[at : at + room])[: self._max]
            self._close()
            found.append(FramingFault("block_too_large", f"the block exceeds {self._max} bytes", payload))
            if end < 0:
                self._oversize = True
                self._oversize_tail = data[-1:]
            return after
        if end < 0:
            self._buffer += data[at:]
            return after
        piece = data[at : at + body]
        found.append(Frame(bytes(self._buffer) + piece if self._buffer else piece))
        self._close()
        return after

    def _interrupt(self, before: bytes, found: list[Frame | FramingFault]) -> None:
        payload = bytes(self._buffer) + before
        self._buffer.clear()
        if payload.strip(START):
            text = "a start character inside a block; resynchronised on it"
            found.append(FramingFault("block_interrupted", text, payload[: self._max]))
        else:
            self.discarded += len(payload) + 1

    def _skip(self, data: bytes, at: int) -> int:
        if self._oversize_tail == END[:1] and data[at : at + 1] == END[1:]:
            self._oversize = False
            return at + 1
        self._oversize_tail = data[-1:]
        end, start = data.find(END, at), data.find(START, at)
        if end >= 0 and (start < 0 or end < start):
            self._oversize = False
            return end + len(END)
        if start >= 0:
            self._oversize = False
            return start
        return len(data)

    def _close(self) -> None:
        self._buffer.clear()
        self._open = False
