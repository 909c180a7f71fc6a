"""The peers that the MLLP listener is measured beside. Each prints its port and serves until it is ended.

Usage: mllp_peers.py echo | python-hl7 FILE | collector | sync FILE SECONDS

``echo`` is asyncio's streams with a constant answer: no parsing, no disk. ``python-hl7`` is that library's own server,
which parses, keeps each message with one fdatasync and answers with the library's own acknowledgement. ``collector``
takes traces over OTLP and forgets them. ``sync`` is no server: a bare loop of one write and one fdatasync a message.
"""

import asyncio
import os
import sys
import time
from contextlib import suppress
from typing import Any

from mllp_load import order

_END = b"\x1c\x0d"
_ACK = b"\x0bMSH|^~\\&|ECHO||RIS||20260301080000||ACK|1|P|2.3.1\rMSA|AA|1\r" + _END


async def echo() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(_END)
                writer.write(_ACK)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
    await _serve(server)


async def python_hl7(path: str) -> None:
    from hl7.mllp import start_hl7_server  # noqa: PLC0415 - only this peer needs it

    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def answer(reader: Any, writer: Any) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = await reader.readmessage()
                os.write(file, str(message).encode())
                os.fdatasync(file)
                writer.writemessage(message.create_ack())
                await writer.drain()
        writer.close()

    await _serve(await start_hl7_server(answer, "127.0.0.1", 0, encoding="utf-8"))


async def _serve(server: asyncio.Server) -> None:
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def collector() -> None:
    import grpc  # noqa: PLC0415

    async def forget(_request: bytes, _context: object) -> bytes:
        return b""

    async def serve() -> None:
        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(forget)
        service = "opentelemetry.proto.collector.trace.v1.TraceService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(port, flush=True)
        await server.wait_for_termination()

    asyncio.run(serve())


def sync(path: str, seconds: float) -> None:
    """Prints how many messages a second one thread writes and syncs, each by itself."""
    message = order()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    count, began = 0, time.perf_counter()
    until = began + seconds
    while time.perf_counter() < until:
        os.write(file, message)
        os.fdatasync(file)
        count += 1
    print(count / (time.perf_counter() - began), flush=True)


def main() -> None:
    peer, *told = sys.argv[1:]
    with suppress(KeyboardInterrupt):
        if peer == "echo":
            asyncio.run(echo())
        elif peer == "python-hl7":
            asyncio.run(python_hl7(told[0]))
        elif peer == "collector":
            collector()
        elif peer == "sync":
            sync(told[0], float(told[1]))
        else:
            raise SystemExit(f"no such peer: {peer}")


if __name__ == "__main__":
    main()
