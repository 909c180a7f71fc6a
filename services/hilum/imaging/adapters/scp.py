"""The storage and verification SCP (PS3.4 A, B): each association in a thread of its own, which blocks."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import metrics
from opentelemetry.trace import SpanKind
from pynetdicom import AE, build_context, evt

from hilum import telemetry
from hilum.clock import Clock
from hilum.dicom.status import SUCCESS, status_of
from hilum.errors import Fault, HilumError, Overloaded, Unavailable
from hilum.imaging.adapters.commands import Answer
from hilum.imaging.adapters.contexts import VERIFICATION, storage_sop_classes, supported
from hilum.imaging.adapters.data_sets import Reading, Received
from hilum.imaging.adapters.lobby import LobbyLimits
from hilum.imaging.adapters.threads import completed
from hilum.imaging.adapters.transfer import StoreRequest
from hilum.imaging.adapters.transport import Limits, StorageServer
from hilum.imaging.app import Storage
from hilum.imaging.domain import PutAside, Refusal
from hilum.logs import BoundedWarnings

_LOG = logging.getLogger(__name__)
_METER = metrics.get_meter("hilum")
_ANSWERS = _METER.create_counter("hilum_imaging_instances", description="C-STORE requests by outcome")
_SECONDS = _METER.create_histogram("hilum_imaging_store_seconds", unit="s", description="request to answer")
_LAST_ANSWER_SECONDS = 0.1  # from the end of the handler until the association's thread has sent its answer
_REFUSED_LINES = 10  # in 10 s
_STORED = Answer(SUCCESS)


@dataclass(frozen=True)
class Listening:
    """Where and for whom; ``limits`` bound connections. Seconds as their names say."""

    host: str
    port: int
    ae_title: str
    require_called_ae_title: bool
    calling_ae_titles: tuple[str, ...]
    additional_sop_classes: tuple[str, ...]
    max_associations: int
    association_seconds: float
    drain_seconds: float
    limits: Limits
    lobby: LobbyLimits


class StorageScp:
    """Listens from `start` to `stop`; every answer of 0000H follows a durable append."""

    def __init__(self, listening: Listening, storage: Storage, reading: Reading, clock: Clock) -> None:
        """``storage`` must be able to run in threads (`hilum.imaging.adapters.threads`)."""
        self._listening = listening
        self._storage = storage
        self._reading = reading
        self._clock = clock
        self._sop_classes = storage_sop_classes(listening.additional_sop_classes)
        self._in_hand = _InHand(listening.limits.receiving_bytes)
        self._warnings = BoundedWarnings(_LOG, clock.monotonic, lines=_REFUSED_LINES)
        self._draining = False
        self._server: StorageServer | None = None

    def start(self) -> int:
        """Bind, listen, and return the port. Raises `Unavailable` when the address cannot be bound."""
        listening = self._listening
        entity = AE(listening.ae_title)
        entity.maximum_associations = listening.max_associations
        entity.maximum_pdu_size = listening.limits.pdu_bytes
        entity.acse_timeout = listening.association_seconds
        entity.network_timeout = listening.limits.pdu_seconds
        entity.require_called_aet = listening.require_called_ae_title
        entity.require_calling_aet = list(listening.calling_ae_titles)
        try:
            server = entity.make_server(
                (listening.host, listening.port),
                contexts=[build_context(VERIFICATION)],
                evt_handlers=[(evt.EVT_REQUESTED, self._on_requested)],
                server_class=StorageServer,
                limits=listening.limits,
                lobby_limits=listening.lobby,
                warnings=BoundedWarnings(_LOG, self._clock.monotonic),
                tick=self._warnings.settle,
                store=self._on_store,
            )
        except OSError as error:
            raise Unavailable("port_unavailable", f"the DICOM port cannot be bound: {error.strerror}") from error
        assert isinstance(server, StorageServer)
        server.start()
        self._server = server
        return int(server.server_address[1])

    def stop(self) -> None:
        """Accept nothing more, let what is in hand be answered, then end the associations. Blocks."""
        server = self._server
        if server is None:
            return
        self._draining = True
        server.shutdown()
        deadline = time.monotonic() + self._listening.drain_seconds
        while self._in_hand.count and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(_LAST_ANSWER_SECONDS)
        server.end_associations()
        self._warnings.settle(at_end=True)
        self._server = None

    def _on_requested(self, event: evt.Event) -> None:
        """Offer each SOP class in the encodings that this caller proposed."""
        association = event.assoc
        proposed = association.requestor.requested_contexts
        association.acceptor.supported_contexts = supported(proposed, self._sop_classes)

    def _on_store(self, request: StoreRequest, calling_ae_title: str) -> Answer:
        """In the association's thread. Never raises."""
        began = time.monotonic()
        with telemetry.span("imaging stores an instance", SpanKind.SERVER, headers={}) as span:
            try:
                outcome = self._stored(request, calling_ae_title)
                answer = _STORED
            except HilumError as error:
                outcome, answer = error.code, _refused(error)
                told = error.event_id if isinstance(error, PutAside) else "none"
                self._warnings.warning("C-STORE answered %04XH: %s, event %s", answer.status, error.code, told)
            except Exception as error:  # noqa: BLE001 - the peer must be answered whatever happens
                _LOG.error("C-STORE: unexpected %s", type(error).__name__)
                outcome, answer = "unexpected", _refused(Fault("unexpected", "processing failed"))
            span.set_attribute("hilum.outcome", outcome)
        _ANSWERS.add(1, {"outcome": outcome})
        _SECONDS.record(time.monotonic() - began)
        return answer

    def _stored(self, request: StoreRequest, calling_ae_title: str) -> str:
        """The outcome's name, once it is durable. Raises the error that the peer is to be told."""
        if self._draining:
            raise Overloaded("shutting_down", "this application entity is stopping")
        with self._in_hand.taking(len(request.data_set)):
            received = Received(
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=request.sop_instance_uid,
                transfer_syntax_uid=request.context.transfer_syntax_uid,
                context_sop_class_uid=request.context.sop_class_uid,
                calling_ae_title=calling_ae_title,
                data_set=request.data_set,
                file=request.file,
                at=self._clock.now(),
            )
            read = self._reading.read(received)
            if isinstance(read, Refusal):
                raise PutAside(read.code, read.text, completed(self._storage.refuse(read)))
            return completed(self._storage.store(read)).name.lower()


class _InHand:
    """Data sets being handled, bounded in bytes; one alone may always be."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._bytes = 0
        self.count = 0

    @contextmanager
    def taking(self, size: int) -> Iterator[None]:
        with self._lock:
            if self.count and self._bytes + size > self._limit:
                raise Overloaded("too_much_in_hand", "too many data sets are being stored at once")
            self._bytes += size
            self.count += 1
        try:
            yield
        finally:
            with self._lock:
                self._bytes -= size
                self.count -= 1


def _refused(error: HilumError) -> Answer:
    """The status with its Error Comment (PS3.7 C.1), which holds nothing that identifies a patient."""
    return Answer(status_of(error), f"{error.code}: {error.text}")
