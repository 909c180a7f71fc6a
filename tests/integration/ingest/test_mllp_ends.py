"""How MLLP connections end: no peer, and no moment, keeps one for ever."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hilum.hl7.judge import ACCEPTED
from hilum.hl7.mllp import FramingFault, encode
from hilum.ingest.adapters import mllp_listener
from hilum.ingest.adapters.mllp_connection import READ, Connection, MllpLimits
from hilum.ingest.adapters.mllp_listener import MllpListener
from hilum.ingest.app import Answer, Intake, Receipt
from hilum.logs import BoundedWarnings

LIMITS = MllpLimits(
    message_bytes=1 << 20, connections=4, idle_seconds=600, write_seconds=0.05, stray_bytes=1000, drain_seconds=0
)
ANSWER = b"x" * 60_000  # less than what asyncio lets a peer leave unread without a word to us
MESSAGE = encode(b"MSH|^~\\&|A")


class Answering(Intake):
    """Answers everything, once ``gate`` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.reached = asyncio.Event()
        self._answering = set[asyncio.Task[None]]()

    def take(self, raw: bytes, transport: str, answer: Answer) -> None:
        self.reached.set()
        self._answering.add(asyncio.create_task(self._tell(answer)))

    def take_fault(self, fault: FramingFault, transport: str, answer: Answer) -> None:
        self.take(fault.payload, transport, answer)

    async def _tell(self, answer: Answer) -> None:
        await self.gate.wait()
        answer(Receipt(ANSWER, ACCEPTED, "1", "1"))


class Entrance:
    """Lets everyone in; ``empty`` is set when the one has gone."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(READ))
        self.empty = asyncio.Event()

    def enter(self, connection: Connection) -> str:
        return ""

    def leave(self, connection: Connection) -> None:
        self.empty.set()


@pytest.fixture
async def intake() -> Answering:
    return Answering()


@asynccontextmanager
async def connected(intake: Intake, door: Entrance) -> AsyncIterator[tuple[Connection, socket.socket]]:
    ours, peer = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection = Connection(intake, LIMITS, door, BoundedWarnings(logging.getLogger(__name__), lambda: 0.0))
    with peer:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
        try:
            yield connection, peer
        finally:
            transport.abort()


@asynccontextmanager
async def listening(intake: Intake) -> AsyncIterator[tuple[MllpListener, Callable[[], socket.socket]]]:
    listener = MllpListener(intake, "127.0.0.1", 0, LIMITS)
    await listener.start()
    peers: list[socket.socket] = []

    def connect() -> socket.socket:
        peers.append(socket.create_connection(("127.0.0.1", listener.port)))
        peers[-1].setblocking(False)
        return peers[-1]

    try:
        yield listener, connect
        await listener.stop()
    finally:
        for peer in peers:
            peer.close()


async def test_a_peer_that_reads_no_answers_and_ends_is_dropped(intake: Answering) -> None:
    """Less than 64 KiB unsent never paused the writing, and nothing bounded the flush of a closed transport."""
    door = Entrance()
    intake.gate.set()
    async with connected(intake, door) as (_, peer):
        peer.send(MESSAGE)
        peer.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(10):
            await door.empty.wait()


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_is_accepted_while_the_listener_stops_is_closed(intake: Answering, turns: int) -> None:
    """``turns`` of the event loop lie between the peer's connect and the stop."""
    async with listening(intake) as (listener, connect):
        peer = connect()
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.stop()
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):  # it was never accepted
                assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""


async def test_a_connection_that_is_aborted_before_its_work_has_begun_is_gone(intake: Answering) -> None:
    """Its task, cancelled before the first turn, never ran its ``finally``: a stop waited for ever."""
    door = Entrance()
    async with connected(intake, door) as (connection, _):
        door.buffer[: len(MESSAGE)] = MESSAGE
        connection.buffer_updated(len(MESSAGE))
        connection.abort()
        async with asyncio.timeout(10):
            await door.empty.wait()


async def test_a_stop_ends_though_a_connection_does_not(
    intake: Answering, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mllp_listener, "ABORT_SECONDS", 0.05)
    async with listening(intake) as (listener, connect):
        await asyncio.get_running_loop().sock_sendall(connect(), MESSAGE)
        await intake.reached.wait()
        with monkeypatch.context() as patched:
            patched.setattr(Connection, "abort", lambda _self: None)
            async with asyncio.timeout(10):
                await listener.stop()
    assert "1 MLLP connections did not end though they were aborted" in caplog.messages
