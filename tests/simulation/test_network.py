"""The network of the seeded world, under asyncio's own streams."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from hilum.simulator.world.loop import Process, SimulatedLoop
from hilum.simulator.world.network import Network, Weather

_PORT = 2575


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    loop = SimulatedLoop(Random(1))
    loop.network = Network(loop, Random(2), Weather())
    yield loop
    loop.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def serve() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", _PORT)
    await server.serve_forever()


def test_bytes_arrive_in_order_in_pieces_and_later(loop: SimulatedLoop) -> None:
    sent = bytes(range(256)) * 40

    async def life() -> bytes:
        await asyncio.start_server(echo, "127.0.0.1", _PORT)
        reader, writer = await asyncio.open_connection("127.0.0.1", _PORT)
        writer.write(sent)
        answer = await reader.readexactly(len(sent))
        writer.close()
        await asyncio.sleep(1)
        return answer

    assert loop.run_until_complete(life()) == sent
    assert loop.time() > 1


def test_the_far_end_of_a_process_that_died_is_reset_and_refuses(loop: SimulatedLoop) -> None:
    process = Process("server")

    async def life() -> None:
        task = loop.start(process, serve())
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", _PORT)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        process.kill()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", _PORT)
        process.alive = True
        process.go_on(loop)
        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(1)

    loop.run_until_complete(life())


def test_a_line_that_breaks_loses_what_was_under_way_at_both_ends(loop: SimulatedLoop) -> None:
    async def life() -> None:
        assert isinstance(loop.network, Network)
        await asyncio.start_server(echo, "127.0.0.1", _PORT)
        reader, writer = await asyncio.open_connection("127.0.0.1", _PORT)
        loop.network.weather.breaks = 1.0
        writer.write(b"lost")
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        await asyncio.sleep(1)

    loop.run_until_complete(life())
