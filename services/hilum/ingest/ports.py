"""What ingest needs of others."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from hilum.ingest.domain.facts import Fact


class KeptMessage(NamedTuple):
    """A message as received, with what its sender is told; the event that an acknowledgement stands for."""

    event_id: str
    feed: str
    message_control_id: str
    payload: bytes
    sha256: bytes
    received_at: datetime
    transport: str
    acknowledgement_code: str
    reason: str
    replay: bool = False
    """Sent back by a person after it had become a dead letter."""
    headers: Mapping[str, str] = MappingProxyType({})
    """The trace that it began."""


class RawLog(Protocol):
    """Where messages are kept before they are acknowledged."""

    async def keep(self, messages: Sequence[KeptMessage]) -> None:
        """Return once all of ``messages`` are durable. Raises `hilum.errors.Unavailable` when they may not be."""


class Sighting(Enum):
    """Whether bytes were seen before under a feed and control ID."""

    FIRST = "first"
    SAME = "same"  # the same bytes again
    REUSED = "reused"  # the control ID again, with other bytes


class Sightings(Protocol):
    """What was processed, within one transaction."""

    def note(self, feed: str, message_control_id: str, sha256: bytes, at: datetime) -> Sighting: ...


class Outlet(Protocol):
    """Facts leave in the transaction that notes their message."""

    def publish(self, fact: Fact, at: datetime) -> None: ...
