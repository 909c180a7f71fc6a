"""DIMSE statuses of C-STORE: what a refusal of ours is called on the wire, and what a peer's answer asks of us.

The ranges are PS3.4 B.2.3; the general codes PS3.7 9.1.1.1.9 and annex C.
"""

from enum import StrEnum

from hilum.errors import Duplicate, Fault, HilumError, Overloaded, Rejected, Unavailable

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.10
INVALID_OBJECT_INSTANCE = 0x0117  # PS3.7 C.5.14: the UID breaks the construction rules
SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5.6
NOT_AUTHORISED = 0x0124  # PS3.7 C.5.23
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
CANNOT_UNDERSTAND = 0xC000
# Within Cxxx the SCP names its own reasons.
CANNOT_PARSE = 0xC001
UID_MISSING = 0xC002
UID_INVALID = 0xC003
HELD_WITH_OTHER_CONTENT = 0xC010

_BY_CODE: dict[str, int] = {
    "sop_class_not_supported": SOP_CLASS_NOT_SUPPORTED,
    "not_authorised": NOT_AUTHORISED,
    "uids_disagree": DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    "sop_instance_uid_invalid": INVALID_OBJECT_INSTANCE,
    "uid_invalid": UID_INVALID,
    "uid_missing": UID_MISSING,
    "data_set_unreadable": CANNOT_PARSE,
    "sop_instance_conflict": HELD_WITH_OTHER_CONTENT,
}
_BY_CLASS: tuple[tuple[type[HilumError], int], ...] = (
    (Duplicate, SUCCESS),
    (Overloaded, OUT_OF_RESOURCES),
    (Unavailable, OUT_OF_RESOURCES),
    (Fault, PROCESSING_FAILURE),
    (Rejected, CANNOT_UNDERSTAND),
)


def status_of(error: HilumError) -> int:
    """The status that answers a C-STORE which ended in ``error``: by its code, else by its class."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    return next((status for kind, status in _BY_CLASS if isinstance(error, kind)), PROCESSING_FAILURE)


class Category(StrEnum):
    """PS3.7 C.1: what a status means to the sender."""

    SUCCESS = "success"
    WARNING = "warning"  # stored, with a remark
    FAILURE = "failure"


def category_of(status: int) -> Category:
    """The category of a C-STORE status; unknown ones are failures."""
    if status == SUCCESS:
        return Category.SUCCESS
    # 0001, 0107 and 0116 are the general warnings (PS3.7 C.4), Bxxx those of the service class.
    return Category.WARNING if status in (0x0001, 0x0107, 0x0116) or status >> 12 == 0xB else Category.FAILURE


def error_of(status: int) -> HilumError | None:
    """What a peer's answer to our C-STORE asks of us; None when it took the instance (warnings included).

    Out of resources (A7xx) and processing failure (0110) may pass later; the others will not.
    """
    if category_of(status) is not Category.FAILURE:
        return None
    code, text = f"dimse_{status:04x}", f"the peer answered C-STORE with {status:04X}H"
    if status >> 8 == 0xA7:
        return Overloaded(code, text)
    if status == PROCESSING_FAILURE:
        return Unavailable(code, text)
    return Rejected(code, text)
