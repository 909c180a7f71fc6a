"""A damaged state database is found and named, with what to do; nothing is decided on what is left of it."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from hilum.contracts import topics
from hilum.errors import Fault
from hilum.eventlog.consumer import Consumer
from hilum.eventlog.port import Event
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hosting import SystemClock
from hilum.store import integrity
from hilum.store.integrity import check_state
from hilum.store.sql import SqlStore, SqlTransaction, open_sqlite

TABLES = sa.MetaData()
THINGS = sa.Table("things", TABLES, sa.Column("name", sa.Text, primary_key=True), sa.Column("data", sa.LargeBinary))
ROWS = 200


async def written(path: Path) -> SqlStore:
    """A store of some dozens of pages."""
    store = open_sqlite(path, TABLES)
    for number in range(ROWS):
        row = THINGS.insert().values(name=f"{number:05d}", data=bytes(1000))
        await store.transact(lambda transaction, row=row: transaction.connection.execute(row))
    return store


def garble(path: Path, at: int, size: int = 4096) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * size)


def read_all(transaction: SqlTransaction) -> int:
    return len(transaction.connection.execute(sa.select(THINGS)).all())


async def test_a_whole_database_passes(tmp_path: Path) -> None:
    path = tmp_path / "workflow.db"
    (await written(path)).close()
    check_state(path, ended_in_order=True)
    check_state(path, ended_in_order=False)


def test_an_absent_database_passes(tmp_path: Path) -> None:
    check_state(tmp_path / "workflow.db", ended_in_order=False)


@pytest.mark.parametrize("page", [0, 1, 10, 40], ids="page {}".format)
async def test_a_garbled_page_is_found_and_the_remedy_told(tmp_path: Path, page: int) -> None:
    path = tmp_path / "workflow.db"
    (await written(path)).close()
    garble(path, page * 4096)
    with pytest.raises(Fault, match=r"state_corrupt: .*workflow\.db is damaged .*: restore it") as caught:
        check_state(path, ended_in_order=True)
    assert "\n" not in caught.value.text


async def test_a_truncated_database_is_found(tmp_path: Path) -> None:
    path = tmp_path / "workflow.db"
    (await written(path)).close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // 4096 * 4096)
    with pytest.raises(Fault, match="state_corrupt"):
        check_state(path, ended_in_order=True)


async def test_a_file_that_is_no_database_is_found(tmp_path: Path) -> None:
    path = tmp_path / "workflow.db"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(Fault, match="state_corrupt"):
        check_state(path, ended_in_order=True)


async def test_a_page_of_the_write_ahead_log_that_was_damaged_after_its_commit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "workflow.db"
    store = await written(path)
    ahead = path.with_name("workflow.db-wal")
    assert ahead.stat().st_size > 100_000
    left = ahead.read_bytes()  # as a crash leaves it
    store.close()
    ahead.write_bytes(left)
    garble(ahead, len(left) // 2, 16)
    with pytest.raises(Fault, match="state_corrupt"):
        check_state(path, ended_in_order=False)


async def test_a_projection_may_be_made_again_from_the_log(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    (await written(path)).close()
    garble(path, 0)
    with pytest.raises(Fault, match="move it and its -wal away, and the next start makes it again"):
        check_state(path, ended_in_order=True)


async def test_a_large_database_is_read_whole_only_after_an_end_that_was_not_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "workflow.db"
    (await written(path)).close()
    garble(path, 10 * 4096)
    monkeypatch.setattr(integrity, "QUICK_BYTES", 1000)
    check_state(path, ended_in_order=True)
    with pytest.raises(Fault, match="state_corrupt"):
        check_state(path, ended_in_order=False)


async def test_damage_that_a_transaction_comes_upon_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "workflow.db"
    (await written(path)).close()
    for page in range(15, 40):
        garble(path, page * 4096)
    store = open_sqlite(path, TABLES)
    try:
        with pytest.raises(Fault, match="state_corrupt"):
            await store.transact(read_all)
    finally:
        store.close()


async def test_a_record_that_comes_upon_damage_ends_its_consumer_and_is_no_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "workflow.db"
    (await written(path)).close()
    for page in range(15, 40):
        garble(path, page * 4096)
    log = SqliteEventLog(tmp_path / "log.db")
    log.open()
    store = open_sqlite(path, TABLES)
    event = Event(topics.ORDERS.name, "key", topics.ORDERS.type, b"", "event", datetime(2026, 1, 1, tzinfo=UTC))
    try:
        await log.append([event])
        handlers = {topics.ORDERS.name: lambda transaction, _: read_all(transaction)}
        consumer = Consumer(log, store, "workflow", handlers, SystemClock())
        async with asyncio.timeout(20):
            with pytest.raises(Fault, match="state_corrupt"):
                await consumer.run()
        assert await store.outgoing(10) == []
    finally:
        store.close()
        log.close()


def test_what_is_no_state_of_ours_is_not_written(tmp_path: Path) -> None:
    """The check reads: a database in use keeps its bytes."""
    path = tmp_path / "workflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things (name TEXT)")
        connection.commit()
    before = path.read_bytes()
    check_state(path, ended_in_order=False)
    assert path.read_bytes() == before
