"""Between the generated messages and the client's own types; and from gRPC statuses to `hilum.errors`."""

from dataclasses import dataclass
from typing import Any, Final

import grpc

from hilum.api.intake.v1 import intake_pb2
from hilum.api.oversight.v1 import oversight_pb2
from hilum.api.worklist.v1 import worklist_pb2
from hilum.client import models
from hilum.errors import Duplicate, Fault, HilumError, Overloaded, Rejected, Unavailable

MESSAGE_BYTES: Final = 16 * 1024 * 1024
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES + 64 * 1024),
    ("grpc.max_send_message_length", MESSAGE_BYTES + 64 * 1024),
    ("grpc.keepalive_time_ms", 60_000),
)
_ERRORS: Final[dict[grpc.StatusCode, type[HilumError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: Rejected,
    grpc.StatusCode.FAILED_PRECONDITION: Rejected,
    grpc.StatusCode.NOT_FOUND: Rejected,
    grpc.StatusCode.OUT_OF_RANGE: Rejected,
    grpc.StatusCode.ALREADY_EXISTS: Duplicate,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where each service listens, ``host:port``."""

    intake: str = "127.0.0.1:50051"
    ledger: str = "127.0.0.1:50053"
    oversight: str = "127.0.0.1:50054"


HERE: Final = Addresses()


def error_of(error: grpc.RpcError) -> HilumError:
    """The taxonomy's error for a failed call; its code is the server's coded reason where there is one."""
    status: grpc.StatusCode = error.code()
    details: str = error.details() or ""
    code, separator, text = details.partition(": ")
    if not separator or not code.replace("_", "").replace(":", "").isalnum():
        code, text = status.name.lower(), details
    return _ERRORS.get(status, Fault)(code, text)


def acknowledgement(response: intake_pb2.SubmitResponse) -> models.Acknowledgement:
    return models.Acknowledgement(
        code=response.acknowledgement_code,
        message_control_id=response.message_control_id,
        event_id=response.event_id,
        reason=response.reason,
        message=response.acknowledgement,
    )


def entry(message: worklist_pb2.LedgerEntry) -> models.LedgerEntry:
    return models.LedgerEntry(
        case_id=message.case_id,
        accession_number=message.accession_number,
        study_instance_uid=message.study_instance_uid,
        patient_id=message.patient_id,
        algorithm=message.algorithm,
        version=message.version,
        disposition=message.disposition,
        reason=message.reason,
        explanation=message.explanation,
        due_at=message.due_at,
        overdue=message.overdue,
        findings=tuple(models.Finding(**_plain(one)) for one in message.findings),
        timeline=tuple(models.Moment(**_plain(one)) for one in message.timeline),
        deliveries=tuple(_delivery(one) for one in message.deliveries),
    )


def _delivery(message: worklist_pb2.DeliveryView) -> models.Delivery:
    return models.Delivery(**{**_plain(message), "proof": dict(message.proof)})


def worklist_entry(message: worklist_pb2.WorklistEntry) -> models.WorklistEntry:
    return models.WorklistEntry(**_plain(message))


def dead_letter(message: worklist_pb2.DeadLetterView) -> models.DeadLetter:
    return models.DeadLetter(**_plain(message))


def dead_letter_detail(response: worklist_pb2.GetDeadLetterResponse) -> models.DeadLetterDetail:
    return models.DeadLetterDetail(
        dead_letter(response.dead_letter), response.type, response.event_id, response.payload
    )


def reconciliation(response: worklist_pb2.ReconcileResponse) -> models.Reconciliation:
    return models.Reconciliation(
        adds_up=response.adds_up,
        checks=tuple(models.Check(**_plain(check)) for check in response.checks),
        identities=tuple(
            models.AlgorithmIdentity(**{**_plain(one), "reasons": dict(one.reasons)}) for one in response.identities
        ),
    )


def model(message: oversight_pb2.ModelView) -> models.Model:
    return models.Model(**_plain(message))


def _plain(message: Any) -> dict[str, Any]:
    """Every field by its name; one that was never set has its default."""
    return {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}
