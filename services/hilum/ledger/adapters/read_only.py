"""The ledger in a state directory, read and never written: while the system runs, and after it stopped."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from hilum.errors import Rejected, Unavailable
from hilum.ledger.adapters.view import SqlView
from hilum.store.integrity import corrupt, is_corrupt


@contextmanager
def read_only(state: Path) -> Iterator[SqlView]:
    """One consistent view.

    Raises `Rejected` (`state_unknown`) when ``state`` holds no ledger, `Fault` (`state_corrupt`) when what is asked of
    it cannot be read for damage, `Unavailable` when it is away.
    """
    path = state / "state" / "ledger.db"
    engine = sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=sa.pool.StaticPool)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    try:
        with engine.begin() as connection:
            yield SqlView(connection)
    except sa.exc.DatabaseError as error:
        if is_corrupt(error.orig):
            raise corrupt(path, str(error.orig)) from error
        raise Unavailable("ledger_unreadable", "the ledger's tables cannot be read") from error
    finally:
        engine.dispose()


def heads(state: Path) -> Mapping[tuple[str, int], int]:
    """Topic and partition -> the offset that the next event of the log will take."""
    path = state / "log.db"
    with closing(_connect(path)) as connection:
        try:
            rows = connection.execute("SELECT topic, partition, next_offset FROM heads").fetchall()
        except sqlite3.DatabaseError as error:
            if is_corrupt(error):
                raise corrupt(path, str(error)) from error
            raise Unavailable("ledger_unreadable", "the log's tables cannot be read") from error
    return {(topic, partition): offset for topic, partition, offset in rows}


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise Rejected("state_unknown", f"{path.parent} holds no {path.name}: is this the state directory?")
    uri = path.resolve().as_uri()
    try:
        connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=30, isolation_level=None)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if is_corrupt(error):
            raise corrupt(path, str(error)) from error
        # A write-ahead log needs its index beside it; where that cannot be made and no log is left, nothing changes.
        if path.with_name(f"{path.name}-wal").exists():
            raise Unavailable("ledger_unreadable", f"{path.name} cannot be read: {error}") from error
        connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
    return connection
