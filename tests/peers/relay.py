"""Carries connections from one address to another: how a client reaches into a network namespace.

``python relay.py FROM=TO ...``, each a loopback port or the path of a UNIX socket, which crosses namespaces.
"""

import asyncio
import contextlib
import sys
from functools import partial


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


async def _carry(to: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer), contextlib.suppress(OSError):
        there = asyncio.open_connection("127.0.0.1", int(to)) if to.isdigit() else asyncio.open_unix_connection(to)
        far_reader, far_writer = await there
        with contextlib.closing(far_writer):
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _serve(pairs: list[str]) -> None:
    for pair in pairs:
        here, _, there = pair.partition("=")
        carry = partial(_carry, there)
        if here.isdigit():
            await asyncio.start_server(carry, "127.0.0.1", int(here))
        else:
            await asyncio.start_unix_server(carry, here)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
