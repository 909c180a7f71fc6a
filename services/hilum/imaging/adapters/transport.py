"""pynetdicom's server and sockets, bounded: no peer makes them wait for ever or grow without limit.

The library negotiates associations, with a connection that has asked for one (`lobby`). What follows it would read
whatever its length, without a deadline, polling in two threads, and queue as fast as it comes: from then on a
`Transfer` reads in the association's thread. There a PDU has a size and a deadline, a message in the making has a
size, all of them together have one, connections are counted, and a peer that sends ahead is made to wait.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from hilum.errors import Rejected
from hilum.imaging.adapters.commands import Answer
from hilum.imaging.adapters.lobby import Lobby, LobbyLimits, Reason
from hilum.imaging.adapters.transfer import Bounds, Context, StoreRequest, Transfer, abort_at_once
from hilum.logs import BoundedWarnings

_LOG = logging.getLogger(__name__)
_LARGEST_PDU_BYTES = 262_144  # of peers that do not quite keep to the length that we state
_LOOKS_AFTER_SECONDS = 0.002
_ACCEPTED_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """Bytes, and seconds for one PDU to arrive whole."""

    pdu_bytes: int
    data_set_bytes: int
    receiving_bytes: int
    pdu_seconds: float
    connections: int


class BoundedSocket(AssociationSocket):
    """An `AssociationSocket` that holds one PDU, the request for the association, and reads nothing else.

    What follows is read by a `Transfer`, once the library has negotiated.
    """

    def __init__(
        self, association: Association, client_socket: socket.socket, server: "StorageServer", request: bytes
    ) -> None:
        """``request`` is the PDU that was read from ``client_socket`` before."""
        super().__init__(association, client_socket=client_socket)
        self._server = server
        self._request = request
        self._ended = False
        self.receiving_bytes = 0  # held for the message that is being received
        server.sockets[id(self)] = self
        client_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client_socket.settimeout(server.limits.pdu_seconds)

    @property
    def ready(self) -> bool:
        return bool(self._request) and self.socket is not None

    def recv(self, nr_bytes: int) -> bytearray:
        first, self._request = self._request[:nr_bytes], self._request[nr_bytes:]
        return bytearray(first)

    def may_receive(self, size: int, held: int) -> None:
        """Whether a message of ``size`` bytes by now may go on, holding so many; raises `Rejected` when it may not."""
        limits = self._server.limits
        if size > limits.data_set_bytes:
            raise Rejected("data_set_too_large", "a data set is larger than allowed")
        with self._server.counting:  # what is refused must not be counted against others, not even for a moment
            others = self._server.receiving_bytes() - self.receiving_bytes
            if size and others + held > limits.receiving_bytes:
                raise Rejected("too_much_received", "too much is being received")
            self.receiving_bytes = held

    def transfer(self, association: Association) -> None:
        """Answer requests in this thread until the association ends. The library's own thread must have ended."""
        connection = self.socket
        if connection is None or self._ended:
            return
        connection.setblocking(True)
        limits = self._server.limits
        calling = str(association.requestor.ae_title).strip()
        Transfer(
            connection,
            {
                number: Context(str(context.abstract_syntax), str(context.transfer_syntax[0]))
                for number, context in association._accepted_cx.items()  # noqa: SLF001
            },
            association.requestor.maximum_length or 0,
            Bounds(max(limits.pdu_bytes, _LARGEST_PDU_BYTES), limits.pdu_seconds, self.may_receive),
            lambda request: self._server.store(request, calling),
        ).run()

    def end(self) -> None:
        """Abort, from any thread: whoever reads finds the connection closed."""
        self._ended = True
        connection = self.socket
        if connection is not None:
            abort_at_once(connection)

    def close(self) -> None:
        """The library's own leaves the descriptor open when the peer was first to go."""
        self._server.sockets.pop(id(self), None)
        connection = self.socket
        super().close()
        if connection is not None:
            connection.close()


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
        _take_over(association, wrapper)
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


def _take_over(association: Association, wrapper: BoundedSocket) -> None:
    """Once it has accepted, the library's two threads and their polling give way to one that blocks."""

    def run() -> None:
        provider = association.dul
        ends_at = time.monotonic() + _ACCEPTED_SECONDS
        # It sends A-ASSOCIATE-AC in its own thread (PS3.8 9.2: AE-7), and is in Sta6 when it has.
        while provider.state_machine.current_state != "Sta6" and provider.is_alive():
            if time.monotonic() > ends_at:
                break
            time.sleep(_LOOKS_AFTER_SECONDS)
        provider.kill_dul()
        provider.join()
        if provider.state_machine.current_state == "Sta6":
            wrapper.transfer(association)
        association.is_established = False
        association.is_released = True

    association._run_reactor = run  # type: ignore[method-assign]  # noqa: SLF001


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
        store: Callable[[StoreRequest, str], Answer],
    ) -> None:
        """``tick`` is called ten times a second while the server listens.

        ``store(request, calling_ae_title)`` is called in the threads of associations, and may block.
        """
        self.limits = limits
        self.sockets: dict[int, BoundedSocket] = {}
        self.counting = threading.Lock()
        self._warnings = warnings
        self._called_too = tick
        self.store = store
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
        # Not the library's own: it collects garbage now and then, which stops every thread for as long.
        self._warnings.settle()
        self._called_too()

    def receiving_bytes(self) -> int:
        """Bytes held for all messages that are being received or answered."""
        return sum(each.receiving_bytes for each in tuple(self.sockets.values()))

    def end_associations(self) -> None:
        """Abort those that are left."""
        for each in tuple(self.sockets.values()):
            each.end()

    def start(self) -> None:
        """Accept, in a thread."""
        self._lobby.start()

    def shutdown(self) -> None:
        """Stop accepting. The library's own also wants to be registered with its AE."""
        self._lobby.stop()
        self.server_close()
        self._warnings.settle(at_end=True)
