"""One suite against each port, whatever stands behind it: an adapter joins by adding its name to `params`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum.eventlog.port import EventLog
from hilum.objects.files import FileObjects
from hilum.objects.port import Objects
from hilum.store.sql import SqlStore, open_sqlite
from scenes.adapters import TABLES, FullDisk, OpenLog, OpenObjects, OpenStore
from scenes.clock import QuickClock
from scenes.logs import KafkaLogs, Logs, SqliteLogs
from scenes.logs import full_disk as on_full_disk


@pytest.fixture
def clock() -> QuickClock:
    return QuickClock()


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.production)])
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Logs]:
    logs: Logs
    if request.param == "kafka":
        logs = KafkaLogs(request.getfixturevalue("one_broker"))
    else:
        logs = SqliteLogs(tmp_path / "log.db")
    yield logs
    logs.close()


@pytest.fixture
def open_log(logs: Logs) -> OpenLog:
    """Opens one log again and again, as several processes would."""
    return logs.open


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
    return on_full_disk
