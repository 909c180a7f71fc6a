"""pynetdicom's server and sockets, bounded: no peer makes them wait for ever or grow without limit.

The library reads whatever length a PDU header states, without a deadline, and queues messages as fast as a
peer sends them. Here a PDU has a size and a deadline, a message in the making has a size, all of them
together have one, connections are counted, and a peer that sends ahead of our answers is made to wait. The
library gets a connection, and gives it threads, when it has asked for an association (`lobby`).
"""

import logging
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from hilum.imaging.adapters.lobby import Lobby, LobbyLimits, Reason
from hilum.logs import BoundedWarnings

_LOG = logging.getLogger(__name__)
# A-ABORT by the provider: invalid PDU parameter value (PS3.8 9.3.8).
_ABORT = struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 2, 6)
_READ_BYTES = 262_144
_LARGEST_PDU_BYTES = 262_144  # of peers that do not quite keep to the length that we state
_QUEUED_MESSAGES = 1
_LOOKS_AFTER_SECONDS = 0.02


@dataclass(frozen=True)
class Limits:
    """Bytes, and seconds for one PDU to arrive whole."""

    pdu_bytes: int
    data_set_bytes: int
    receiving_bytes: int
    pdu_seconds: float
    connections: int


class BoundedSocket(AssociationSocket):
    """An `AssociationSocket` that keeps to `Limits`; a peer that does not is answered with A-ABORT."""

    def __init__(
        self, association: Association, client_socket: socket.socket, server: "StorageServer", request: bytes
    ) -> None:
        """``request`` is the PDU that was read from ``client_socket`` before."""
        super().__init__(association, client_socket=client_socket)
        self._server = server
        self._request = request
        server.sockets[id(self)] = self
        client_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client_socket.settimeout(server.limits.pdu_seconds)

    @property
    def ready(self) -> bool:
        """Not while messages wait to be answered: what a peer sends ahead stays in its own buffers."""
        if self._request:
            return self.socket is not None
        return self._assoc.dimse.msg_queue.qsize() < _QUEUED_MESSAGES and super().ready

    @property
    def receiving_bytes(self) -> int:
        """Bytes of the message that is being received."""
        message = self._assoc.dimse.message
        if message is None:
            return 0
        data_set = message.data_set
        return message.encoded_command_set.tell() + (data_set.tell() if data_set is not None else 0)

    def recv(self, nr_bytes: int) -> bytearray:
        """``nr_bytes`` whole, before the deadline; raises OSError, which ends the association, when it cannot be."""
        limits = self._server.limits
        connection = self.socket
        if connection is None:
            raise OSError("closed")
        if self._request:
            first, self._request = self._request[:nr_bytes], self._request[nr_bytes:]
            return bytearray(first)
        if nr_bytes > max(limits.pdu_bytes, _LARGEST_PDU_BYTES):
            self._abort(connection, "a PDU is larger than allowed")
        if self.receiving_bytes + nr_bytes > limits.data_set_bytes:
            self._abort(connection, "a data set is larger than allowed")
        if nr_bytes > 6 and self._server.receiving_bytes() + nr_bytes > limits.receiving_bytes:
            self._abort(connection, "too much is being received")
        buffer = bytearray(nr_bytes)
        view = memoryview(buffer)
        read, deadline = 0, time.monotonic() + limits.pdu_seconds
        while read < nr_bytes:
            count = connection.recv_into(view[read : read + _READ_BYTES])
            if not count:
                view.release()
                return buffer[:read]
            read += count
            if time.monotonic() > deadline:
                raise TimeoutError("a PDU did not arrive in time")
        view.release()
        return buffer

    def close(self) -> None:
        """The library's own leaves the descriptor open when the peer was first to go."""
        self._server.sockets.pop(id(self), None)
        connection = self.socket
        super().close()
        if connection is not None:
            connection.close()

    @staticmethod
    def _abort(connection: socket.socket, why: str) -> NoReturn:
        connection.settimeout(1.0)
        connection.sendall(_ABORT)
        raise OSError(why)


