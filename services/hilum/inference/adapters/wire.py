"""Frames between the service and its own worker processes: a length, then a pickle.

The only peers are processes that this one started, over pipes that nobody else holds.
"""

import pickle
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from hilum.inference.domain import EngineSpec

_LENGTH = struct.Struct(">Q")
HEADER_BYTES = _LENGTH.size
LARGEST_FRAME = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """The first frame that a worker gets."""

    specs: tuple[EngineSpec, ...]
    objects_folder: str
    threads: int
    memory_bytes: int


def pack(message: Any) -> bytes:
    body = pickle.dumps(message, protocol=5)
    return _LENGTH.pack(len(body)) + body


def length(header: bytes) -> int:
    """The size of the frame that follows; ValueError when no worker of ours would write such."""
    (size,) = _LENGTH.unpack(header)
    if size > LARGEST_FRAME:
        raise ValueError("a frame beyond the limit")
    return int(size)


def unpack(body: bytes) -> Any:
    return pickle.loads(body)  # noqa: S301 - written by our own process


def read_frame(stream: BinaryIO) -> Any:
    """The next message; EOFError when the other side has gone."""
    return unpack(_exactly(stream, length(_exactly(stream, HEADER_BYTES))))


def write_frame(stream: BinaryIO, message: Any) -> None:
    stream.write(pack(message))
    stream.flush()


def _exactly(stream: BinaryIO, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = stream.read(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
