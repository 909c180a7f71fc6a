"""An association after its negotiation: whatever a peer sends is answered, or the association is aborted."""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from hilum.errors import Rejected
from hilum.imaging.adapters.commands import Answer, read_command
from hilum.imaging.adapters.transfer import Bounds, Context, StoreRequest, Transfer

CONTEXTS = {
    1: Context("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.1.2.1"),
    3: Context("1.2.840.10008.1.1", "1.2.840.10008.1.2"),
}
_LIMIT = 4096
_PDU_BYTES = 2048
_PDU = struct.Struct(">BBI")
_P_DATA_TF, _RELEASE_RP, _ABORT = 4, 6, 7


@dataclass
class Line:
    """A connection that hands out ``stream`` in pieces of ``piece`` bytes, then its end, and keeps what is sent."""

    stream: bytes
    piece: int
    at: int = 0
    sent: bytearray = field(default_factory=bytearray)

    def recvmsg_into(self, buffers: Sequence[memoryview]) -> tuple[int, list[object], int, None]:
        given = self.stream[self.at : self.at + self.piece]
        left = given
        for buffer in buffers:
            part, left = left[: len(buffer)], left[len(buffer) :]
            buffer[: len(part)] = part
        taken = len(given) - len(left)
        self.at += taken
        return taken, [], 0, None

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def setsockopt(self, *_: object) -> None: ...

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR


def check(data: bytes) -> None:
    """Byte 0 is the longest PDU that the peer takes, 0 for any; the stream follows."""
    if not data:
        return
    whole = outcome(data[1:], len(data), data[0])
    assert whole == outcome(data[1:], 1, data[0])
    assert whole == outcome(data[1:], 7, data[0])


def outcome(stream: bytes, piece: int, longest: int) -> tuple[bytes, list[bytes]]:
    """What was answered, and the files that were handed over."""
    line, files = Line(stream, piece), list[bytes]()

    def may_receive(size: int, held: int) -> None:
        assert held >= size
        if size > _LIMIT:
            raise Rejected("data_set_too_large", "a data set is larger than allowed")

    def store(request: StoreRequest) -> Answer:
        assert len(request.data_set) <= _LIMIT
        assert bytes(request.file).endswith(bytes(request.data_set))
        files.append(bytes(request.file))
        return Answer(0xA900, "kept, and put aside") if len(files) % 2 else Answer(0)

    bounds = Bounds(_PDU_BYTES, 5.0, may_receive)
    Transfer(line, CONTEXTS, longest, bounds, store).run()  # type: ignore[arg-type]
    check_answers(bytes(line.sent), longest)
    return bytes(line.sent), files


def check_answers(sent: bytes, longest: int) -> None:
    """PS3.8 9.3: whole PDUs of kinds that an acceptor sends, none longer than the peer takes, an end only once."""
    at, command = 0, b""
    while at < len(sent):
        kind, _, length = _PDU.unpack_from(sent, at)
        body = sent[at + _PDU.size : at + _PDU.size + length]
        assert len(body) == length
        at += _PDU.size + length
        if kind != _P_DATA_TF:
            assert (kind, length) in {(_RELEASE_RP, 4), (_ABORT, 4)}
            assert at == len(sent)
            return
        assert not longest or length <= max(longest, 8)
        size, context, control = struct.unpack_from(">IBB", body)
        assert (size + 4, context in CONTEXTS) == (length, True)
        command += body[6:]
        if control == 3:
            check_response(command)
            command = b""
    assert not command


def check_response(command: bytes) -> None:
    """PS3.7 6.3.1: group length first, elements in order, and nothing that would be a request."""
    (length,) = struct.unpack_from("<I", command, 8)
    assert length == len(command) - 12
    numbers, start = [], 0
    while start < len(command):
        group, number, size = struct.unpack_from("<HHI", command, start)
        assert (group, size % 2) == (0, 0)
        numbers.append(number)
        start += 8 + size
    assert numbers == sorted(set(numbers))
    try:
        read_command(command)
    except Rejected:
        return
    raise AssertionError("an answer was taken for a request")
