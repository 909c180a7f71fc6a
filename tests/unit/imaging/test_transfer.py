"""The data transfer phase over a pair of sockets: what is served, what ends it, and in how many pieces it may come."""

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from hilum.errors import Rejected
from hilum.imaging.adapters.commands import Answer
from hilum.imaging.adapters.transfer import Bounds, Context, StoreRequest, Transfer, abort_at_once, abort_pdu

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
CONTEXTS = {1: Context(CT, EXPLICIT), 3: Context(VERIFICATION, EXPLICIT)}
RELEASE = struct.pack(">BxII", 5, 4, 0)
RELEASED = struct.pack(">BxII", 6, 4, 0)
LIMIT = 1 << 20


def element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, number, len(value)) + value


def command(field: int = 1, *, data_set: bool = True, sop_class: str = CT) -> bytes:
    body = element(0x0002, sop_class.encode()) + element(0x0100, struct.pack("<H", field))
    body += element(0x0110, b"\x01\x00") + element(0x0800, struct.pack("<H", 1 if data_set else 0x0101))
    return body + element(0x1000, b"1.2.3")


def value(fragment: bytes, control: int, context: int = 1) -> bytes:
    return struct.pack(">IBB", len(fragment) + 2, context, control) + fragment


def pdu(*values: bytes) -> bytes:
    body = b"".join(values)
    return struct.pack(">BxI", 4, len(body)) + body


def store(data_set: bytes, size: int = 10_000) -> bytes:
    parts = [data_set[start : start + size] for start in range(0, len(data_set), size)] or [b""]
    pdus = [pdu(value(part, 2 if at == len(parts) - 1 else 0)) for at, part in enumerate(parts)]
    return pdu(value(command(), 3)) + b"".join(pdus)


class Exchange:
    """One end of a transfer whose other end is served in a thread."""

    def __init__(self, seconds: float, peer_pdu_bytes: int, limit: int, holding: int) -> None:
        self.stored: list[bytes] = []
        self.files: list[bytes] = []
        self.held: list[int] = []
        self.buffers: list[int] = []
        self._limit = limit
        self._holding = holding
        self.peer, served = socket.socketpair()
        self.peer.settimeout(10)
        self.transfer = Transfer(served, CONTEXTS, peer_pdu_bytes, Bounds(65_536, seconds, self._may), self._store)
        self.thread = threading.Thread(target=self._run, args=(self.transfer, served))
        self.thread.start()

    @staticmethod
    def _run(transfer: Transfer, served: socket.socket) -> None:
        with served:
            transfer.run()

    def _may(self, size: int, held: int) -> None:
        if size > self._limit or held > self._holding:
            raise Rejected("data_set_too_large", "")
        self.held.append(held)

    def _store(self, request: StoreRequest) -> Answer:
        self.buffers.append(len(self.transfer._buffer))
        self.stored.append(bytes(request.data_set))
        self.files.append(bytes(request.file))
        return Answer(0)

    def answers(self) -> bytes:
        """All until the other end closes."""
        read = b""
        try:
            while more := self.peer.recv(65_536):
                read += more
        except ConnectionResetError:
            pass
        return read


@contextmanager
def exchange(
    seconds: float = 5.0, peer_pdu_bytes: int = 0, limit: int = LIMIT, holding: int = 1 << 40
) -> Iterator[Exchange]:
    running = Exchange(seconds, peer_pdu_bytes, limit, holding)
    try:
        yield running
    finally:
        running.peer.close()
        running.thread.join(10)
        assert not running.thread.is_alive()


STATUS_0 = struct.pack("<HHIH", 0, 0x0900, 2, 0)


