"""A connection's bytes, read in one thread that blocks, with deadlines that the kernel keeps."""

import socket
import struct
import time

_SCRATCH_BYTES = 65_536


class Stream:
    """What a connection sends, read with as few calls as may be; each read is a moment without the interpreter."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._at = self._filled = 0
        self._deadline = 0.0
        # The kernel's own deadline: with Python's, every read would be two calls.
        whole = int(seconds)
        timeout = struct.pack("@ll", whole, int((seconds - whole) * 1e6))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)

    def take(self, size: int) -> bytes:
        """The first ``size`` bytes of a PDU, whose deadline begins with them; empty at the end of the stream."""
        if self._at == self._filled:
            self._at, self._filled = 0, self._receive([self._scratch])
            if not self._filled:
                return b""
        self._deadline = time.monotonic() + self._seconds
        return self.rest(size)

    def rest(self, size: int) -> bytes:
        """``size`` more bytes of the PDU. Raises OSError when they do not come, TimeoutError when not in time."""
        at = self._at
        if self._filled - at >= size:
            self._at = at + size
            return bytes(self._scratch[at : self._at])
        taken = bytearray(size)
        with memoryview(taken) as view:
            self.into(view)
        return bytes(taken)

    def into(self, target: memoryview) -> None:
        """Fill ``target``; as `rest`."""
        done = min(len(target), self._filled - self._at)
        target[:done] = self._scratch[self._at : self._at + done]
        self._at += done
        while done < len(target):
            left = len(target) - done
            received = self._receive([target[done:], self._scratch])
            if not received:
                raise ConnectionError("the peer closed within a PDU")
            if received > left:
                self._at, self._filled = 0, received - left
            done += min(received, left)
            if time.monotonic() > self._deadline:
                raise TimeoutError("a PDU did not arrive in time")

    def discard(self, limit: int, seconds: float) -> None:
        """Read on until the peer closes, or so many bytes or seconds have passed."""
        self._connection.settimeout(seconds)
        until = time.monotonic() + seconds
        while limit > 0 and time.monotonic() < until and (received := self._receive([self._scratch])):
            limit -= received

    def _receive(self, buffers: list[memoryview]) -> int:
        try:
            return self._connection.recvmsg_into(buffers)[0]
        except BlockingIOError:
            raise TimeoutError("nothing came in time") from None
