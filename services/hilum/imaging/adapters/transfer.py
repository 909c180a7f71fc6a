"""The data transfer phase of an association (PS3.8 9.2: Sta6), as its acceptor, in one thread that blocks.

A message is received straight into one buffer, behind the room for its file's header, and answered before the next
one is read: what a peer sends ahead of our answers stays in its own buffers. Nothing polls.
"""

import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from hilum.dicom.reading import file_header
from hilum.dicom.status import SOP_CLASS_NOT_SUPPORTED, SUCCESS
from hilum.errors import Rejected
from hilum.imaging.adapters.commands import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    LARGEST_COMMAND_BYTES,
    UNRECOGNISED_OPERATION,
    Answer,
    Command,
    read_command,
    write_response,
)
from hilum.imaging.adapters.contexts import VERIFICATION
from hilum.imaging.adapters.stream import Stream

_P_DATA_TF, _RELEASE_RQ, _RELEASE_RP, _ABORT = 4, 5, 6, 7
_PDU = struct.Struct(">BxI")  # type and length (PS3.8 9.3.1)
_VALUE = struct.Struct(">IBB")  # length, context, message control header (PS3.8 9.3.5.1, E.2)
_COMMAND_BIT, _LAST_BIT = 1, 2
_SHORT_PDU_BYTES = 4  # of A-RELEASE-RQ and A-ABORT
# A-ABORT by the provider: unexpected PDU, invalid PDU parameter value, reason not specified (PS3.8 9.3.8).
_UNEXPECTED, _INVALID, _NO_REASON = 2, 6, 0
_FIRST_BYTES = 1 << 18
_KEPT_BYTES = 1 << 21  # of a buffer, from one message to the next: not counted, for connections are
_ANSWERED_SECONDS = 1.0  # for the peer to read our A-ABORT and to close
_DISCARDED_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """C-STORE-RQ. ``file`` is the whole DICOM file, ``data_set`` its end as it came; both are lent for the call."""

    sop_class_uid: str
    sop_instance_uid: str
    context: Context
    file: memoryview
    data_set: memoryview


@dataclass(frozen=True)
class Bounds:
    """``may_receive(bytes, held)`` raises `Rejected` when the message, which has so many bytes by now, may not go on.

    ``held`` is the memory that it takes: the whole buffer's, once that is larger than every association may keep.
    """

    pdu_bytes: int
    pdu_seconds: float
    may_receive: Callable[[int, int], None]


