"""The services' databases in the seeded world: the real store and its SQL, on SQLite in memory, behind faults.

A transaction is one step of the loop, as the store promises. It may find the database away, or commit without its
asker hearing of it.
"""

import sqlite3
from collections.abc import Callable
from random import Random
from typing import TypeVar

import sqlalchemy as sa

from hilum.errors import Unavailable
from hilum.simulator.world.history import History
from hilum.store.sql import SqlStore, SqlTransaction

_T = TypeVar("_T")


class DatabaseWeather:
    def __init__(self) -> None:
        self.refuses = 0.0
        self.answer_lost = 0.0


class Databases:
    """One database a service; it outlives every process that opens it. ``name`` parts one world's from another's."""

    def __init__(self, name: str, chance: Random, history: History) -> None:
        self._name = name
        self._chance = chance
        self._history = history
        self.weather = DatabaseWeather()
        self._anchors: dict[str, sqlite3.Connection] = {}

    def open(self, service: str, tables: sa.MetaData) -> SqlStore:
        """`hilum.hosting.Platform.open_store`."""
        uri = f"file:{self._name}-{service}?mode=memory&cache=shared"
        if service not in self._anchors:
            self._anchors[service] = sqlite3.connect(uri, uri=True)
        engine = sa.create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False),
            poolclass=sa.pool.StaticPool,
        )

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        return _Store(engine, tables, self._chance, self.weather, self._history)

    def close(self) -> None:
        for anchor in self._anchors.values():
            anchor.close()


class _Store(SqlStore):
    def __init__(
        self, engine: sa.Engine, tables: sa.MetaData, chance: Random, weather: DatabaseWeather, history: History
    ) -> None:
        self._chance = chance
        self._weather = weather
        self._history = history
        super().__init__(engine, tables)

    async def transact(self, work: Callable[[SqlTransaction], _T]) -> _T:
        if self._chance.random() < self._weather.refuses:
            raise Unavailable("store_unavailable", "the state database did not take the transaction")
        result = await super().transact(work)
        if self._chance.random() < self._weather.answer_lost:
            raise Unavailable("store_unavailable", "the state database did not answer")
        return result
