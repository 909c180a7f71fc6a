"""What a crash or a bad disk did to the log, found before anything is written to it.

A crash may leave an unfinished commit at the end of the write-ahead log: it was never acknowledged, and SQLite cuts it.
SQLite cuts just as silently at a page that was damaged later, and drops every acknowledged commit behind it. The two
are told apart by what follows. A commit is written only after the one before it was synced, so a whole commit behind a
bad one proves that the bad one had been good.
"""

import logging
import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from hilum.errors import Fault
from hilum.eventlog import rows
from hilum.eventlog.port import TopicPartition

_LOG = logging.getLogger(__name__)
_TAIL = 8  # records of each partition whose checksums are compared at the start
# The file format is https://www.sqlite.org/fileformat2.html#the_write_ahead_log; numbers are big-endian.
_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoint, two salts, two checksums
_FRAME = struct.Struct(">6I")  # page, size of the database after a commit (else 0), two salts, two checksums
_MAGIC = 0x377F0682  # checksums over little-endian words; one more for big-endian

_Sum = tuple[int, int]


class _Frame(NamedTuple):
    at: int
    """Byte of the file where it begins."""
    sound: bool
    """Its checksum continues that of the frame before it, whether that one is sound or not."""
    commits: bool


def check_write_ahead_log(path: Path) -> None:
    """Raises `Fault` (`log_corrupt`) when acknowledged commits in the log of the database at ``path`` were damaged."""
    name = path.with_name(f"{path.name}-wal")
    try:
        file = name.open("rb")
    except FileNotFoundError:
        return  # it was closed in order
    with file:
        header = file.read(_HEADER.size)
        bad = _damage(list(_frames(file, header)))
        if bad is None:
            return
        # Another process may be writing that page, or have begun anew: then it is otherwise a moment later.
        file.seek(0)
        if file.read(_HEADER.size) != header or _damage(list(_frames(file, header))) != bad:
            return
    raise Fault("log_corrupt", f"{name.name}: the page at byte {bad} was damaged, and whole commits follow it")


def check_tail(connection: sqlite3.Connection) -> None:
    """Raises `Fault` (`log_corrupt`) when a partition does not end as its head says, or in records that are not sound.

    Not the whole log: that would take the longer, the more it holds. Every record is compared when it is read.
    """
    connection.execute("BEGIN")  # one view, whatever other processes append
    try:
        heads = connection.execute("SELECT topic, partition, next_offset FROM heads").fetchall()
        expected = {TopicPartition(topic, partition): offset for topic, partition, offset in heads}
        for place in expected.keys() | set(_places(connection)):
            head = expected.get(place, 0)
            start = max(0, head - _TAIL)
            offsets = [record.offset for record in rows.read(connection, place, start, _TAIL + 1)]
            if offsets != list(range(start, head)):
                raise Fault("log_corrupt", f"{place.topic}/{place.partition}: records before {head} are missing")
    finally:
        connection.execute("COMMIT")


def _places(connection: sqlite3.Connection) -> Iterator[TopicPartition]:
    """The partitions that hold records, each found by one step into the index."""
    after: tuple[object, object] | None = ("", -1)
    while after is not None:
        after = connection.execute(
            "SELECT topic, partition FROM records WHERE (topic, partition) > (?, ?) ORDER BY topic, partition LIMIT 1",
            after,
        ).fetchone()
        if after is not None:
            yield TopicPartition(*after)


def _damage(frames: list[_Frame]) -> int | None:
    """Where the first bad frame begins, when what follows it proves that it had been good."""
    bad = next((number for number, frame in enumerate(frames) if not frame.sound), None)
    if bad is None:
        return None
    # The rest of the bad commit may be sound, up to its own end; one commit more makes the proof. Only in one unbroken
    # run of frames: remains of other crashes may lie behind, each with one commit at most.
    needed = 1 if frames[bad].commits else 2
    seen = 0
    for frame in frames[bad + 1 :]:
        seen = seen + frame.commits if frame.sound else 0
        needed = needed if frame.sound else 2
        if seen >= needed:
            return frames[bad].at
    _LOG.info("the event log ends in an unfinished commit at byte %d of its write-ahead log: cut", frames[bad].at)
    return None


def _frames(file: BinaryIO, header: bytes) -> Iterator[_Frame]:
    """The frames of the present generation: older ones, further on, bear other salts."""
    if len(header) < _HEADER.size or not any(header):
        return  # the first header was never synced, so nothing behind it was
    magic, _, page_size, _, *salts_and_sum = _HEADER.unpack(header)
    words = ">" if magic & 1 else "<"
    salts, told = tuple(salts_and_sum[:2]), (salts_and_sum[2], salts_and_sum[3])
    if magic & ~1 != _MAGIC or _sum(header[:24], (0, 0), words) != told:
        raise Fault("log_corrupt", "the write-ahead log's header was damaged")
    size = os.fstat(file.fileno()).st_size
    for at in range(_HEADER.size, size - _FRAME.size - page_size + 1, _FRAME.size + page_size):
        head = file.read(_FRAME.size)
        page = file.read(page_size)
        if len(head) + len(page) < _FRAME.size + page_size:
            return  # it was cut while it was being read
        _, commits, salt, second, *own = _FRAME.unpack(head)
        sound = (salt, second) == salts and _sum(head[:8] + page, told, words) == tuple(own)
        yield _Frame(at, sound, bool(commits))
        told = (own[0], own[1])


def _sum(data: bytes, seed: _Sum, words: str) -> _Sum:
    first, second = seed
    numbers = iter(struct.unpack(f"{words}{len(data) // 4}I", data))
    for number in numbers:
        first = (first + number + second) & 0xFFFFFFFF
        second = (second + next(numbers) + first) & 0xFFFFFFFF
    return first, second
