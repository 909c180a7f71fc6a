"""Connections that never ask for an association: gone ones are let go at once, silent ones make room for others."""

import asyncio
import struct
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import numpy as np
import pytest
from pydicom.uid import UID

from datasets.images import image
from datasets.requests import Request

ABORT = 0x07
REJECT = 0x03
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def chest() -> Request:
    return Request.of(image(np.zeros((8, 8), dtype=np.uint8), bits_stored=8, SOPInstanceUID="1.2.3.3", Modality="DX"))


def associate_request(protocol_version: int = 1) -> bytes:
    """A-ASSOCIATE-RQ for verification, in implicit little endian (PS3.8 9.3.2)."""

    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(value)) + value

    syntaxes = item(0x30, b"1.2.840.10008.1.1") + item(0x40, str(UID("1.2.840.10008.1.2")).encode())
    user = item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3"))
    body = struct.pack(">HH", protocol_version, 0) + b"HILUM".ljust(16) + b"TEST".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, b"\x01\x00\x00\x00" + syntaxes) + user
    return struct.pack(">BBI", 1, 0, len(body)) + body


@asynccontextmanager
async def held(port: int, count: int, sent: bytes = b"") -> AsyncIterator[list[Connection]]:
    """``count`` connections that send ``sent`` and stay."""
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(sent)
            connections.append((reader, writer))
        yield connections


async def kind_of_answer(reader: asyncio.StreamReader) -> int:
    return (await asyncio.wait_for(reader.readexactly(10), 5))[0]


def acceptors() -> int:
    return sum("AcceptorThread" in thread.name for thread in threading.enumerate())


async def served_soon(running: Any) -> None:
    """Within a second: the threads of what has ended may just be ending."""
    async with asyncio.timeout(1):
        while (await running.send(chest())).status != 0:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("count", [100, 1000])
async def test_connections_that_are_closed_at_once_take_no_places(imaging, count: int) -> None:
    async with imaging() as running:
        for _ in range(count):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.close()
        began = time.monotonic()
        assert await running.echoscu() == 0
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("sent", [b"", b"\x01\x00\x00\x00\x00\xd0", associate_request()[:100]])
async def test_an_echo_and_an_image_are_answered_beside_two_hundred_silent_connections(imaging, sent: bytes) -> None:
    async with imaging() as running, held(running.port, 200, sent):
        began = time.monotonic()
        assert await running.echoscu() == 0
        assert (await running.send(chest())).status == 0
        assert time.monotonic() - began < 4  # before the silent ones' time is over
        assert acceptors() < 10


async def test_an_established_association_goes_on_beside_silent_connections(imaging) -> None:
    async with imaging() as running, held(running.port, 1, associate_request()) as ((reader, writer),):
        kind, length = struct.unpack(">BxI", await asyncio.wait_for(reader.readexactly(6), 5))
        assert kind == 2
        await reader.readexactly(length)
        async with held(running.port, 200):
            writer.write(struct.pack(">BBII", 5, 0, 4, 0))  # A-RELEASE-RQ
            assert await kind_of_answer(reader) == 6


async def test_the_oldest_of_one_address_makes_room(imaging) -> None:
    async with imaging(half_open_per_peer=2) as running, held(running.port, 3) as connections:
        assert await asyncio.wait_for(connections[0][0].read(), 2) == b""
        connections[2][1].write(associate_request())
        connections[1][1].write(associate_request())
        for reader, _ in connections[1:]:
            assert await kind_of_answer(reader) == 2


async def test_all_addresses_together_have_a_limit(imaging) -> None:
    async with imaging(half_open=2) as running, held(running.port, 3) as connections:
        assert await asyncio.wait_for(connections[0][0].read(), 2) == b""
        assert await running.echoscu() == 0


async def test_a_request_that_trickles_has_one_deadline_in_all(imaging) -> None:
    async with imaging(association_seconds=0.5) as running, held(running.port, 1) as ((reader, writer),):
        began = time.monotonic()
        closed = asyncio.create_task(reader.read())
        for byte in associate_request():
            if closed.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)
        assert (await asyncio.gather(closed, return_exceptions=True))[0] in (b"",) or closed.exception() is not None
        assert time.monotonic() - began < 2


async def test_a_request_in_pieces_is_whole_in_the_end(imaging) -> None:
    whole = associate_request()
    async with imaging() as running, held(running.port, 1) as ((reader, writer),):
        for start in range(0, len(whole), 5):
            writer.write(whole[start : start + 5])
            await asyncio.sleep(0.01)
        assert await kind_of_answer(reader) == 2


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">BBI", 4, 0, 100),
        struct.pack(">BBI", 1, 0, 0),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
    ids=["P-DATA-TF", "too short", "HTTP", "TLS"],
)
async def test_what_is_no_request_for_an_association_is_aborted(imaging, sent: bytes) -> None:
    async with imaging() as running, held(running.port, 1, sent) as ((reader, _),):
        assert await kind_of_answer(reader) == ABORT
        assert await asyncio.wait_for(reader.read(), 2) == b""


async def test_requests_that_cannot_be_read_take_no_places(imaging) -> None:
    broken = bytearray(associate_request())
    broken[74:] = b"\xff" * (len(broken) - 74)
    async with imaging(max_associations=2) as running:
        for sent in (bytes(broken), associate_request(protocol_version=2)) * 4:
            async with held(running.port, 1, sent) as ((reader, _),):
                assert await kind_of_answer(reader) in (ABORT, REJECT)
                await asyncio.wait_for(reader.read(), 2)
        await served_soon(running)


async def test_associations_whose_peer_is_gone_take_no_places(imaging) -> None:
    async with imaging(max_associations=4) as running:
        async with held(running.port, 4, associate_request()) as connections:
            for reader, _ in connections:
                assert await kind_of_answer(reader) == 2
        await served_soon(running)


async def test_requests_beyond_all_places_are_rejected_as_passing(imaging) -> None:
    async with imaging(max_associations=1) as running, held(running.port, 6, associate_request()) as connections:
        answers = await asyncio.gather(*(asyncio.wait_for(reader.readexactly(10), 5) for reader, _ in connections))
        assert sorted(answer[0] for answer in answers) == [2] + [REJECT] * 5
        assert {answer[7:] for answer in answers if answer[0] == REJECT} == {b"\x02\x03\x02"}


async def test_refused_connections_leave_one_line_a_reason_and_their_number(imaging, caplog) -> None:
    async with imaging(half_open_per_peer=1) as running, held(running.port, 50) as connections:
        await asyncio.wait_for(connections[48][0].read(), 5)
    told = [message for message in caplog.messages if "connection was refused" in message]
    assert told[0] == "a DICOM connection was refused: crowded_out"
    assert [message.partition(" ")[0] for message in told[1:]] == ["48"]