@pytest.mark.parametrize("size", [0, 1, 9_999, 300_000, LIMIT])
@pytest.mark.parametrize("fragment", [7_001, 65_530])
def test_a_data_set_arrives_whole_behind_its_file_header(size: int, fragment: int) -> None:
    data = random.Random(size).randbytes(size)
    with exchange() as running:
        sender = threading.Thread(target=running.peer.sendall, args=(store(data, fragment) + RELEASE,))
        sender.start()
        answers = running.answers()
        sender.join()
    assert running.stored == [data]
    assert running.files[0][128:132] == b"DICM"
    assert running.files[0].endswith(data)
    assert answers.count(STATUS_0) == 1
    assert answers.endswith(RELEASED)


LARGE = 12 << 20


def _exchanged(running: Exchange, sent: bytes) -> bytes:
    """What is answered to ``sent``, once the whole answer to one C-STORE is there."""
    sender = threading.Thread(target=running.peer.sendall, args=(sent,))
    sender.start()
    answer = b""
    while STATUS_0 not in answer:
        answer += running.peer.recv(65_536)
    sender.join()
    return answer


def test_after_the_answer_to_a_large_instance_an_association_that_idles_holds_and_counts_nothing() -> None:
    with exchange(limit=LARGE) as running:
        _exchanged(running, store(bytes(LARGE), 60_000))
        assert running.held[-1] == 0
        assert len(running.transfer._buffer) <= 2 << 20


def test_the_whole_buffer_of_a_large_instance_is_counted_before_it_is_taken() -> None:
    with exchange(limit=LARGE) as running:
        _exchanged(running, store(bytes(LARGE), 60_000))
    assert running.buffers == [running.held[-2]]
    assert running.held[-2] > LARGE


def test_a_buffer_grows_by_no_more_than_is_needed_where_more_may_not_be_held() -> None:
    with exchange(limit=LARGE, holding=LARGE + 1024) as running:
        _exchanged(running, store(bytes(LARGE), 60_000))
    assert running.stored == [bytes(LARGE)]
    assert running.buffers[0] <= LARGE + 1024


def test_an_abort_from_without_does_not_wait_for_a_peer_that_reads_nothing() -> None:
    peer, served = socket.socketpair()
    with peer, served:
        served.setblocking(False)
        with suppress(BlockingIOError):
            while served.send(bytes(65_536)):
                pass
        served.settimeout(60)
        ending = threading.Thread(target=abort_at_once, args=(served,), daemon=True)
        ending.start()
        ending.join(10)
        assert not ending.is_alive()
        assert served.recv(1) == b""


def test_an_abort_from_without_is_told_to_the_peer() -> None:
    peer, served = socket.socketpair()
    with peer, served:
        abort_at_once(served)
        assert peer.recv(100) == abort_pdu()
        assert peer.recv(100) == b""


def test_pieces_of_any_size_make_the_same_messages() -> None:
    chance = random.Random(2)
    sets = [chance.randbytes(chance.choice((0, 10, 5_000, 70_000))) for _ in range(12)]
    whole = b"".join(store(data, chance.choice((100, 4_000, 60_000))) for data in sets) + RELEASE
    with exchange() as running:

        def send() -> None:
            at = 0
            while at < len(whole):
                size = chance.choice((1, 5, 6, 11, 12, 13, 400, 65_536, 65_537))
                running.peer.sendall(whole[at : at + size])
                at += size

        sender = threading.Thread(target=send)
        sender.start()
        answers = running.answers()
        sender.join()
    assert running.stored == sets
    assert answers.count(STATUS_0) == len(sets)


def test_command_and_data_set_may_share_a_pdu() -> None:
    half = len(command()) // 2
    with exchange() as running:
        running.peer.sendall(
            pdu(value(command()[:half], 1), value(command()[half:], 3), value(b"ab", 0), value(b"cd", 2)) + RELEASE
        )
        assert running.answers().endswith(RELEASED)
    assert running.stored == [b"abcd"]


def test_a_response_is_split_as_the_peer_wishes() -> None:
    with exchange(peer_pdu_bytes=30) as running:
        running.peer.sendall(store(b"ab") + RELEASE)
        answers = running.answers()
    at, fragments = 0, []
    while at < len(answers) - len(RELEASED):
        (length,) = struct.unpack_from(">I", answers, at + 2)
        assert length <= 30
        fragments.append(answers[at + 12 : at + 6 + length])
        at += 6 + length
    assert STATUS_0 in b"".join(fragments)


