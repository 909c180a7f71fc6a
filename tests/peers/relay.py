"""Carries bytes between a listening socket and another address: how a client reaches into a network namespace.

Run as a program inside the namespace it listens on UNIX sockets, which cross namespaces, and connects to
loopback ports there: ``python relay.py SOCKET=PORT ...``.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


def relay_to(
    connect: Callable[[], Awaitable[Streams]],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """A connection handler that joins each caller to a fresh connection made by ``connect``."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far_reader, far_writer = await connect()
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            far_writer.close()
        writer.close()

    return handle


async def _serve(pairs: list[str]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for pair in pairs:
            path, _, port = pair.rpartition("=")
            to_port = relay_to(lambda port=int(port): asyncio.open_connection("127.0.0.1", port))
            await stack.enter_async_context(await asyncio.start_unix_server(to_port, path))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
