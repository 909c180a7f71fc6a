"""What a dead letter holds, for an engineer to read. All of it may identify a patient."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from hilum.contracts import topics
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.errors import HilumError, Rejected
from hilum.hl7.message import parse
from hilum.objects.port import Objects

_WHOLE_BYTES = 32  # a digest is shown whole


def answered(topic: str, value: bytes) -> dict[str, str]:
    """What the sender of a message was told, which identifies nobody; empty for other topics."""
    raw = _event(topic, value)
    if not isinstance(raw, RawMessage):
        return {}
    return {"acknowledgement_code": raw.acknowledgement_code, "acknowledgement_reason": raw.reason}


def content(topic: str, value: bytes, objects: Objects) -> str | dict[str, Any]:
    """The HL7 text of a message, a segment a line; the fields of any other event, long bytes abbreviated."""
    event = _event(topic, value)
    if event is None:
        return abbreviated(value)
    if not isinstance(event, RawMessage):
        return _fields(event)
    try:
        return hl7_text(objects.get(event.object_key) if event.object_key else event.payload)
    except HilumError as error:
        return f"{error} ({event.object_key})"


def hl7_text(payload: bytes) -> str:
    """Decoded as the message says it is; bytes and control characters that have no place in it are escaped."""
    try:
        text = parse(payload, "UNICODE UTF-8").text
    except Rejected:
        text = payload.decode("utf-8", "backslashreplace").replace("\r\n", "\r").replace("\n", "\r")
    lines = text.strip("\r").split("\r")
    return "\n".join("".join(one if one.isprintable() else repr(one)[1:-1] for one in line) for line in lines)


def abbreviated(value: bytes) -> str:
    """Hexadecimal; of many bytes only the first, and how many there are."""
    if len(value) <= _WHOLE_BYTES:
        return value.hex()
    return f"{value[:_WHOLE_BYTES].hex()}... ({len(value)} bytes)"


def _event(topic: str, value: bytes) -> Message | None:
    known = topics.BY_NAME.get(topic)
    try:
        return known.message.FromString(value) if known is not None else None
    except DecodeError:
        return None


def _fields(message: Message) -> dict[str, Any]:
    document: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    _abbreviate(message, document)
    return document


def _abbreviate(message: Message, document: dict[str, Any]) -> None:
    """JSON holds bytes as base64; write them as a person compares them."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_BYTES:
            document[field.name] = abbreviated(value) if isinstance(value, bytes) else [*map(abbreviated, value)]
        elif field.type == FieldDescriptor.TYPE_MESSAGE and isinstance(document[field.name], dict):
            if isinstance(value, Message):  # and no map
                _abbreviate(value, document[field.name])
        elif field.type == FieldDescriptor.TYPE_MESSAGE and isinstance(document[field.name], list):
            for part, shown in zip(value, document[field.name], strict=True):
                _abbreviate(part, shown)