class Broken(Exception):
    """The association ends with A-ABORT for ``reason`` (PS3.8 9.3.8)."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


class Transfer:
    """`run` until the peer releases or the association breaks; the connection is then the caller's to close."""

    def __init__(
        self,
        connection: socket.socket,
        contexts: Mapping[int, Context],
        peer_pdu_bytes: int,
        bounds: Bounds,
        store: Callable[[StoreRequest], Answer],
    ) -> None:
        """``peer_pdu_bytes``: the longest P-DATA-TF that the peer takes, 0 for any (PS3.8 D.1)."""
        self._stream = Stream(connection, bounds.pdu_seconds)
        self._connection = connection
        self._contexts = contexts
        self._fragment_bytes = max(peer_pdu_bytes - _VALUE.size, 2) if peer_pdu_bytes else 1 << 16
        self._bounds = bounds
        self._store = store
        self._command = bytearray()
        self._request: Command | None = None
        self._context_id = 0
        self._buffer = bytearray()
        self._start = self._end = 0  # of the data set in the buffer

    def run(self) -> None:
        """Answer one request after the other. Never raises for what the peer does."""
        try:
            while self._next_pdu():
                pass
        except Broken as broken:
            self._abort(broken.reason)
        except TimeoutError:
            self._abort(_NO_REASON)
        except OSError:
            return  # the peer is gone, or we were told to end

    def _next_pdu(self) -> bool:
        """False once the association has ended."""
        header = self._stream.take(_PDU.size)
        if not header:
            return False
        kind, length = _PDU.unpack(header)
        if kind == _P_DATA_TF:
            if not _VALUE.size <= length <= self._bounds.pdu_bytes:
                raise Broken(_INVALID)
            self._values(length)
            return True
        if kind == _RELEASE_RQ and length == _SHORT_PDU_BYTES:
            self._stream.rest(length)
            self._connection.sendall(_PDU.pack(_RELEASE_RP, _SHORT_PDU_BYTES) + bytes(_SHORT_PDU_BYTES))
            return False
        if kind == _ABORT:
            return False
        raise Broken(_UNEXPECTED)

    def _values(self, left: int) -> None:
        """The presentation data values of one P-DATA-TF PDU."""
        while left:
            if left < _VALUE.size:
                raise Broken(_INVALID)
            length, context_id, control = _VALUE.unpack(self._stream.rest(_VALUE.size))
            size = length - 2
            left -= _VALUE.size + size
            if size < 0 or left < 0 or context_id not in self._contexts:
                raise Broken(_INVALID)
            if self._request is None:
                self._command_fragment(context_id, control, size)
            elif control & _COMMAND_BIT or context_id != self._context_id:
                raise Broken(_INVALID)
            else:
                self._data_fragment(size)
                if control & _LAST_BIT:
                    self._serve()

    def _command_fragment(self, context_id: int, control: int, size: int) -> None:
        if not control & _COMMAND_BIT or len(self._command) + size > LARGEST_COMMAND_BYTES:
            raise Broken(_INVALID)
        if self._command and context_id != self._context_id:
            raise Broken(_INVALID)
        self._context_id = context_id
        self._command += self._stream.rest(size)
        if not control & _LAST_BIT:
            return
        try:
            request = read_command(bytes(self._command))
        except Rejected:
            raise Broken(_INVALID) from None
        self._command.clear()
        self._request = request
        self._make_header(request)
        if not request.has_data_set:
            self._serve()

    def _make_header(self, request: Command) -> None:
        header = file_header(
            request.sop_class_uid, request.sop_instance_uid, self._contexts[self._context_id].transfer_syntax_uid
        )
        if not _FIRST_BYTES <= len(self._buffer) <= _KEPT_BYTES:
            self._buffer = bytearray(_FIRST_BYTES)
        self._buffer[: len(header)] = header
        self._start = self._end = len(header)

    def _data_fragment(self, size: int) -> None:
        end = self._end + size
        try:
            self._hold(end)
        except Rejected:
            raise Broken(_NO_REASON) from None
        with memoryview(self._buffer) as view, view[self._end : end] as fragment:
            self._stream.into(fragment)
        self._end = end

    def _hold(self, end: int) -> None:
        """Room in the buffer up to ``end``, asked for before it is taken. Raises `Rejected`."""
        length = len(self._buffer)
        if end <= length:
            self._ask(end, length)
            return
        ample = max(end, length + length // 2)
        try:
            self._ask(end, ample)
        except Rejected:
            ample = end  # no more than it needs
            self._ask(end, ample)
        self._buffer += bytes(ample - length)

    def _ask(self, end: int, length: int) -> None:
        size = end - self._start
        self._bounds.may_receive(size, length if length > _KEPT_BYTES else size)

    def _serve(self) -> None:
        request, self._request = self._request, None
        assert request is not None
        if request.field == C_CANCEL_RQ:
            return  # nothing of ours can be cancelled
        context = self._contexts[self._context_id]
        if request.field == C_STORE_RQ:
            with memoryview(self._buffer) as view, view[: self._end] as file, file[self._start :] as data_set:
                answer = self._store(
                    StoreRequest(request.sop_class_uid, request.sop_instance_uid, context, file, data_set)
                )
        elif request.field != C_ECHO_RQ:
            answer = Answer(UNRECOGNISED_OPERATION)
        elif context.sop_class_uid == VERIFICATION:
            answer = Answer(SUCCESS)
        else:
            answer = Answer(SOP_CLASS_NOT_SUPPORTED)
        if len(self._buffer) > _KEPT_BYTES:
            self._buffer = bytearray()  # the association may be silent from now on
        self._bounds.may_receive(0, 0)
        self._send(write_response(request, answer))

    def _send(self, command: bytes) -> None:
        """As P-DATA-TF PDUs that the peer takes."""
        size = self._fragment_bytes
        pdus = bytearray()
        for start in range(0, len(command), size):
            fragment = command[start : start + size]
            control = _COMMAND_BIT | (_LAST_BIT if start + size >= len(command) else 0)
            pdus += _PDU.pack(_P_DATA_TF, len(fragment) + _VALUE.size)
            pdus += _VALUE.pack(len(fragment) + 2, self._context_id, control) + fragment
        self._connection.sendall(pdus)

    def _abort(self, reason: int) -> None:
        """Say why, and leave the closing to the peer for a moment: closing first could take the answer back."""
        try:
            self._connection.sendall(abort_pdu(reason))
            self._connection.shutdown(socket.SHUT_WR)
            self._stream.discard(_DISCARDED_BYTES, _ANSWERED_SECONDS)
        except OSError:
            return


def abort_pdu(reason: int = _NO_REASON) -> bytes:
    """A-ABORT by the service provider (PS3.8 9.3.8)."""
    return _PDU.pack(_ABORT, _SHORT_PDU_BYTES) + bytes((0, 0, 2, reason))


def abort_at_once(connection: socket.socket) -> None:
    """From any thread, and without waiting for a peer that reads nothing: it is told when there is room for it."""
    with suppress(OSError):
        # Its own descriptor: Python would wait for the connection's deadline before it asked the kernel.
        with socket.socket(fileno=os.dup(connection.fileno())) as line, suppress(BlockingIOError):
            line.send(abort_pdu(), socket.MSG_DONTWAIT)
        connection.shutdown(socket.SHUT_RDWR)
