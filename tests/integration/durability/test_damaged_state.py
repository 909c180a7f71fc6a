"""Damaged state: a start says in one line which file and what to do, ends, and has changed nothing."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.peers

SERVICES = ("ingest", "imaging", "workflow", "ledger", "oversight")
FREE_PORTS = ("--mllp-port", "0", "--dicom-port", "0", "--http-port", "0", "--grpc-port", "0")
PAGE = 4096
MESSAGES = 30
ENTRIES = 2 * (MESSAGES + 1)  # two algorithms; each order, and an image without one


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the state that the tests damage is kept between them."""
    return tmp_path_factory.mktemp("state") / "written"


@pytest.fixture
async def written(tmp_path: Path, once: Path, start) -> Path:
    """The state of a system that was killed: its newest commits are in the write-ahead logs alone."""
    if not there(once):
        state = tmp_path / "running"
        async with start(state, *SERVICES) as system:
            for number in range(MESSAGES):
                assert await system.over_mllp(number) == "AA"
            assert await system.over_dicom(1) == 0
            await system.handled(ENTRIES)
            await system.hilum.kill()
        copy(state, once)
    return copy(once, tmp_path / "written")


def there(path: Path) -> bool:
    return path.exists()


def copy(state: Path, to: Path) -> Path:
    return Path(shutil.copytree(state, to))


def garble(path: Path, at: int, size: int = PAGE) -> None:
    assert path.stat().st_size >= at + size
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * size)


def cut(path: Path, size: int) -> None:
    assert path.stat().st_size > size
    with path.open("r+b") as file:
        file.truncate(size)


def middle(path: Path) -> int:
    return path.stat().st_size // 2 // PAGE * PAGE


def checkpointed(state: Path) -> None:
    """What is in the write-ahead logs goes to the databases, as at an end that is in order."""
    for path in (state / "log.db", *(state / "state").glob("*.db")):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def log_ahead(state: Path) -> str:
    garble(state / "log.db-wal", middle(state / "log.db-wal"), 64)
    return "log_corrupt"


def log_cut(state: Path) -> str:
    cut(state / "log.db-wal", middle(state / "log.db-wal"))
    return "log_lost"


def log_page_within(state: Path) -> str:
    checkpointed(state)
    for page in range(middle(state / "log.db"), (state / "log.db").stat().st_size, PAGE):
        garble(state / "log.db", page)
    return "log_corrupt"


def log_gone(state: Path) -> str:
    for path in state.glob("log.db*"):
        path.unlink()
    return "log_lost"


def state_page(state: Path) -> str:
    checkpointed(state)
    garble(state / "state" / "workflow.db", 3 * PAGE)
    return "state_corrupt"


def state_ahead(state: Path) -> str:
    path = state / "state" / "workflow.db-wal"
    garble(path, middle(path), 64)
    return "state_corrupt"


def ledger_page(state: Path) -> str:
    checkpointed(state)
    garble(state / "state" / "ledger.db", 0)
    return "state_corrupt"


DAMAGES: list[Callable[[Path], str]] = [
    log_ahead,
    log_cut,
    log_page_within,
    log_gone,
    state_page,
    state_ahead,
    ledger_page,
]


def digests(state: Path) -> dict[str, str]:
    """What a start must leave as it is: the log and the state of the services."""
    found = {path.name: path.read_bytes() for path in (*state.glob("*.db*"), *(state / "state").glob("*.db*"))}
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in found.items()
        if content and not name.endswith("-shm")
    }


@pytest.mark.timeout(300)
async def test_damage_is_said_in_one_line_at_the_start_and_nothing_is_dropped(
    tmp_path: Path, written: Path, command
) -> None:
    for damage in DAMAGES:
        state = copy(written, tmp_path / damage.__name__)
        code = damage(state)
        before = digests(state)
        ended = await command("serve", *SERVICES, "--state", state, *FREE_PORTS)
        assert ended.status == 1, damage.__name__
        assert ended.lines, damage.__name__
        # A log that is not the one that was read is found by each service that read it: a line each at most.
        assert len(ended.lines) <= (len(SERVICES) if code == "log_lost" else 1), ended.lines
        for line in ended.lines:
            assert line.startswith(f"{code}: "), damage.__name__
            assert "restore" in line or "makes it again from the log" in line, damage.__name__
        if code != "log_lost":
            assert digests(state) == before, damage.__name__


async def test_a_damaged_ledger_is_made_again_from_the_log(tmp_path: Path, written: Path, start, command) -> None:
    def entries() -> list[tuple[str, ...]]:
        found = json.loads((tmp_path / "told").read_text())
        return sorted((one["accession_number"], one["algorithm"], one["disposition"]) for one in found)

    before = await command("ledger", "--state", written, "--json", printed=tmp_path / "told")
    assert before.status == 0
    known = entries()
    assert len(known) == ENTRIES
    checkpointed(written)
    garble(written / "state" / "ledger.db", 0)
    for way in (("ledger", "--state", written), ("worklist", "--state", written)):
        ended = await command(*way)
        assert (ended.status, len(ended.lines)) == (1, 1)
        assert ended.lines[0].startswith("state_corrupt: ")
        assert "the next start makes it again from the log" in ended.lines[0]
    for path in (written / "state").glob("ledger.db*"):
        path.rename(path.with_name(f"damaged-{path.name}"))
    async with start(written, *SERVICES) as system:
        assert await system.hilum.stop() == 0
    after = await command("ledger", "--state", written, "--json", printed=tmp_path / "told")
    assert after.status == 0
    assert entries() == known
