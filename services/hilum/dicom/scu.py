"""A storage and verification SCU (PS3.4 A and B). Its calls block: run them in a worker thread."""

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

from hilum.dicom.status import Category, category_of, error_of
from hilum.errors import HilumError, Rejected, Unavailable

_VERIFICATION = "1.2.840.10008.1.1"
_RESTING_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_CONTEXTS = 128  # presentation contexts of one association (PS3.8 9.3.2.2: odd numbers to 255)
_BATCH_INSTANCES = 1000
_BATCH_BYTES = 256 << 20
_AE_TITLE_CHARACTERS = 16


@dataclass(frozen=True)
class Peer:
    """An application entity that we call. ``timeout_seconds`` bounds connecting and each answer."""

    host: str
    port: int
    ae_title: str
    calling_ae_title: str = "HILUM"
    timeout_seconds: float = 30.0


@dataclass(frozen=True)
class StoreOutcome:
    """What became of one instance: the peer's status, or None where it gave none.

    ``comment`` is the peer's own Error Comment (0000,0902); it may quote anything, so show it only to who sent.
    """

    sop_instance_uid: str
    status: int | None
    error: HilumError | None
    comment: str = ""

    @property
    def stored(self) -> bool:
        """Taken by the peer, be it with a warning (B000, B006, B007)."""
        return self.status is not None and category_of(self.status) is not Category.FAILURE


def echo(peer: Peer) -> None:
    """C-ECHO. Raises `Unavailable` or `Rejected` as `store` lists, when the peer does not answer with 0000H."""
    with _association(peer, [(_VERIFICATION, str(ImplicitVRLittleEndian))]) as association:
        status = _status(association.send_c_echo())
        if status is None:
            raise Unavailable("no_answer", "the peer did not answer C-ECHO")
        if status != 0:
            raise Rejected(f"dimse_{status:04x}", f"the peer answered C-ECHO with {status:04X}H")


def store(peer: Peer, instances: Iterable[Dataset]) -> list[StoreOutcome]:
    """C-STORE each of ``instances`` as it is encoded; one outcome each, in order.

    Each needs its file meta information (the transfer syntax it is sent in). They are taken as they are needed, a
    batch at a time, each batch in an association of its own. When an association breaks, the outcomes of the
    instances that had no answer are `Unavailable` ``no_answer``: send those again. When the association of a later
    batch cannot be made, its error is the outcome of each instance in it, and where it is `Unavailable`, of all that
    follow.

    Raises, from the first association:
        Unavailable: ``connection_failed``, ``association_rejected`` (transient), ``association_aborted``.
        Rejected: ``association_rejected`` (permanent: wrong AE titles and the like), ``context_refused`` where the
            peer accepts none of the presentation contexts, ``ae_title_invalid``, ``host_invalid``.
    """
    outcomes: list[StoreOutcome] = []
    away: Unavailable | None = None
    for batch in _batches(instances):
        if away is not None:
            outcomes += _none_sent(batch, away)
            continue
        try:
            with _association(peer, dict.fromkeys(map(_syntaxes, batch))) as association:
                outcomes += [_store_one(association, instance) for instance in batch]
        except (Rejected, Unavailable) as error:
            if not outcomes:
                raise
            away = error if isinstance(error, Unavailable) else None
            outcomes += _none_sent(batch, error)
    return outcomes


def _none_sent(batch: list[Dataset], error: HilumError) -> list[StoreOutcome]:
    return [StoreOutcome(str(instance.SOPInstanceUID), None, error) for instance in batch]


def _syntaxes(instance: Dataset) -> tuple[str, str]:
    return str(instance.SOPClassUID), str(instance.file_meta.TransferSyntaxUID)


def _batches(instances: Iterable[Dataset]) -> Iterator[list[Dataset]]:
    """As many as share one association's presentation contexts and fit in memory."""
    batch: list[Dataset] = []
    contexts: set[tuple[str, str]] = set()
    held = 0
    for instance in instances:
        syntaxes = _syntaxes(instance)
        if len(contexts | {syntaxes}) > _CONTEXTS:
            yield batch
            batch, contexts, held = [], set(), 0
        batch.append(instance)
        contexts.add(syntaxes)
        held += sum(len(element.value) for element in instance.values() if isinstance(element.value, bytes))
        if held >= _BATCH_BYTES or len(batch) >= _BATCH_INSTANCES:
            yield batch
            batch, contexts, held = [], set(), 0
    if batch:
        yield batch


class _Connection(AssociationSocket):
    """The library's socket, bounded in time and closed whoever goes first."""

    opened = False

    def connect(self, primitive: T_CONNECT) -> None:
        super().connect(primitive)
        if self.socket is not None:
            self.opened = True
            # Command and data set are separate writes; Nagle's algorithm would hold the second for 40 ms.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.settimeout(self.assoc.network_timeout)

    def _shutdown_socket(self) -> None:
        connection = self.socket
        super()._shutdown_socket()
        if connection is not None:
            connection.close()


