"""A hospital's workflow on the real store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum.store.sql import SqlStore, open_sqlite
from hilum.workflow.adapters.tables import METADATA
from scenes.workflow import Hospital, hospital


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_sqlite(tmp_path / "workflow.db", METADATA)
    yield store
    store.close()


@pytest.fixture
def here(store: SqlStore) -> Iterator[Hospital]:
    with hospital(store) as opened:
        yield opened
