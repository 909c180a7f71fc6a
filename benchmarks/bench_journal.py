"""What a journal of preallocated segments before the SQLite log could gain, at the most.

Usage: bench_journal.py [ROUNDS]. The same groups of events are appended to the log as it is, to a segment whose blocks
were written beforehand (one pwrite and one fdatasync a group, each event with its length, number and checksum), and,
as the bound of both, to that segment without any thread or event loop. The segment is spared what a journal would still
have to do: write the rows to SQLite afterwards, and read itself again at the start.
"""

import asyncio
import os
import resource
import statistics
import struct
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hilum.errors import Unavailable
from hilum.eventlog.port import Event
from hilum.eventlog.rows import Row, create, row_of
from hilum.eventlog.sqlite import SqliteEventLog, connect
from hilum.eventlog.writer import Writer
from served import machine

_SEGMENT = 16 << 20
_HEAD = struct.Struct("<IQI")  # length, number, checksum
_GROUPS = (1, 8, 64)
_AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
_VALUE = os.urandom(760)  # as long as an order with what is kept beside it

Append = Callable[[Sequence[Event]], Awaitable[None]]


class Segment(Writer):
    """The log's writer, but for what it does to be durable."""

    def __init__(self, folder: Path) -> None:
        self.file = os.open(folder / "segment", os.O_RDWR | os.O_CREAT)
        os.pwrite(self.file, bytes(_SEGMENT), 0)
        os.fsync(self.file)
        self._at = self._number = 0
        unused = connect(folder / "unused.db")
        create(unused)
        super().__init__(unused, lambda _heads: None)

    def _commit(self, group: Sequence[Row]) -> Unavailable | None:
        data = bytearray()
        for row in group:
            text = "\0".join((row.place.topic, row.key, row.type, row.event_id, str(row.time_us), row.headers))
            body = text.encode() + row.value
            self._number += 1
            data += _HEAD.pack(len(body), self._number, zlib.crc32(body)) + body
        self.write(data)
        return None

    def write(self, data: bytes | bytearray) -> None:
        if self._at + len(data) > _SEGMENT:
            self._at = 0
        os.pwrite(self.file, data, self._at)
        os.fdatasync(self.file)
        self._at += len(data)


def _events(count: int, number: int) -> list[Event]:
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
    return [
        Event("messages", "site|RIS|HOSPITAL", "hilum.RawMessage", _VALUE, f"{number:016d}-{one:019d}", _AT, headers)
        for one in range(count)
    ]


async def _measure(append: Append, size: int, times: int) -> tuple[float, float]:
    """Microseconds an append took, and of the processor."""
    groups = [_events(size, number) for number in range(times)]
    began, cpu = time.perf_counter(), _cpu()
    for group in groups:
        await append(group)
    return (time.perf_counter() - began) / times * 1e6, (_cpu() - cpu) / times * 1e6


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _compare(folder: Path, rounds: int) -> None:
    log = SqliteEventLog(folder / "log.db")
    log.open()
    segment = Segment(folder)

    async def journal(events: Sequence[Event]) -> None:
        await segment.append([row_of(event, 4) for event in events])

    async def bare(events: Sequence[Event]) -> None:
        segment.write(_VALUE * len(events))

    ways: dict[str, Append] = {"SQLite log": log.append, "segment": journal, "bare pwrite + fdatasync": bare}
    wall: dict[tuple[str, int], list[float]] = defaultdict(list)
    busy: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for size in _GROUPS:
            for name, append in ways.items():
                took, cpu = await _measure(append, size, 100)
                wall[name, size].append(took)
                busy[name, size].append(cpu)
    for size in _GROUPS:
        print(f"groups of {size}")
        for name in ways:
            ratio = statistics.median(
                ours / theirs for ours, theirs in zip(wall["SQLite log", size], wall[name, size], strict=True)
            )
            print(
                f"  {name:<24} median {statistics.median(wall[name, size]):7.0f} us, least {min(wall[name, size]):7.0f}"
                f" us, processor {statistics.median(busy[name, size]):6.0f} us; the log takes {ratio:4.2f} times it"
            )
    segment.close()
    log.close()


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-journal-") as folder:
        asyncio.run(_compare(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else 10))
    print(f"afterwards: {machine()}")


if __name__ == "__main__":
    main()
