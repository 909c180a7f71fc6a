"""The SQLite log's own promises: group commit, one thread for reads, loops that have gone."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hilum.errors import Fault, Unavailable
from hilum.eventlog.port import Event, Record, TopicPartition, partition_of
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.eventlog.writer import Writer

AT = datetime(2026, 1, 2, tzinfo=UTC)


def event(number: int) -> Event:
    return Event("orders", "feed", "type", b"value", f"event-{number}", AT)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteEventLog]:
    log = SqliteEventLog(tmp_path / "log.db", busy_seconds=10)
    log.open()
    yield log
    log.close()


async def test_what_queues_during_a_commit_is_one_commit(
    log: SqliteEventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    began = threading.Event()
    real = Writer._commit

    def counted(self: Writer, group: Sequence[Any]) -> Unavailable | None:
        commits.append(len(group))
        began.set()
        return real(self, group)

    monkeypatch.setattr(Writer, "_commit", counted)
    holder = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")  # another process commits: the writer waits
    first = asyncio.create_task(log.append([event(0)]))
    await asyncio.to_thread(began.wait, 10)
    rest = [asyncio.create_task(log.append([event(number)])) for number in range(1, 201)]
    await asyncio.sleep(0.05)
    holder.execute("COMMIT")
    holder.close()
    await asyncio.gather(first, *rest)
    assert commits == [1, 200]


async def test_a_closed_log_says_unavailable(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "log.db")
    with pytest.raises(Unavailable):
        await log.append([event(1)])
    log.open()
    await log.append([event(1)])
    log.close()
    with pytest.raises(Unavailable):
        await log.append([event(2)])
    with pytest.raises(Unavailable):
        await log.heads(["orders"])
    log.close()


async def test_close_commits_what_is_queued(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "log.db")
    log.open()
    appends = [asyncio.create_task(log.append([event(number)])) for number in range(50)]
    await asyncio.sleep(0)
    await asyncio.to_thread(log.close)
    await asyncio.gather(*appends)
    rows = sqlite3.connect(tmp_path / "log.db")
    assert rows.execute("SELECT count(*) FROM records").fetchone() == (50,)
    rows.close()


def test_a_loop_that_has_gone_does_not_stop_the_writer(log: SqliteEventLog) -> None:
    async def leave() -> None:
        async def beginning(_place: TopicPartition) -> int:
            return 0

        await log.reader("group", ["orders"], beginning)  # never closed: its loop ends with it waiting
        append = asyncio.create_task(log.append([event(1)]))
        await asyncio.sleep(0)
        append.cancel()

    asyncio.run(leave())
    asyncio.run(log.append([event(2)]))
    asyncio.run(log.append([event(3)]))


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to be read as one" * 20])
def test_a_file_that_is_no_log_is_a_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(content)
    log = SqliteEventLog(path, busy_seconds=1)
    if content:
        with pytest.raises(Fault) as refused:
            log.open()
        assert refused.value.code == "log_corrupt"
    else:
        log.open()  # an empty file is an empty database
        log.close()


def test_a_place_that_cannot_be_written_says_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        SqliteEventLog(tmp_path / "file" / "log.db").open()


async def test_the_log_is_synced_at_each_commit(log: SqliteEventLog) -> None:
    assert log._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert log._connection.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_a_busy_partition_leaves_the_others_their_share_of_each_fetch(log: SqliteEventLog) -> None:
    keys = ["busy", "rushed", "quiet"]
    places = {key: partition_of(key, 4) for key in keys}
    assert len(set(places.values())) == 3
    many = [Event("orders", key, "type", b"", f"{key}-{n}", AT) for key in keys[:2] for n in range(200)]
    await log.append([*many, Event("orders", "quiet", "type", b"", "quiet-0", AT)])

    async def start(_place: TopicPartition) -> int:
        return 0

    reader = await log.reader("group", ["orders"], start)
    fetched = await reader.fetch(12, 1.0)
    assert len(fetched) == 12
    assert {record.event.key for record in fetched} == set(keys)
    rest: list[Record] = []
    while some := await reader.fetch(64, 0.0):
        rest += some
    for key in keys:
        told = [record.offset for record in (*fetched, *rest) if record.event.key == key]
        assert told == list(range(len(told)))
    assert len(fetched) + len(rest) == 401
    await reader.close()


async def test_a_thread_without_an_event_loop_appends_and_readers_hear_of_it(log: SqliteEventLog) -> None:
    async def beginning(_place: TopicPartition) -> int:
        return 0

    reader = await log.reader("group", ["orders"], beginning)
    reading = asyncio.create_task(reader.fetch(10, 10))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(log.append_blocking, [event(1), event(2)], 10)
    assert [record.event.event_id for record in await reading] == ["event-1", "event-2"]
    await reader.close()


def test_a_thread_waits_no_longer_than_told(log: SqliteEventLog, tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as refused:
        log.append_blocking([event(1)], 0.05)
    holder.execute("COMMIT")
    holder.close()
    assert refused.value.code == "log_slow"


def test_a_thread_is_told_that_the_log_is_closed(log: SqliteEventLog) -> None:
    log.close()
    with pytest.raises(Unavailable) as refused:
        log.append_blocking([event(1)], 1)
    assert refused.value.code == "log_closed"
