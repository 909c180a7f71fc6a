"""Events as Kafka records: the value is the event's, all else stands in headers (CloudEvents 1.0, Kafka binding 3.2).

The record's own timestamp is the broker's (``LogAppendTime``): Kafka deletes by it, and a wrong clock at a site must
not delete what nobody has read yet. The event's own time is the header ``ce_time``, to the microsecond.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from hilum.clock import at_microseconds
from hilum.eventlog.port import Event, Record, TopicPartition, partition_of
from hilum.ids import derived_id

_OURS = "ce_"
_CONTENT_TYPE = "content-type"
_FIXED = ((_CONTENT_TYPE, b"application/protobuf"), ("ce_specversion", b"1.0"), ("ce_source", b"hilum"))

Headers = Sequence[tuple[str, bytes]]


class Outgoing(NamedTuple):
    """An event ready to be sent."""

    place: TopicPartition
    key: bytes
    value: bytes
    headers: Headers

    @property
    def size(self) -> int:
        """Of what may be large, in bytes."""
        return len(self.value) + len(self.key) + sum(len(value) for _, value in self.headers)


class Incoming(Protocol):
    """What the client library gives for a record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Iterable[tuple[str, bytes | None]]


def outgoing(event: Event, partitions: int) -> Outgoing:
    """Raises ValueError or TypeError for what cannot be stored, in the caller's thread and not in the log's."""
    if event.time.tzinfo is None:
        raise ValueError("a time without its zone")
    headers = [
        *_FIXED,
        ("ce_id", event.event_id.encode()),
        ("ce_type", event.type.encode()),
        ("ce_time", event.time.astimezone(UTC).isoformat().encode()),
    ]
    for name, value in event.headers.items():
        if name.startswith(_OURS) or name == _CONTENT_TYPE or not isinstance(value, str):
            raise ValueError(f"the header {name} is not an event's own")
        name.encode()
        headers.append((name, value.encode()))
    if not isinstance(event.value, bytes):
        raise TypeError("the value of an event is bytes")
    place = TopicPartition(event.topic, partition_of(event.key, partitions))
    return Outgoing(place, event.key.encode(), event.value, headers)


def incoming(place: TopicPartition, record: Incoming) -> Record:
    """Another program's record, without our headers, is an event too: its consumer parks what it cannot read."""
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    own = {name: value for name, value in headers.items() if not name.startswith(_OURS) and name != _CONTENT_TYPE}
    event_id = headers.get("ce_id") or derived_id("foreign", place.topic, str(place.partition), str(record.offset))
    key = (record.key or b"").decode("utf-8", "replace")
    time = _time(headers.get("ce_time", ""), record.timestamp)
    event = Event(place.topic, key, headers.get("ce_type", ""), record.value or b"", event_id, time, own)
    return Record(event, place.partition, record.offset)


def _time(text: str, milliseconds: int) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return at_microseconds(milliseconds * 1000)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
