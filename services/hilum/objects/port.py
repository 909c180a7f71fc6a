"""The object store as a port: large, immutable things by key (DICOM files, maps, rendered documents)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    key: str
    size_bytes: int


class Objects(Protocol):
    """Blocking: call it from worker threads and processes, never from an event loop."""

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Store ``data`` and return once it is durable; what was there is replaced as a whole.

        ``data`` is the caller's again when this returns or raises.

        Raises `hilum.errors.Unavailable` when it could not be made durable.
        """

    def get(self, key: str) -> bytes:
        """The bytes. Raises `Fault` (`object_missing`) when there are none, `Unavailable` on I/O errors."""

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Remove it; nothing happens when it is gone already."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key starts with ``prefix``, in no particular order."""
