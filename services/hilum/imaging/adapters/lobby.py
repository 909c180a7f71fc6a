"""Where a connection waits until it has asked for an association (PS3.8 9.2.1: Sta2).

It waits without a thread, for so many seconds, among so many. Who is gone is let go at once. When there is no room, the
one that has waited longest makes it, first of the peer that takes most: who asks without delay gets in beside any
number of others that never do.
"""

import logging
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from opentelemetry import metrics

from hilum.logs import BoundedWarnings

_LOG = logging.getLogger(__name__)
_REFUSED = metrics.get_meter("hilum").create_counter(
    "hilum.imaging.connections.refused", description="DICOM connections that we ended or rejected, by reason"
)
_HEADER = struct.Struct(">BxI")  # PDU type and length (PS3.8 9.3.1)
_ASSOCIATE_RQ = 1
_ASSOCIATE_RQ_BYTES = 68, 262_144  # its fixed fields (PS3.8 9.3.2); 128 contexts, every transfer syntax in each
_A_ABORT = 7
# A-ABORT by the service user, as Sta2 answers what it does not expect (PS3.8 9.2.3: AA-1).
_ABORT = struct.pack(">BBIBBBB", _A_ABORT, 0, 4, 0, 0, 0, 0)
# A-ASSOCIATE-RJ: transient, by the service provider (presentation), local limit exceeded (PS3.8 9.3.4).
_REJECT = struct.pack(">BBIBBBB", 3, 0, 4, 0, 2, 3, 2)
_ANSWERED_SECONDS = 1.0  # for the peer to read our answer and to close
_TICK_SECONDS = 0.1
_ACCEPTED_TOGETHER = 64
_READ_BYTES = 65_536


class Reason(StrEnum):
    """Why a connection was refused."""

    CROWDED_OUT = "crowded_out"  # others came, and this one had not asked yet
    TOO_SLOW = "too_slow"
    NOT_AN_ASSOCIATION = "not_an_association"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    REJECTED = "rejected"  # by pynetdicom: who calls, whom, or how many do already
    NOT_ACCEPTED = "not_accepted"  # the system gave us no socket


_LINES = {reason: f"a DICOM connection was refused: {reason}" for reason in Reason}


@dataclass(frozen=True)
class LobbyLimits:
    """``seconds`` until a whole A-ASSOCIATE-RQ must be there; how many may wait at once, together and per address."""

    seconds: float
    connections: int
    per_peer: int


class _Waiting:
    """One connection, what it has sent, and until when it may stay."""

    def __init__(self, connection: socket.socket, address: Any, deadline: float) -> None:
        self.connection = connection
        self.address = address
        self.deadline = deadline
        self.received = bytearray()
        self.size = _HEADER.size
        self.answered = False

    @property
    def peer(self) -> str:
        return str(self.address[0])


