"""What becomes of an instance that arrives, given what is held under its SOP Instance UID."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from hilum.errors import Rejected


@dataclass(frozen=True, slots=True)
class Arrival:
    """A data set as it was received; its UIDs stand (`hilum.dicom.uids`)."""

    sop_instance_uid: str
    study_instance_uid: str
    # SHA-256 of the data set's bytes, without preamble and group 0002.
    sha256: bytes
    # The DICOM file (PS3.10 7): preamble, group 0002, and the data set's bytes as they came. Lent until it is stored.
    file: bytes | memoryview
    calling_ae_title: str
    received_at: datetime
    # The instance as the contract `Instance` carries it, all but where it is kept and why it cannot be used.
    statement: bytes
    # Empty: usable. Else the coded reason why its pixels cannot be an input.
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A data set that cannot be stored; kept all the same, with the reason."""

    sha256: bytes
    file: bytes | memoryview
    calling_ae_title: str
    received_at: datetime
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    code: str
    text: str


class PutAside(Rejected):
    """Not stored, and kept with its reason; ``event_id`` is the event that says so."""

    def __init__(self, code: str, text: str, event_id: str) -> None:
        super().__init__(code, text)
        self.event_id = event_id


@dataclass(frozen=True, slots=True)
class Held:
    """A data set that is held, stored or in quarantine."""

    sha256: bytes
    quarantined: bool


class Decision(Enum):
    STORE = auto()
    KNOWN = auto()  # the identical data set was stored before
    QUARANTINE = auto()  # another data set holds the UID: the first is kept
    KNOWN_QUARANTINED = auto()


def decide(sha256: bytes, held: Sequence[Held]) -> Decision:
    """The first data set of a SOP Instance UID is the instance; every other one is put aside (PS3.5 9)."""
    for known in held:
        if known.sha256 == sha256:
            return Decision.KNOWN_QUARANTINED if known.quarantined else Decision.KNOWN
    return Decision.QUARANTINE if held else Decision.STORE


def object_key(arrival: Arrival) -> str:
    return f"instances/{arrival.study_instance_uid}/{arrival.sop_instance_uid}.dcm"


def quarantine_key(arrival: Arrival) -> str:
    return f"quarantine/{arrival.sop_instance_uid}/{arrival.sha256.hex()}.dcm"


def refusal_key(refusal: Refusal) -> str:
    return f"quarantine/refused/{refusal.sha256.hex()}.dcm"
