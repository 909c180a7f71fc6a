"""The sending side of an HL7 interface: one message, wait for its acknowledgement, then the next (MLLP release 1)."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from hilum.errors import HilumError, Rejected, Unavailable
from hilum.hl7 import mllp
from hilum.hl7.acknowledgement import Acknowledgement, read_acknowledgement

_LARGEST_ANSWER = 1 << 20


@dataclass
class Sent:
    """One message of the feed and what became of it."""

    message_control_id: str
    payload: bytes
    transmissions: int = 0
    answer: Acknowledgement | None = None

    @property
    def accepted(self) -> bool:
        return self.answer is not None and self.answer.accepted


@dataclass
class Hl7Feed:
    """Messages to ``host``:``port``, over one connection that is made anew whenever it fails.

    A message that nobody answered is sent again with the same bytes, at most ``attempts`` times, as is one answered
    AR ("send later"); AA and AE end it.
    """

    host: str
    port: int
    answer_seconds: float = 10.0
    retry_seconds: float = 0.2
    attempts: int = 10
    sent: list[Sent] = field(default_factory=list)
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, message_control_id: str, payload: bytes) -> Sent:
        """Send until it is answered for good. Raises `Unavailable` when ``attempts`` are used up without an answer."""
        sent = Sent(message_control_id, payload)
        self.sent.append(sent)
        while True:
            sent.transmissions += 1
            try:
                sent.answer = await self._exchange(sent)
                if sent.answer.code != "AR":
                    return sent
            except (OSError, TimeoutError, HilumError):
                await self.close()
            if sent.transmissions >= self.attempts:
                if sent.answer is not None:
                    return sent
                raise Unavailable("not_acknowledged", f"no answer after {sent.transmissions} transmissions")
            await asyncio.sleep(self.retry_seconds)

    @property
    def retransmissions(self) -> int:
        return sum(max(0, sent.transmissions - 1) for sent in self.sent)

    async def close(self) -> None:
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, sent: Sent) -> Acknowledgement:
        async with asyncio.timeout(self.answer_seconds):
            if self._streams is None:
                self._streams = await asyncio.open_connection(self.host, self.port)
            reader, writer = self._streams
            writer.write(mllp.encode(sent.payload))
            await writer.drain()
            answer = read_acknowledgement(await _read_frame(reader))
        if answer.message_control_id != sent.message_control_id:
            raise Rejected("wrong_message_answered", "the acknowledgement names another message")
        return answer


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    decoder = mllp.FrameDecoder(_LARGEST_ANSWER)
    while data := await reader.read(65536):
        for found in decoder.feed(data):
            if isinstance(found, mllp.Frame):
                return found.payload
            raise Rejected(found.code, found.text)
    raise Unavailable("connection_closed", "the connection ended before the answer")
