"""Reading the books of a state directory: damage is named, and is no reason for a trace."""

from pathlib import Path

import pytest

from hilum.errors import Fault, Rejected
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.ledger.adapters.read_only import heads, read_only
from hilum.ledger.adapters.tables import METADATA
from hilum.store.sql import open_sqlite


@pytest.fixture
def state(tmp_path: Path) -> Path:
    log = SqliteEventLog(tmp_path / "log.db")
    log.open()
    log.close()
    open_sqlite(tmp_path / "state" / "ledger.db", METADATA).close()
    return tmp_path


def garble(path: Path) -> None:
    """Everything after the database's own header."""
    path.write_bytes(path.read_bytes()[:100] + b"\xa5" * (path.stat().st_size - 100))


def test_whole_books_are_read(state: Path) -> None:
    assert heads(state) == {}
    with read_only(state) as view:
        assert view.dead_letters() == []


def test_a_directory_without_books_is_named(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="state_unknown"), read_only(tmp_path):
        pass


@pytest.mark.parametrize("spoil", [garble, lambda path: path.write_bytes(b"no database " * 500)], ids=["pages", "all"])
def test_a_damaged_ledger_is_named_with_the_remedy(state: Path, spoil) -> None:
    spoil(state / "state" / "ledger.db")
    with (
        pytest.raises(Fault, match=r"state_corrupt: .*ledger\.db is damaged.*makes it again"),
        read_only(state) as view,
    ):
        view.dead_letters()


@pytest.mark.parametrize("spoil", [garble, lambda path: path.write_bytes(b"no database " * 500)], ids=["pages", "all"])
def test_a_damaged_log_is_named_with_the_remedy(state: Path, spoil) -> None:
    spoil(state / "log.db")
    with pytest.raises(Fault, match=r"state_corrupt: .*log\.db is damaged.*restore it"):
        heads(state)
