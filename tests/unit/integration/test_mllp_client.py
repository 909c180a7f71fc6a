"""One message in flight, one whole answer believed, anything else closes the connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from hilum.errors import Unavailable
from hilum.hl7.mllp import encode
from hilum.integration.adapters.mllp_client import MllpClient

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(*answers: Answer, seconds: float = 0.3) -> AsyncIterator[tuple[MllpClient, list[int]]]:
    """A client of a peer that gives ``answers`` in turn; the list counts its connections."""
    waiting, connections = list(answers), [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        try:
            while await reader.readuntil(b"\x1c\x0d"):
                await waiting.pop(0)(writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = MllpClient("127.0.0.1", server.sockets[0].getsockname()[1], seconds)
    try:
        yield client, connections
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


def sending(*pieces: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)

    return answer


async def silence(_: asyncio.StreamWriter) -> None:
    return


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_a_connection_is_kept_from_message_to_message() -> None:
    async with answering(sending(encode(b"one")), sending(encode(b"two"))) as (client, connections):
        assert [await client.exchange(b"a"), await client.exchange(b"b")] == [b"one", b"two"]
        assert connections == [1]


async def test_an_answer_may_come_in_pieces() -> None:
    async with answering(sending(b"\x0bon", b"e\x1c", b"\x0d")) as (client, _):
        assert await client.exchange(b"a") == b"one"


@pytest.mark.parametrize(
    "answer",
    [silence, hang_up, sending(encode(b"one") + encode(b"two")), sending(b"garbage"), sending(b"\x0bnever ends")],
)
async def test_anything_else_is_no_answer_and_ends_the_connection(answer: Answer) -> None:
    async with answering(answer, sending(encode(b"two"))) as (client, connections):
        with pytest.raises(Unavailable, match="ris_no_answer"):
            await client.exchange(b"a")
        assert await client.exchange(b"b") == b"two"
        assert connections == [2]


async def test_a_late_answer_is_not_taken_for_another_message_s() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        writer.write(encode(b"late"))

    async with answering(late, sending(encode(b"two"))) as (client, _):
        with pytest.raises(Unavailable, match="ris_no_answer"):
            await client.exchange(b"a")
        await asyncio.sleep(0.4)
        assert await client.exchange(b"b") == b"two"


async def test_an_endless_answer_is_given_up() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x0b" + b"x" * (2 * 1024 * 1024))
        await writer.drain()

    async with answering(endless, seconds=5) as (client, _):
        with pytest.raises(Unavailable, match="ris_no_answer"):
            await client.exchange(b"a")


async def test_nobody_there_is_unreachable() -> None:
    async with answering() as (client, _):
        pass
    with pytest.raises(Unavailable, match="ris_unreachable"):
        await client.exchange(b"a")
