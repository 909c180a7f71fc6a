"""A damaged log is refused and said; an unfinished commit at its end is not damage."""

import asyncio
import logging
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hilum.errors import Fault, Unavailable
from hilum.eventlog import integrity
from hilum.eventlog.integrity import check_write_ahead_log
from hilum.eventlog.port import Event, TopicPartition
from hilum.eventlog.sqlite import SqliteEventLog

AT = datetime(2026, 1, 2, tzinfo=UTC)
COMMITS = 12
HEADER, FRAME = 32, 24 + 4096


def event(number: int) -> Event:
    return Event("orders", "feed", "type", b"value" * 50, f"event-{number:04d}", AT, {"a": "b"})


async def fill(path: Path, count: int, copy_to: Path | None = None) -> None:
    """Append so many events, each in a commit of its own; copy the files as a kill would leave them."""
    log = SqliteEventLog(path)
    log.open()
    for number in range(count):
        await log.append([event(number)])
    if copy_to is not None:
        for name in (path.name, f"{path.name}-wal"):
            shutil.copy(path.with_name(name), copy_to.with_name(name.replace(path.name, copy_to.name)))
    log.close()


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A log whose process was killed after so many acknowledged commits: all of it is in the write-ahead log."""
    path = tmp_path / "killed.db"
    asyncio.run(fill(tmp_path / "log.db", COMMITS, path))
    return path


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A log that was closed in order: all of it is in the database file."""
    path = tmp_path / "log.db"
    asyncio.run(fill(path, COMMITS))
    assert not path.with_name("log.db-wal").exists()
    return path


def wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def frames(path: Path) -> Iterator[tuple[int, bool]]:
    """Where each page of the write-ahead log begins, and whether it ends a commit."""
    data = wal(path).read_bytes()
    for at in range(HEADER, len(data) - FRAME + 1, FRAME):
        yield at, struct.unpack_from(">I", data, at + 4)[0] > 0


def commits(path: Path) -> list[int]:
    """Where each commit ends."""
    return [at + FRAME for at, ends in frames(path) if ends]


def garble(path: Path, at: int, count: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + count] = bytes(byte ^ 0x5A for byte in data[at : at + count])
    path.write_bytes(data)


def reopened(path: Path) -> list[str]:
    """The event IDs that a start finds."""

    async def read() -> list[str]:
        async def beginning(_place: TopicPartition) -> int:
            return 0

        log = SqliteEventLog(path)
        log.open()
        try:
            reader = await log.reader("group", ["orders"], beginning)
            found = [record.event.event_id for record in await reader.fetch(1000, 0.0)]
            await reader.close()
            return found
        finally:
            log.close()

    return asyncio.run(read())


def refused(path: Path) -> Fault:
    log = SqliteEventLog(path)
    with pytest.raises(Fault) as caught:
        log.open()
    assert caught.value.code == "log_corrupt"
    return caught.value


def everything() -> list[str]:
    return [event(number).event_id for number in range(COMMITS)]


def test_what_a_killed_process_left_is_whole(killed: Path) -> None:
    assert reopened(killed) == everything()


def test_a_page_damaged_in_any_commit_but_the_last_two_is_refused_and_its_place_said(killed: Path) -> None:
    ends = commits(killed)
    whole = wal(killed).read_bytes()
    for at, _ in frames(killed):
        if at >= ends[-3]:
            break
        for byte in (at + 24, at + 24 + 4095, at + 1, at + 17):  # of the page, of its number, of its checksum
            wal(killed).write_bytes(whole)
            garble(wal(killed), byte)
            assert f"byte {at} " in refused(killed).text


def test_several_damaged_pages_in_a_row_are_refused(killed: Path) -> None:
    places = [at for at, _ in frames(killed)]
    garble(wal(killed), places[4], 3 * FRAME)
    assert f"byte {places[4]} " in refused(killed).text


def test_a_damaged_header_of_the_write_ahead_log_is_refused(killed: Path) -> None:
    garble(wal(killed), 17)
    assert "header" in refused(killed).text


def test_a_refused_log_is_left_as_it_was(killed: Path) -> None:
    garble(wal(killed), HEADER + 100)
    before = killed.read_bytes(), wal(killed).read_bytes()
    refused(killed)
    assert (killed.read_bytes(), wal(killed).read_bytes()) == before


def test_a_last_commit_that_was_cut_anywhere_is_dropped_and_nothing_else(killed: Path) -> None:
    ends = commits(killed)
    whole = wal(killed).read_bytes()
    database = killed.read_bytes()
    for size in range(ends[-2], ends[-1], 397):
        killed.write_bytes(database)
        wal(killed).write_bytes(whole[:size])
        assert reopened(killed) == everything()[:-1], size
        killed.with_name(f"{killed.name}-wal").unlink(missing_ok=True)


