"""The senders of `bench_delivery.py` in a process of their own: all that they send is encoded before the clock starts.

Usage: delivery_load.py, a pickled `OpenLoop` or `Burst` on its standard input. Prints as JSON how many seconds late
each last evidence was sent. It shares no interpreter with the peers that answer Hilum, and waits for nothing but the
clock and the answers to what it sent itself.
"""

import asyncio
import json
import pickle
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ACCEPTED, _DATA, _RELEASED = 2, 4, 6  # PDU types (PS3.8 9.3)
_RELEASE = struct.pack(">BxII", 5, 4, 0)
_STATUS = struct.pack("<HHI", 0, 0x0900, 2)


@dataclass(frozen=True)
class Examination:
    """One study as it goes over the wire: its order in an MLLP block, its images as P-DATA-TF PDUs."""

    due: float
    """When its last evidence is, in seconds since 1970; all else goes ahead of it."""
    order: bytes
    order_is_last: bool
    images: tuple[bytes, ...]


@dataclass(frozen=True)
class OpenLoop:
    """Each examination at its time, whatever became of those before."""

    mllp_port: int
    dicom_port: int
    associate: bytes
    ahead_seconds: float
    examinations: Sequence[Examination]


@dataclass(frozen=True)
class Burst:
    """Every image at once, from the moment that they are due, each association after the answer to the one before."""

    dicom_port: int
    associate: bytes
    due: float
    associations: Sequence[Sequence[bytes]]


async def sent(load: OpenLoop | Burst) -> list[float]:
    """Send ``load`` from a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, Path(__file__)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        told, _ = await process.communicate(pickle.dumps(load))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise SystemExit("the senders failed")
    return [float(late) for late in json.loads(told)]


class _Modality:
    """One association."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def associated(cls, port: int, request: bytes) -> "_Modality":
        modality = cls(*await asyncio.open_connection("127.0.0.1", port))
        await modality._ask(request, _ACCEPTED)
        return modality

    async def store(self, image: bytes) -> None:
        answer = await self._ask(image, _DATA)
        at = answer.find(_STATUS) + len(_STATUS)
        if answer[at : at + 2] != b"\0\0":
            raise SystemExit(f"not stored: {answer!r}")

    async def release(self) -> None:
        await self._ask(_RELEASE, _RELEASED)
        self._writer.close()

    async def _ask(self, message: bytes, expected: int) -> bytes:
        self._writer.write(message)
        kind, length = struct.unpack(">BxI", await self._reader.readexactly(6))
        answer = await self._reader.readexactly(length)
        if kind != expected:
            raise SystemExit(f"PDU {kind} where {expected} was expected")
        return answer


class _Feed:
    """One connection with one message in flight."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._turn = asyncio.Lock()

    @classmethod
    async def connected(cls, port: int) -> "_Feed":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, block: bytes) -> float:
        """Send when it is this message's turn; returns when that was."""
        async with self._turn:
            at = time.time()
            self._writer.write(block)
            answer = await self._reader.readuntil(b"\x1c\r")
        if b"\rMSA|AA|" not in answer:
            raise SystemExit(f"not accepted: {answer!r}")
        return at

    def close(self) -> None:
        self._writer.close()


async def _until(due: float) -> None:
    await asyncio.sleep(max(0.0, due - time.time()))


async def _open_loop(load: OpenLoop) -> list[float]:
    ahead, last = [await _Feed.connected(load.mllp_port) for _ in range(2)]
    late: list[float] = []

    async def order(one: Examination) -> None:
        if one.order_is_last:
            await _until(one.due)
            late.append(await last.send(one.order) - one.due)
        else:
            await _until(one.due - load.ahead_seconds)
            await ahead.send(one.order)

    async def images(one: Examination) -> None:
        await _until(one.due - load.ahead_seconds)
        modality = await _Modality.associated(load.dicom_port, load.associate)
        before = one.images if one.order_is_last else one.images[:-1]
        for image in before:
            await modality.store(image)
        if not one.order_is_last:
            await _until(one.due)
            late.append(time.time() - one.due)
            await modality.store(one.images[-1])
        await modality.release()

    async with asyncio.TaskGroup() as group:
        for one in load.examinations:
            group.create_task(order(one))
            group.create_task(images(one))
    ahead.close()
    last.close()
    return late


async def _burst(load: Burst) -> list[float]:
    modalities = [await _Modality.associated(load.dicom_port, load.associate) for _ in load.associations]
    await _until(load.due)
    late = time.time() - load.due

    async def share(modality: _Modality, images: Sequence[bytes]) -> None:
        for image in images:
            await modality.store(image)
        await modality.release()

    async with asyncio.TaskGroup() as group:
        for modality, images in zip(modalities, load.associations, strict=True):
            group.create_task(share(modality, images))
    return [late]


async def _send(load: OpenLoop | Burst) -> list[float]:
    return await (_open_loop(load) if isinstance(load, OpenLoop) else _burst(load))


if __name__ == "__main__":
    # Under the name __main__ the classes of what comes would be others than the sender's.
    import delivery_load

    print(json.dumps(asyncio.run(delivery_load._send(pickle.load(sys.stdin.buffer)))))  # noqa: SLF001 - its own
