"""Events as rows of the SQLite log: its tables, and a checksum in every row.

SQLite keeps checksums in its write-ahead log but none in the database file. A row whose bytes were changed there reads
as well as any other, so each carries the CRC-32 of what was appended, and whoever reads it compares.
"""

import json
import sqlite3
import struct
import zlib
from json.encoder import encode_basestring_ascii as _quoted
from typing import NamedTuple

from hilum.clock import at_microseconds, microseconds
from hilum.errors import Fault
from hilum.eventlog.port import Event, Record, TopicPartition, partition_of

# Rows lie in the order in which they came, and the index holds their places: sorted by place, each would be
# written into the middle of the tree, and two thirds as many would fit into a commit of the same length.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS heads (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    key TEXT NOT NULL, type TEXT NOT NULL, event_id TEXT NOT NULL, time_us INTEGER NOT NULL,
    headers TEXT NOT NULL, value BLOB NOT NULL, checksum INTEGER);
CREATE UNIQUE INDEX IF NOT EXISTS places ON records (topic, partition, offset);
"""
COLUMNS = 10
_SELECT = (
    "SELECT offset, key, type, event_id, time_us, headers, value, checksum FROM records "
    "WHERE topic = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?"
)
_OFFSET = struct.Struct("<q")


class Row(NamedTuple):
    """An event ready to be written, but for its offset; ``checksum`` is of everything else."""

    place: TopicPartition
    key: str
    type: str
    event_id: str
    time_us: int
    headers: str
    value: bytes
    checksum: int

    def at(self, offset: int) -> tuple[str, int, int, str, str, str, int, str, bytes, int]:
        """The row's values in the order of the table's columns."""
        checksum = zlib.crc32(_OFFSET.pack(offset), self.checksum)
        return (*self.place, offset, *self[1:7], checksum)


def create(connection: sqlite3.Connection) -> None:
    """The tables, where they are not there yet; records of before there were checksums have none."""
    connection.executescript(_SCHEMA)
    if all(column[1] != "checksum" for column in connection.execute("PRAGMA table_info(records)")):
        connection.execute("ALTER TABLE records ADD COLUMN checksum INTEGER")


def row_of(event: Event, partitions: int) -> Row:
    """Raises ValueError or TypeError for what cannot be stored, in the caller's thread and not in the writer's."""
    place = TopicPartition(event.topic, partition_of(event.key, partitions))
    time_us = microseconds(event.time)
    # Faster than the encoder that takes anything, and it takes nothing but text.
    headers = f"{{{','.join([f'{_quoted(name)}:{_quoted(value)}' for name, value in event.headers.items()])}}}"
    checksum = _checksum(place, event.key, event.type, event.event_id, time_us, headers, event.value)
    return Row(place, event.key, event.type, event.event_id, time_us, headers, event.value, checksum)


def read(connection: sqlite3.Connection, place: TopicPartition, start: int, limit: int) -> list[Record]:
    """Up to ``limit`` records of ``place`` from ``start`` on. Raises `Fault` (`log_corrupt`) that says where."""
    return [_record(place, *row) for row in connection.execute(_SELECT, (*place, start, limit)).fetchall()]


def _record(
    place: TopicPartition,
    offset: int,
    key: str,
    kind: str,
    event_id: str,
    time_us: int,
    headers: str,
    value: bytes,
    checksum: int | None,
) -> Record:
    try:
        sound = zlib.crc32(_OFFSET.pack(offset), _checksum(place, key, kind, event_id, time_us, headers, value))
    except (TypeError, ValueError, struct.error):  # a column that is not even of its type
        sound = -1
    if checksum is not None and sound != checksum:
        raise Fault("log_corrupt", f"{place.topic}/{place.partition}: the record at offset {offset} was changed")
    event = Event(place.topic, key, kind, value, event_id, at_microseconds(time_us), json.loads(headers))
    return Record(event, place.partition, offset)


def _checksum(
    place: TopicPartition, key: str, kind: str, event_id: str, time_us: int, headers: str, value: bytes
) -> int:
    text = f"{place.topic}\0{place.partition}\0{key}\0{kind}\0{event_id}\0{time_us}\0{headers}\0".encode()
    return zlib.crc32(value, zlib.crc32(text))
