"""One suite against each port, whatever stands behind it: an adapter joins by adding its name to `params`."""

import contextlib
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hilum.eventlog.port import EventLog
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.objects.files import FileObjects
from hilum.objects.port import Objects
from hilum.store.sql import SqlStore, open_sqlite
from scenes.adapters import TABLES, FullDisk, OpenLog, OpenObjects, OpenStore
from scenes.clock import QuickClock


@pytest.fixture
def clock() -> QuickClock:
    return QuickClock()


@pytest.fixture(params=["sqlite"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenLog]:
    """Opens one log again and again, as several processes would."""
    opened: list[SqliteEventLog] = []

    def open_one() -> EventLog:
        assert request.param == "sqlite"
        log = SqliteEventLog(tmp_path / "log.db", busy_seconds=5)
        log.open()
        opened.append(log)
        return log

    yield open_one
    for log in opened:
        log.close()


@pytest.fixture
def log(open_log: OpenLog) -> EventLog:
    return open_log()


@pytest.fixture(params=["sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens one service's store again and again, as a restart or a zombie would."""
    opened: list[SqlStore] = []

    def open_one() -> SqlStore:
        assert request.param == "sqlite"
        store = open_sqlite(tmp_path / "state" / "service.db", TABLES)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> SqlStore:
    return open_store()


@pytest.fixture(params=["files"])
def open_objects(request: pytest.FixtureRequest, tmp_path: Path) -> OpenObjects:
    def open_one() -> Objects:
        assert request.param == "files"
        return FileObjects(tmp_path / "objects")

    return open_one


@pytest.fixture
def objects(open_objects: OpenObjects) -> Objects:
    return open_objects()


@pytest.fixture
def full_disk() -> FullDisk:
    """While it is entered, no file of this process can grow: what a full disk does to a local adapter."""

    @contextmanager
    def limited() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            with contextlib.suppress(TypeError):
                signal.signal(signal.SIGXFSZ, before)

    return limited