class _Entity(AE):
    connection: _Connection | None = None

    def _create_socket(self, assoc: Association, address: AddressInformation, tls_args: Any) -> AssociationSocket:
        self.connection = _Connection(assoc, address=address)
        self.connection.tls_args = tls_args
        return self.connection


@contextmanager
def _association(peer: Peer, contexts: Iterable[tuple[str, str]]) -> Iterator[Association]:
    for title in (peer.ae_title, peer.calling_ae_title):
        _check_ae_title(title)
    entity = _Entity(peer.calling_ae_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = (
        peer.timeout_seconds
    )
    for sop_class_uid, transfer_syntax_uid in contexts:
        entity.add_requested_context(UID(sop_class_uid), UID(transfer_syntax_uid))
    rejections: list[A_ASSOCIATE_RJ] = []

    def note(event: Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            rejections.append(event.pdu)

    try:
        association = entity.associate(
            peer.host, peer.port, ae_title=peer.ae_title, evt_handlers=[(evt.EVT_PDU_RECV, note)]
        )
    except UnicodeError as error:  # a label that is empty or too long for a name
        raise Rejected("host_invalid", "the peer's host is no host name") from error
    except OSError as error:  # the name is not known
        raise Unavailable("connection_failed", "the peer's host name cannot be resolved") from error
    if entity.connection is None or not entity.connection.opened:
        raise Unavailable("connection_failed", "the peer could not be reached")
    if not association.is_established:
        raise _refusal(association, rejections)
    rest_reactor(association)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _check_ae_title(title: str) -> None:
    """PS3.5 6.2: the default repertoire without backslash and control characters, and not only spaces."""
    characters_allowed = title.isascii() and title.isprintable() and "\\" not in title
    if not characters_allowed or not title.strip() or len(title) > _AE_TITLE_CHARACTERS:
        raise Rejected(
            "ae_title_invalid", f"an AE title has 1 to {_AE_TITLE_CHARACTERS} ASCII characters and no backslash"
        )


class RestingReactor(threading.Event):
    """What the reactor of an association waits at until the association has ended; see `rest_reactor`."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association
        self.reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.reached.set()
        association = self._association
        while association.is_established and association.dul.is_alive():
            super().wait(_LOOK_SECONDS if timeout is None else timeout)
        return True

    def set(self) -> None:
        """The library's wish to go on, after each message: not granted."""


def rest_reactor(association: Association) -> None:
    """Let the library's reactor rest while a requestor sends; it goes on by itself when the association has ended.

    The library pauses the reactor for each message and lets it run in between; a message that follows at once finds
    it between "told to pause" and "paused", where it takes the answer for a stray request and drops it. While it
    rests, a sender must see for himself whether the association stands.
    """
    resting = RestingReactor(association)
    association._reactor_checkpoint = resting  # noqa: SLF001
    resting.reached.wait(_RESTING_SECONDS)


def _refusal(association: Association, rejections: list[A_ASSOCIATE_RJ]) -> HilumError:
    # The PDU is asked, not the association: one that was rejected at once may call itself aborted.
    for rejection in rejections:
        # PS3.8 9.3.4: result 1 is permanent, 2 transient; source and reason name the cause.
        where = f"source {rejection.source}, reason {rejection.reason_diagnostic}"
        kind = Rejected if rejection.result == 1 else Unavailable
        return kind("association_rejected", f"the peer rejected the association ({where})")
    if association.rejected_contexts:
        return Rejected("context_refused", "the peer accepts none of the SOP classes and transfer syntaxes")
    return Unavailable("association_aborted", "the peer aborted the association or did not answer")


def _store_one(association: Association, instance: Dataset) -> StoreOutcome:
    uid = str(instance.SOPInstanceUID)
    if not association.is_established or association.acse.is_aborted() or not association.dul.is_alive():
        return _no_answer(uid)
    sop_class_uid, transfer_syntax_uid = _syntaxes(instance)
    if not any(
        context.abstract_syntax == sop_class_uid and transfer_syntax_uid in context.transfer_syntax
        for context in association.accepted_contexts
    ):
        refused = Rejected("context_refused", "the peer accepts neither this SOP class nor its transfer syntax")
        return StoreOutcome(uid, None, refused)
    try:
        answer = association.send_c_store(instance)
    except (ValueError, AttributeError, TypeError):
        return StoreOutcome(uid, None, Rejected("data_set_unencodable", "the data set cannot be encoded"))
    except RuntimeError:  # the association ended in between
        return _no_answer(uid)
    status = _status(answer)
    if status is None:
        return _no_answer(uid)
    return StoreOutcome(uid, status, error_of(status), _comment(answer))


def _no_answer(uid: str) -> StoreOutcome:
    return StoreOutcome(uid, None, Unavailable("no_answer", "the peer gave no answer to C-STORE"))


def _comment(answer: Dataset) -> str:
    """On one line, and no longer than its representation allows (LO, 64 characters)."""
    return "".join(filter(str.isprintable, str(answer.get("ErrorComment") or "")))[:64].strip()


def _status(answer: Dataset) -> int | None:
    status = answer.get("Status")
    return None if status is None else int(status)
