"""`hilum.oversight.ports.Registry` on the tables."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from hilum.oversight.adapters.tables import REGISTRY, WISHES
from hilum.oversight.domain import Package, State, Versions, Wish
from hilum.store.sql import SqlStore, SqlTransaction


class SqlRegistry:
    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def register(self, packages: Sequence[Package], at: datetime) -> Versions:
        return await self._store.transact(lambda transaction: _register(transaction, packages, at))

    async def versions(self) -> Versions:
        return await self._store.transact(_versions)

    async def last_wishes(self) -> Mapping[str, Wish]:
        rows = await self._store.transact(lambda transaction: transaction.connection.execute(sa.select(WISHES)).all())
        return {row.algorithm: Wish(row.version, State(row.state), row.listed) for row in rows}

    async def keep_wishes(self, wishes: Mapping[str, Wish]) -> None:
        await self._store.transact(lambda transaction: _keep(transaction, wishes))


def registered(state: Path) -> Versions:
    """The registry in a state directory, read and never written; empty while there is none."""
    path = state / "state" / "oversight.db"
    if not path.is_file():
        return {}
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        rows = connection.execute("SELECT name, version, digest FROM registry").fetchall()
    return {(name, version): digest for name, version, digest in rows}


def _register(transaction: SqlTransaction, packages: Sequence[Package], at: datetime) -> Versions:
    known = _versions(transaction)
    new = [package for package in packages if (package.name, package.version) not in known]
    if new:
        transaction.connection.execute(
            REGISTRY.insert(),
            [
                {
                    "name": package.name,
                    "version": package.version,
                    "digest": package.digest,
                    "registered_at": int(at.timestamp() * 1_000_000),
                }
                for package in new
            ],
        )
    return {**known, **{(package.name, package.version): package.digest for package in new}}


def _versions(transaction: SqlTransaction) -> Versions:
    rows = transaction.connection.execute(sa.select(REGISTRY))
    return {(row.name, row.version): row.digest for row in rows}


def _keep(transaction: SqlTransaction, wishes: Mapping[str, Wish]) -> None:
    transaction.connection.execute(WISHES.delete())
    if wishes:
        transaction.connection.execute(
            WISHES.insert(),
            [
                {"algorithm": name, "version": wish.version, "state": wish.state.value, "listed": wish.listed}
                for name, wish in wishes.items()
            ],
        )
