"""Identities: random ones through a port, and those that a cause determines.

A derived identity is what makes an effect happen once: the same cause, fact and ordinal give the
same event, the same SOP Instance UID and the same control ID, however often the work is redone.
"""

import base64
import uuid
from typing import Protocol

_HILUM = uuid.UUID("6d1b3a0e-9a1f-5c77-8b3e-3f6f9b0f5a51")


class Ids(Protocol):
    def new(self) -> str:
        """A fresh identity: the 36 characters of a random UUID."""


def derived_id(*parts: str) -> str:
    """The UUIDv5 (RFC 9562, 5.5) of ``parts``; each part is length-prefixed, so that no two lists collide."""
    return str(uuid.uuid5(_HILUM, "".join(f"{len(part)}:{part}" for part in parts)))


def event_id(cause: str, fact: str, ordinal: int = 0) -> str:
    """The identity of an event: what caused it, what it states, and which of several it is."""
    return derived_id("event", cause, fact, str(ordinal))


def derived_uid(*parts: str) -> str:
    """A DICOM UID under 2.25 from the UUIDv5 of ``parts`` (PS3.5 B.2); at most 44 characters."""
    return f"2.25.{uuid.UUID(derived_id('uid', *parts)).int}"


def control_id(*parts: str) -> str:
    """A message control ID (HL7 v2 MSH-10) of 20 characters, the limit before version 2.7."""
    digest = uuid.UUID(derived_id("control", *parts)).bytes
    return "H" + base64.b32encode(digest).decode("ascii")[:19]
