"""C-STORE requests, byte for byte, that are free to contradict themselves."""

import socket
import time
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu import A_ASSOCIATE_RJ


@dataclass(frozen=True)
class Request:
    """A C-STORE request, free to contradict itself; ``data_set`` is encoded in ``syntax``."""

    data_set: bytes
    sop_class: str = "1.2.840.10008.5.1.4.1.1.1"
    sop_instance: str = "1.2.3.3"
    syntax: str = "1.2.840.10008.1.2.1"
    calling: str = "TEST"
    called: str = "HILUM"

    @classmethod
    def of(cls, dataset: Dataset, **others: Any) -> "Request":
        """The request for ``dataset`` in its transfer syntax."""
        syntax = dataset.file_meta.TransferSyntaxUID
        return cls(
            encode(dataset, syntax.is_implicit_VR, syntax.is_little_endian),
            sop_class=str(dataset.SOPClassUID),
            sop_instance=str(dataset.SOPInstanceUID),
            syntax=str(dataset.file_meta.TransferSyntaxUID),
            **others,
        )


@dataclass(frozen=True)
class Answer:
    """Status and comment; a status of None when the association ended instead, ``rejected`` when it never began."""

    status: int | None
    comment: str = ""
    rejected: tuple[int, int, int] | None = None


def send(port: int, request: Request, seconds: float = 20.0) -> Answer:
    """Send one request on an association of its own, and wait for its answer. Blocks."""
    entity = AE(request.calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = seconds
    entity.add_requested_context(UID(request.sop_class), UID(request.syntax))
    connections: list[socket.socket] = []
    received: list[object] = []  # the PDUs: an association that was rejected at once may call itself aborted
    association = entity.associate(
        "127.0.0.1",
        port,
        ae_title=request.called,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, lambda event: connections.append(event.assoc.dul.socket.socket)),
            (evt.EVT_PDU_RECV, lambda event: received.append(event.pdu)),
        ],
    )
    try:
        if not association.is_established:
            rejections = [pdu for pdu in received if isinstance(pdu, A_ASSOCIATE_RJ)]
            rejected = next(((pdu.result, pdu.source, pdu.reason_diagnostic) for pdu in rejections), None)
            return Answer(None, rejected=rejected)
        return _exchange(association, request)
    finally:
        for connection in connections:
            connection.close()


def _exchange(association: Association, request: Request) -> Answer:
    association._reactor_checkpoint.clear()
    time.sleep(0.02)  # until the library's reactor, which would take the answer for itself, has seen it
    while not association._is_paused:
        time.sleep(0.001)
    store = C_STORE()
    store.MessageID, store.Priority = 1, 2
    store.AffectedSOPClassUID, store.AffectedSOPInstanceUID = UID(request.sop_class), UID(request.sop_instance)
    store.DataSet = BytesIO(request.data_set)
    association.dimse.send_msg(store, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    if answer is None:
        association.abort()
        return Answer(None)
    association.release()
    return Answer(answer.Status, str(answer.ErrorComment or ""))
