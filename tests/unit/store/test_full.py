"""A state database that is full: what is asked of it waits, and goes on when there is room."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from hilum.errors import Unavailable
from hilum.store.patience import PatientStore
from hilum.store.sql import SqlStore, SqlTransaction, open_sqlite

TABLES = sa.MetaData()
THINGS = sa.Table("things", TABLES, sa.Column("name", sa.Text, primary_key=True), sa.Column("data", sa.LargeBinary))


class Impatient:
    """A clock that does something instead of sleeping."""

    def __init__(self, wake: SqlStore) -> None:
        self.store = wake
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == 2:
            await limit(self.store, 10_000)


async def limit(store: SqlStore, pages: int) -> None:
    """The database may have so many pages: SQLite then answers as it does on a full disk."""
    await store.transact(lambda transaction: transaction.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}"))


def put(name: str) -> sa.Insert:
    return THINGS.insert().values(name=name, data=bytes(100_000))


def names(transaction: SqlTransaction) -> list[str]:
    return list(transaction.connection.execute(sa.select(THINGS.c.name)).scalars())


@pytest.fixture
async def full(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_sqlite(tmp_path / "state.db", TABLES)
    await limit(store, 1)  # no further pages than there are
    yield store
    store.close()


async def test_a_full_database_is_away_and_takes_the_same_work_later(full: SqlStore) -> None:
    with pytest.raises(Unavailable, match="store_unavailable"):
        await full.transact(lambda transaction: transaction.connection.execute(put("one")))
    assert await full.transact(names) == []
    await limit(full, 10_000)
    await full.transact(lambda transaction: transaction.connection.execute(put("one")))
    assert await full.transact(names) == ["one"]


async def test_a_database_that_is_full_within_a_savepoint_is_away_too(full: SqlStore) -> None:
    def work(transaction: SqlTransaction) -> None:
        savepoint = transaction.connection.begin_nested()
        try:
            transaction.connection.execute(put("one"))
        except sa.exc.OperationalError:
            savepoint.rollback()
            transaction.connection.execute(put("instead"))

    with pytest.raises(Unavailable, match="store_unavailable"):
        await full.transact(work)
    assert await full.transact(names) == []


async def test_a_patient_store_waits_until_there_is_room(full: SqlStore) -> None:
    clock = Impatient(full)
    store = PatientStore(full, clock, "test")
    await store.transact(lambda transaction: transaction.connection.execute(put("one")))
    assert len(clock.slept) == 2
    assert clock.slept == sorted(clock.slept)
    assert await full.transact(names) == ["one"]


async def test_a_patient_store_does_not_wait_for_one_that_was_closed(tmp_path: Path) -> None:
    inner = open_sqlite(tmp_path / "state.db", TABLES)
    inner.close()
    clock = Impatient(inner)
    with pytest.raises(Unavailable, match="store_closed"):
        await PatientStore(inner, clock, "test").transact(names)
    assert clock.slept == []
