"""DIMSE command sets, as far as a storage SCP reads and writes them (PS3.7 6.3.1, 9.3, E.1).

A command set is always implicit VR little endian; it holds texts and 16-bit numbers alone.
"""

import struct
from dataclasses import dataclass

from hilum.errors import Rejected

C_STORE_RQ = 0x0001
C_ECHO_RQ = 0x0030
C_CANCEL_RQ = 0x0FFF
UNRECOGNISED_OPERATION = 0x0211  # PS3.7 C.5.18
LARGEST_COMMAND_BYTES = 65_536
_RESPONSE = 0x8000
_NO_DATA_SET = 0x0101
_ELEMENT = struct.Struct("<HHI")
_NUMBER = struct.Struct("<H")
_AFFECTED_SOP_CLASS = 0x0002
_COMMAND_FIELD = 0x0100
_MESSAGE_ID = 0x0110
_RESPONDED_TO = 0x0120
_DATA_SET_TYPE = 0x0800
_STATUS = 0x0900
_ERROR_COMMENT = 0x0902
_AFFECTED_SOP_INSTANCE = 0x1000
_LARGEST_UID = 64
_COMMENT_CHARACTERS = 64  # LO


@dataclass(frozen=True, slots=True)
class Command:
    """A request. UIDs as they were sent, empty where absent."""

    field: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and its Error Comment (PS3.7 C.1), which holds nothing that identifies a patient."""

    status: int
    comment: str = ""


def read_command(encoded: bytes) -> Command:
    """Raises `Rejected` (`command_invalid`) for what is no request, or has no message ID."""
    values = _elements(encoded)
    field = _number(values, _COMMAND_FIELD)
    if field & _RESPONSE:
        raise _invalid("a response where a request is expected")
    return Command(
        field=field,
        message_id=0 if field == C_CANCEL_RQ else _number(values, _MESSAGE_ID),
        sop_class_uid=_uid(values, _AFFECTED_SOP_CLASS),
        sop_instance_uid=_uid(values, _AFFECTED_SOP_INSTANCE),
        has_data_set=_number(values, _DATA_SET_TYPE) != _NO_DATA_SET,
    )


def write_response(command: Command, answer: Answer) -> bytes:
    """The response to ``command`` (PS3.7 9.3.1.2, 9.3.5.2)."""
    parts = [_uid_element(_AFFECTED_SOP_CLASS, command.sop_class_uid)]
    parts.append(_number_element(_COMMAND_FIELD, command.field | _RESPONSE))
    parts.append(_number_element(_RESPONDED_TO, command.message_id))
    parts.append(_number_element(_DATA_SET_TYPE, _NO_DATA_SET))
    parts.append(_number_element(_STATUS, answer.status))
    if answer.comment:
        comment = answer.comment[:_COMMENT_CHARACTERS].encode("ascii", "replace")
        parts.append(_element(_ERROR_COMMENT, comment + b" " * (len(comment) % 2)))
    if command.sop_instance_uid:
        parts.append(_uid_element(_AFFECTED_SOP_INSTANCE, command.sop_instance_uid))
    body = b"".join(parts)
    return _element(0x0000, struct.pack("<I", len(body))) + body


def _elements(encoded: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    at, size = 0, len(encoded)
    while at < size:
        if size - at < _ELEMENT.size:
            raise _invalid("its last element is not whole")
        group, number, length = _ELEMENT.unpack_from(encoded, at)
        at += _ELEMENT.size
        if group != 0 or length > size - at:
            raise _invalid("an element of another group, or longer than the command")
        values[number] = encoded[at : at + length]
        at += length
    return values


def _number(values: dict[int, bytes], number: int) -> int:
    value = values.get(number, b"")
    if len(value) != _NUMBER.size:
        raise _invalid(f"(0000,{number:04X}) is not there")
    return int(_NUMBER.unpack(value)[0])


def _uid(values: dict[int, bytes], number: int) -> str:
    value = values.get(number, b"").rstrip(b"\0 ")
    if len(value) > _LARGEST_UID or not value.isascii():
        raise _invalid(f"(0000,{number:04X}) is not a UID")
    return value.decode("ascii").strip()


def _uid_element(number: int, uid: str) -> bytes:
    value = uid.encode("ascii", "replace")
    return _element(number, value + b"\0" * (len(value) % 2))


def _number_element(number: int, value: int) -> bytes:
    return _element(number, _NUMBER.pack(value))


def _element(number: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, number, len(value)) + value


def _invalid(text: str) -> Rejected:
    return Rejected("command_invalid", text)
