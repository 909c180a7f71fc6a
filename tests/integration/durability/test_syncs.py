"""Seen from the kernel: a message is in the log and the log is synced before its acknowledgement goes out."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import pytest

from hilum.api.intake.v1.intake_pb2 import SubmitRequest
from hilum.api.intake.v1.intake_pb2_grpc import IntakeServiceStub
from hilum.hl7.mllp import encode
from peers.strace import Call, kept_before, read_trace, traced

LOG = r"/log[^/]*$|/log/"
MESSAGES = 5

SERVER = """
import asyncio, sys
from pathlib import Path
from hilum.embedded import Options, run

def serve(port):
    options = Options(state=Path(sys.argv[1]), mllp_port=0, grpc_port=0, http_port=0, services=("ingest",))
    asyncio.run(run(options, lambda system: print(getattr(system, port), flush=True)))
"""
# What must never be: the sender is told first, and the message kept a moment later.
HASTY = """
from hilum.ingest.adapters.state import EventLogRaw
careful, later = EventLogRaw.keep, set()

async def keep(self, message):
    async def after_the_answer():
        await asyncio.sleep(0.2)
        await careful(self, message)
    later.add(asyncio.create_task(after_the_answer()))

EventLogRaw.keep = keep
"""

Send = Callable[[int, Sequence[bytes]], None]


def over_mllp(port: int, messages: Sequence[bytes]) -> None:
    """One message after another, each waiting for its acknowledgement."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for message in messages:
            connection.sendall(encode(message))
            answer = b""
            while not answer.endswith(b"\x1c\x0d"):
                got = connection.recv(65536)
                assert got, "the connection was closed without an answer"
                answer += got
            assert b"MSA|AA" in answer


def over_grpc(port: int, messages: Sequence[bytes]) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = IntakeServiceStub(channel)
        for message in messages:
            assert stub.Submit(SubmitRequest(message=message), timeout=30).acknowledgement_code == "AA"


WIRES = [
    pytest.param("mllp_port", over_mllp, id="MLLP"),
    pytest.param("grpc_port", over_grpc, id="gRPC"),
]


@pytest.fixture
def messages() -> list[bytes]:
    raw = (Path(__file__).parents[2] / "corpus" / "hl7" / "orm-o01-2.3.1.hl7").read_bytes()
    return [raw.replace(b"|A001|", b"|N%04d|" % number) for number in range(MESSAGES)]


def answered(program: str, port: str, send: Send, messages: Sequence[bytes], folder: Path) -> list[Call]:
    """The calls of a server that has answered ``messages``."""
    with traced(f"{program}\nserve({port!r})", folder / "state", trace=folder / "trace") as server:
        send(server.port, messages)
        return server.calls(f"MSA|AA|N{MESSAGES - 1:04d}")


@pytest.mark.peers
@pytest.mark.parametrize(("port", "send"), WIRES)
def test_each_message_is_synced_before_its_acknowledgement_goes_out(
    tmp_path: Path, messages: list[bytes], port: str, send: Send
) -> None:
    calls = answered(SERVER, port, send, messages, tmp_path)
    for number in range(MESSAGES):
        assert kept_before(calls, LOG, f"N{number:04d}", f"MSA|AA|N{number:04d}")


@pytest.mark.peers
@pytest.mark.parametrize(("port", "send"), WIRES)
def test_a_server_that_acknowledges_first_is_found_out(
    tmp_path: Path, messages: list[bytes], port: str, send: Send
) -> None:
    calls = answered(SERVER + HASTY, port, send, messages, tmp_path)
    for number in range(MESSAGES):
        assert not kept_before(calls, LOG, f"N{number:04d}", f"MSA|AA|N{number:04d}")


ANSWER = '7 1.5 sendto(9<socket:[3]>, "MSA|AA|N1", 9) = 9'


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        pytest.param(
            ['7 1.0 pwrite64(5</x/log.db-wal>, "N1", 2, 0) = 2', "7 1.1 fdatasync(5</x/log.db-wal>) = 0", ANSWER],
            True,
            id="write, sync, answer",
        ),
        pytest.param(
            [
                '7 1.0 pwrite64(5</x/log.db-wal>, "N1", 2, 0) = 2',
                "7 1.1 fdatasync(5</x/log.db-wal> <unfinished ...>",
                "7 1.2 <... fdatasync resumed>) = 0",
                ANSWER,
            ],
            True,
            id="a sync in two lines",
        ),
        pytest.param(
            [
                '7 1.0 pwrite64(5</x/log.db-wal>, "N1", 2, 0) = 2',
                "8 1.1 fdatasync(5</x/log.db-wal> <unfinished ...>",
                ANSWER,
                "8 1.6 <... fdatasync resumed>) = 0",
            ],
            False,
            id="a sync that ended too late",
        ),
        pytest.param(
            ["7 1.0 fdatasync(5</x/log.db-wal>) = 0", '7 1.1 pwrite64(5</x/log.db-wal>, "N1", 2, 0) = 2', ANSWER],
            False,
            id="a sync before the write",
        ),
        pytest.param(
            [
                '7 1.0 pwrite64(5</x/log.db-wal>, "N1", 2, 0) = 2',
                "7 1.1 fdatasync(5</x/log.db-wal>) = -1 EIO (Input/output error)",
                ANSWER,
            ],
            False,
            id="a sync that failed",
        ),
        pytest.param(
            ['7 1.0 pwrite64(5</x/log.db-wal>, "N1", 2, 0) = 2', "7 1.1 fdatasync(6</x/state/in.db-wal>) = 0", ANSWER],
            False,
            id="a sync of another file",
        ),
        pytest.param(
            ['7 1.0 pwrite64(5</x/log.db-wal>, "N0", 2, 0) = 2', "7 1.1 fdatasync(5</x/log.db-wal>) = 0", ANSWER],
            False,
            id="a write of another message",
        ),
    ],
)
def test_only_a_sync_of_the_message_itself_that_ended_in_time_counts(lines: list[str], kept: bool) -> None:
    assert kept_before(read_trace(lines), LOG, "N1", "MSA|AA|N1") is kept