@pytest.mark.parametrize(
    ("field", "context", "status"),
    [(0x30, 3, 0), (0x30, 1, 0x0122), (0x20, 1, 0x0211)],
    ids=["C-ECHO", "C-ECHO where storage was agreed", "C-FIND"],
)
def test_each_operation_has_its_answer(field: int, context: int, status: int) -> None:
    with exchange() as running:
        running.peer.sendall(pdu(value(command(field, data_set=False), 3, context)) + RELEASE)
        assert struct.pack("<HHIH", 0, 0x0900, 2, status) in running.answers()
    assert not running.stored


def test_a_cancellation_changes_nothing() -> None:
    cancel = element(0x0100, b"\xff\x0f") + element(0x0120, b"\x01\x00") + element(0x0800, b"\x01\x01")
    with exchange() as running:
        running.peer.sendall(pdu(value(cancel, 3)) + store(b"ab") + RELEASE)
        assert running.answers().endswith(RELEASED)
    assert running.stored == [b"ab"]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (pdu(value(b"ab", 2)), 6),
        (pdu(value(command(), 3, context=9)), 6),
        (pdu(value(command(), 3)) + pdu(value(b"ab", 2, context=3)), 6),
        (pdu(value(command(), 3)) + pdu(value(command(), 3)), 6),
        (pdu(value(command()[:-1], 3)), 6),
        (pdu(b"\0\0\0\x01\x01\x03"), 6),
        (pdu(value(command(), 3) + b"\0"), 6),
        (struct.pack(">BxI", 4, 0), 6),
        (struct.pack(">BxI", 4, 70_000), 6),
        (struct.pack(">BxI", 1, 68) + bytes(68), 2),
        (struct.pack(">BxI", 9, 4) + bytes(4), 2),
        (pdu(value(b"\0" * 60_000, 1)) + pdu(value(b"\0" * 60_000, 1)), 6),
        (store(bytes(LIMIT + 1), 60_000), 0),
    ],
    ids=[
        "data before a command",
        "an unknown context",
        "another context within a message",
        "a command within a message",
        "half a command",
        "a value shorter than its header",
        "what is left of a PDU",
        "an empty PDU",
        "a PDU longer than agreed",
        "a second request for an association",
        "an unknown PDU",
        "a command without end",
        "a data set beyond the limit",
    ],
)
def test_what_breaks_the_protocol_is_aborted_with_its_reason(sent: bytes, reason: int) -> None:
    with exchange() as running:
        sender = threading.Thread(target=_send_all, args=(running.peer, sent))
        sender.start()
        answers = running.answers()
        sender.join()
    assert answers == struct.pack(">BxIBBBB", 7, 4, 0, 0, 2, reason)
    assert not running.stored


def _send_all(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError:
        return


@pytest.mark.parametrize("sent", [b"", store(b"ab" * 100)[:150]])
def test_silence_is_aborted(sent: bytes) -> None:
    with exchange(seconds=0.2) as running:
        running.peer.sendall(sent)
        assert running.answers()[:1] == b"\x07"


@pytest.mark.parametrize("end", [lambda peer: peer.close(), lambda peer: peer.sendall(struct.pack(">BxII", 7, 4, 0))])
def test_a_peer_that_goes_ends_it(end: Callable[[socket.socket], None]) -> None:
    with exchange() as running:
        running.peer.sendall(store(b"ab")[:-1])
        end(running.peer)


def test_hostile_bytes_end_it_and_raise_nothing() -> None:
    chance = random.Random(11)
    whole = store(bytes(3_000), 700) + pdu(value(command(0x30, data_set=False), 3, 3)) + RELEASE
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 2, 6))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with exchange(seconds=0.3) as running:
            _send_all(running.peer, bytes(data))
            running.peer.shutdown(socket.SHUT_WR)
            running.answers()