class _Handler(RequestHandler):
    def __init__(self, connection: socket.socket, address: Any, server: "StorageServer", request: bytes) -> None:
        self._request = request
        super().__init__(connection, address, server)

    def _create_association(self) -> Association:
        association = super()._create_association()
        # The library has just wrapped the connection itself, which it announced to its state machine (Evt5);
        # our own wrapper announces it again, so the first announcement is taken back.
        association.dul.event_queue.get_nowait()
        server = cast("StorageServer", self.server)
        wrapper = BoundedSocket(association, cast(socket.socket, self.request), server, self._request)
        association.dul.socket = wrapper
        _wait_while_connected(association, wrapper)
        _contain(association, wrapper)
        _contain(association.dul, wrapper)
        return association


def _wait_while_connected(association: Association, wrapper: BoundedSocket) -> None:
    """The library's association waits its whole time for a request, also when the connection has ended meanwhile."""
    receive = association.dul.receive_pdu

    def receive_pdu(wait: bool = False, timeout: float | None = None) -> Any:
        ends_at = time.monotonic() + timeout if wait and timeout is not None else None
        while wait and wrapper.socket is not None and (ends_at is None or time.monotonic() < ends_at):
            primitive = receive(wait=True, timeout=_LOOKS_AFTER_SECONDS)
            if primitive is not None:
                return primitive
        return receive(wait=False)

    association.dul.receive_pdu = receive_pdu  # type: ignore[method-assign]


def _contain(thread: threading.Thread, wrapper: BoundedSocket) -> None:
    """The library's state machine raises at events that cross each other: that ends this connection, and no more."""
    run = thread.run

    def contained() -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001
            _LOG.warning("a DICOM connection was closed after %s in its thread", type(error).__name__)
            wrapper.close()
        finally:
            if isinstance(thread, Association):
                wrapper.close()  # some ends of the library's leave it open

    thread.run = contained  # type: ignore[method-assign]


class StorageServer(ThreadedAssociationServer):
    """Accepts connections for `ae`, in threads of the library, each under `limits`."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(
        self,
        ae: AE,
        address: Any,
        ae_title: str,
        contexts: list[PresentationContext],
        ssl_context: Any = None,
        evt_handlers: list[evt.EventHandlerType] | None = None,
        *,
        limits: Limits,
        lobby_limits: LobbyLimits,
        warnings: BoundedWarnings,
        tick: Callable[[], None],
    ) -> None:
        """``tick`` is called ten times a second while the server listens."""
        self.limits = limits
        self.sockets: dict[int, BoundedSocket] = {}
        self._warnings = warnings
        self._called_too = tick
        super().__init__(ae, address, ae_title, contexts, ssl_context, evt_handlers)
        assert self.socket is not None
        self._lobby: Lobby = Lobby(self.socket, lobby_limits, self._admit, self._tick, warnings)
        self.bind(evt.EVT_REJECTED, lambda _: self._lobby.refused(Reason.REJECTED))

    def _bind_defaults(self) -> None:
        """Without the library's log lines, which cost time and quote identifiers."""
        for event in evt._INTERVENTION_EVENTS:  # noqa: SLF001
            self.bind(event, evt.get_default_handler(event))

    def _admit(self, connection: socket.socket, address: Any, request: bytes) -> bool:
        """Not beyond the limit. The library's own, as high, counts requests at once against each other."""
        if len(self.active_associations) >= self.limits.connections:
            return False
        try:
            connection.setblocking(True)
            _Handler(connection, address, self, request)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends one connection and not the listener
            _LOG.warning("a DICOM connection was closed after %s at its start", type(error).__name__)
            self.shutdown_request(connection)
        return True

    def _tick(self) -> None:
        self.service_actions()
        self._warnings.settle()
        self._called_too()

    def receiving_bytes(self) -> int:
        """Bytes of all messages that are being received."""
        return sum(each.receiving_bytes for each in tuple(self.sockets.values()))

    def start(self) -> None:
        """Accept, in a thread."""
        self._lobby.start()

    def shutdown(self) -> None:
        """Stop accepting. The library's own also wants to be registered with its AE."""
        self._lobby.stop()
        self.server_close()
        self._warnings.settle(at_end=True)