def test_a_last_commit_of_which_any_sector_was_not_written_is_dropped_and_said(
    killed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ends = commits(killed)
    whole = wal(killed).read_bytes()
    database = killed.read_bytes()
    for at in range(ends[-2], ends[-1], 512):
        killed.write_bytes(database)
        torn = whole[:at] + b"\xaa" * 512 + whole[at + 512 :]
        wal(killed).write_bytes(torn[: len(whole)])
        caplog.clear()
        assert reopened(killed) == everything()[:-1], at
        assert "unfinished commit" in caplog.text
        wal(killed).unlink(missing_ok=True)


def test_every_step_of_a_run_is_a_log_that_opens(tmp_path: Path) -> None:
    async def run() -> list[Path]:
        log = SqliteEventLog(tmp_path / "log.db")
        log.open()
        copies = []
        for number in range(20):
            await log.append([event(number)])
            copy = tmp_path / f"copy-{number}.db"
            for name in ("", "-wal"):
                shutil.copy(f"{tmp_path / 'log.db'}{name}", f"{copy}{name}")
            copies.append(copy)
        log.close()
        return copies

    for number, copy in enumerate(asyncio.run(run())):
        assert reopened(copy) == [event(known).event_id for known in range(number + 1)]


def test_remains_of_older_generations_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    async def run() -> None:
        log = SqliteEventLog(path)
        log.open()
        for number in range(20):
            await log.append([event(number)])
        other = sqlite3.connect(path)
        assert other.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0
        other.close()
        await log.append([event(20)])  # over the beginning: what follows is of before
        check_write_ahead_log(path)
        for name in ("", "-wal"):
            shutil.copy(f"{path}{name}", f"{tmp_path / 'copy.db'}{name}")
        log.close()

    asyncio.run(run())
    assert len(list(frames(tmp_path / "copy.db"))) > 20
    assert len(reopened(tmp_path / "copy.db")) == 21


def test_a_record_whose_bytes_were_changed_is_refused_and_named(closed: Path) -> None:
    data = closed.read_bytes()
    at = data.index(b"event-0009")
    garble(closed, at + 3)
    fault = refused(closed)
    assert fault.text.startswith("orders/")
    assert "offset 9 " in fault.text


def test_an_old_record_whose_bytes_were_changed_is_refused_when_it_is_read(closed: Path) -> None:
    at = closed.read_bytes().index(b"event-0001")
    garble(closed, at + 3)
    with pytest.raises(Fault) as caught:
        reopened(closed)
    assert caught.value.code == "log_corrupt"
    assert "offset 1 " in caught.value.text


def test_a_log_whose_last_records_are_gone_is_refused(closed: Path) -> None:
    connection = sqlite3.connect(closed)
    connection.execute("DELETE FROM records WHERE offset = ?", (COMMITS - 1,))
    connection.commit()
    connection.close()
    assert "missing" in refused(closed).text


def test_a_log_whose_heads_are_behind_its_records_is_refused(closed: Path) -> None:
    connection = sqlite3.connect(closed)
    connection.execute("DELETE FROM heads")
    connection.commit()
    connection.close()
    assert "orders/" in refused(closed).text


def test_a_database_that_was_cut_is_refused(closed: Path) -> None:
    closed.write_bytes(closed.read_bytes()[:-4096])
    with pytest.raises((Fault, Unavailable)) as caught:
        reopened(closed)
    assert caught.value.code == "log_corrupt"


def test_a_log_of_before_there_were_checksums_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    asyncio.run(fill(path, 3))
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE old AS SELECT * FROM records; DROP TABLE records;"
        "CREATE TABLE records (topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,"
        " key TEXT NOT NULL, type TEXT NOT NULL, event_id TEXT NOT NULL, time_us INTEGER NOT NULL,"
        " headers TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;"
        "INSERT INTO records SELECT topic, partition, offset, key, type, event_id, time_us, headers, value FROM old;"
        "DROP TABLE old;"
    )
    connection.close()
    asyncio.run(fill(path, 2))
    assert len(reopened(path)) == 5


def test_a_log_that_another_process_writes_is_not_taken_for_damaged(tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    async def run() -> None:
        log = SqliteEventLog(path)
        log.open()
        writing = asyncio.create_task(write(log))
        while not writing.done():
            await asyncio.to_thread(check_write_ahead_log, path)
        log.close()

    async def write(log: SqliteEventLog) -> None:
        for number in range(150):
            await log.append([event(number)])
            if number % 40 == 39:  # begin anew over what is there
                other = sqlite3.connect(path)
                other.execute("PRAGMA wal_checkpoint(RESTART)")
                other.close()

    asyncio.run(run())


def test_a_page_that_was_being_written_is_looked_at_again(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, looks = integrity._damage, []

    def torn_at_first(frames: list[integrity._Frame]) -> int | None:
        looks.append(len(frames))
        return HEADER if len(looks) == 1 else real(frames)

    monkeypatch.setattr(integrity, "_damage", torn_at_first)
    check_write_ahead_log(killed)
    assert len(looks) == 2
