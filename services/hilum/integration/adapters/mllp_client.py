"""An MLLP client that keeps one message in flight (HL7 Transport Specification: MLLP R1)."""

import asyncio
import contextlib

from hilum.errors import Unavailable
from hilum.hl7.mllp import Frame, FrameDecoder, encode

_LARGEST_ANSWER = 1024 * 1024
_READ = 65536


class MllpClient:
    """One connection, opened when it is needed and closed whenever an answer cannot be trusted."""

    def __init__(self, host: str, port: int, timeout_seconds: float) -> None:
        self._host, self._port, self._timeout = host, port, timeout_seconds
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._trusted = False

    async def exchange(self, payload: bytes) -> bytes:
        """Send one message and return the payload that answers it.

        Raises Unavailable ``ris_unreachable`` when nothing was sent, ``ris_no_answer`` when the peer may have the
        message: the connection is then closed, so that a late answer is never taken for another message's.
        """
        reader, writer = await self._connected()
        try:
            async with asyncio.timeout(self._timeout):
                writer.write(encode(payload))
                await writer.drain()
                return await self._answer(reader)
        except TimeoutError:
            raise Unavailable("ris_no_answer", "no answer in time") from None
        except OSError as error:
            raise Unavailable("ris_no_answer", f"the connection broke ({type(error).__name__})") from None
        finally:
            if not self._trusted:
                await self.close()

    async def close(self) -> None:
        """Drop the connection; the next exchange opens another."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is not None and self._writer is not None and not self._reader.at_eof():
            self._trusted = False
            return self._reader, self._writer
        await self.close()
        try:
            async with asyncio.timeout(self._timeout):
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, TimeoutError) as error:
            raise Unavailable("ris_unreachable", f"no connection ({type(error).__name__})") from None
        self._trusted = False
        return self._reader, self._writer

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        decoder = FrameDecoder(_LARGEST_ANSWER)
        while True:
            data = await reader.read(_READ)
            if not data:
                raise Unavailable("ris_no_answer", "the peer closed the connection without an answer")
            found = decoder.feed(data)
            if found:
                if len(found) > 1 or not isinstance(found[0], Frame) or decoder.in_block:
                    raise Unavailable("ris_no_answer", "the answer is not one whole block")
                self._trusted = True
                return found[0].payload