class Lobby:
    """Accepts on ``listener`` from `start` to `stop`, in one thread.

    ``admit(connection, address, request)`` takes over a connection that sent the whole PDU ``request``, or returns
    False where there is no room. ``tick`` is called ten times a second.
    """

    def __init__(
        self,
        listener: socket.socket,
        limits: LobbyLimits,
        admit: Callable[[socket.socket, Any, bytes], bool],
        tick: Callable[[], None],
        warnings: BoundedWarnings,
    ) -> None:
        self._listener = listener
        self._limits = limits
        self._admit = admit
        self._tick = tick
        self._warnings = warnings
        self._selector = selectors.DefaultSelector()
        self._waiting: dict[_Waiting, None] = {}  # in order of arrival
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dicom-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Accept nothing more; who has not asked yet is let go. Blocks until that is so."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def refused(self, reason: Reason) -> None:
        """Count and tell a connection that was refused. From any thread."""
        _REFUSED.add(1, {"reason": reason.value})
        self._warnings.warning(_LINES[reason])

    def _run(self) -> None:
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        ticks_at = time.monotonic()
        try:
            while not self._stopping.is_set():
                for key, _ in self._selector.select(_TICK_SECONDS):
                    if key.data is None:
                        self._accept()
                    elif key.data in self._waiting:
                        self._read(key.data)
                if (now := time.monotonic()) >= ticks_at:
                    ticks_at = now + _TICK_SECONDS
                    self._expire(now)
                    self._tick()
        finally:
            for waiting in tuple(self._waiting):
                self._let_go(waiting)
            self._selector.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_TOGETHER):
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptors are left, or the peer went before we looked
                self.refused(Reason.NOT_ACCEPTED)
                self._stopping.wait(_TICK_SECONDS)
                return
            connection.setblocking(False)
            waiting = _Waiting(connection, address, time.monotonic() + self._limits.seconds)
            self._make_room(waiting.peer)
            self._waiting[waiting] = None
            self._selector.register(connection, selectors.EVENT_READ, waiting)

    def _make_room(self, newcomer: str) -> None:
        peers = Counter(waiting.peer for waiting in self._waiting)
        if peers[newcomer] >= self._limits.per_peer:
            crowding = newcomer
        elif len(self._waiting) >= self._limits.connections:
            crowding = peers.most_common(1)[0][0]
        else:
            return
        oldest = next(waiting for waiting in self._waiting if waiting.peer == crowding)
        self._read(oldest)  # it may have asked just now
        if oldest in self._waiting:
            self._refuse(oldest, Reason.CROWDED_OUT)

    def _read(self, waiting: _Waiting) -> None:
        """Whatever has come: until there is no more for now, the peer is gone, or its request is whole."""
        while waiting in self._waiting:
            wanted = _READ_BYTES if waiting.answered else waiting.size - len(waiting.received)
            try:
                data = waiting.connection.recv(wanted)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._let_go(waiting)
            elif waiting.answered:
                return
            else:
                waiting.received += data
                if len(waiting.received) == waiting.size:
                    self._whole(waiting)

    def _whole(self, waiting: _Waiting) -> None:
        if waiting.size > _HEADER.size:
            self._leave(waiting)
            if not self._admit(waiting.connection, waiting.address, bytes(waiting.received)):
                self._enter_again(waiting)
                self._answer(waiting, _REJECT, Reason.TOO_MANY)
            return
        kind, length = _HEADER.unpack(waiting.received)
        least, most = _ASSOCIATE_RQ_BYTES
        if kind == _A_ABORT:
            self._let_go(waiting)
        elif kind != _ASSOCIATE_RQ or length < least:
            self._answer(waiting, _ABORT, Reason.NOT_AN_ASSOCIATION)
        elif length > most:
            self._answer(waiting, _ABORT, Reason.TOO_LARGE)
        else:
            waiting.size += length

    def _answer(self, waiting: _Waiting, pdu: bytes, reason: Reason) -> None:
        """Say why, and leave the closing to the peer for a moment: closing first could take the answer back."""
        self.refused(reason)
        waiting.answered, waiting.deadline = True, time.monotonic() + _ANSWERED_SECONDS
        try:
            waiting.connection.send(pdu)
            waiting.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self._let_go(waiting)

    def _expire(self, now: float) -> None:
        for waiting in [waiting for waiting in self._waiting if waiting.deadline <= now]:
            self._refuse(waiting, Reason.TOO_SLOW)

    def _refuse(self, waiting: _Waiting, reason: Reason) -> None:
        if not waiting.answered:
            self.refused(reason)
        self._let_go(waiting)

    def _let_go(self, waiting: _Waiting) -> None:
        self._leave(waiting)
        waiting.connection.close()

    def _leave(self, waiting: _Waiting) -> None:
        del self._waiting[waiting]
        self._selector.unregister(waiting.connection)

    def _enter_again(self, waiting: _Waiting) -> None:
        self._waiting[waiting] = None
        self._selector.register(waiting.connection, selectors.EVENT_READ, waiting)
