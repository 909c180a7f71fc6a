"""Starting and stopping a process of Hilum: what is wrong is said at once, in our terms."""

import asyncio
import os
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from hilum.embedded import SERVICES, Options, run, running
from hilum.errors import Rejected, Unavailable
from hilum.hosting import LOOP_LAG
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.messages import orm_o01
from hilum.simulator.orders import example_order


def options(state: Path, *services: str, http_port: int = 0) -> Options:
    return Options(
        state=state, mllp_port=0, dicom_port=0, grpc_port=0, http_port=http_port, services=services or ("ledger",)
    )


async def _started(told: Options) -> None:
    async with running(told):
        pass


def only(error: BaseExceptionGroup[BaseException]) -> BaseException:
    [inner] = error.exceptions
    return only(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def test_a_process_that_is_ready_says_so_and_shows_its_metrics(tmp_path: Path) -> None:
    opener = build_opener(ProxyHandler({}))

    def read(port: int, path: str) -> str:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    async with running(options(tmp_path, "ingest", "ledger")) as system:
        assert await asyncio.to_thread(read, system.http_port, "/livez") == "ok"
        assert '"ready":true' in await asyncio.to_thread(read, system.http_port, "/readyz")
        feed = Hl7Feed("127.0.0.1", system.mllp_port)
        await feed.send("E1", orm_o01(example_order(1, datetime.now(UTC)), "E1", datetime.now(UTC)))
        await feed.close()
        assert 'hilum_ingest_messages_total{code="AA"' in await asyncio.to_thread(read, system.http_port, "/metrics")


async def test_the_event_loop_s_lag_is_among_the_metrics(tmp_path: Path) -> None:
    async with running(options(tmp_path, "ledger")) as system:
        await asyncio.sleep(2 * LOOP_LAG.LOOK_SECONDS)
        opener = build_opener(ProxyHandler({}))
        with await asyncio.to_thread(opener.open, f"http://127.0.0.1:{system.http_port}/metrics", timeout=5) as answer:
            told = {line.partition(" ")[0].partition("{")[0] for line in answer.read().decode().splitlines()}
    assert told >= {"hilum_event_loop_lag_seconds_count", "hilum_event_loop_lag_max_seconds"}


async def test_all_services_become_ready_together(tmp_path: Path) -> None:
    async with running(options(tmp_path, *SERVICES)) as system:
        assert set(system.services) == set(SERVICES)


async def test_a_taken_http_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(BaseExceptionGroup) as caught:
            await _started(options(tmp_path, http_port=taken.getsockname()[1]))
        error = only(caught.value)
    assert isinstance(error, Unavailable)
    assert error.code == "port_taken"


async def test_the_state_of_a_service_belongs_to_one_process(tmp_path: Path) -> None:
    async with running(options(tmp_path, "ledger", "workflow")):
        with pytest.raises(Rejected, match=r"state_in_use: another process runs ledger on"):
            await _started(options(tmp_path, "ledger", "ingest"))
        await _started(options(tmp_path, "ingest"))
    await _started(options(tmp_path, "ledger"))


async def test_every_bad_setting_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_INGEST__NOSUCH", "1")
    monkeypatch.setenv("HILUM_INGEST__CONNECTIONS", "many")
    monkeypatch.setenv("HILUM_IMAGING__AE_TITLE", "LONGER_THAN_SIXTEEN")
    with pytest.raises(Rejected) as caught:
        await _started(options(tmp_path, "ingest", "imaging"))
    for name in ("HILUM_INGEST__NOSUCH", "ingest.connections", "imaging.ae_title"):
        assert name in caught.value.text


@pytest.mark.parametrize("before", [b"", b"running\n"])
async def test_a_start_that_was_refused_leaves_the_marks_of_the_last_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    """It worked on nothing: one bad setting made the next start check all databases and look for leftovers."""
    mark = tmp_path / "state" / "ledger.running"
    mark.parent.mkdir()
    mark.write_bytes(before)
    with monkeypatch.context() as patched:
        patched.setenv("HILUM_LEDGER__NOSUCH", "1")
        with pytest.raises(Rejected, match="NOSUCH"):
            await _started(options(tmp_path))
    assert mark.read_bytes() == before
    await _started(options(tmp_path))
    assert mark.read_bytes() == b""


async def test_a_run_that_fails_leaves_its_marks(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with running(options(tmp_path)):
            raise ZeroDivisionError
    assert (tmp_path / "state" / "ledger.running").read_bytes() == b"running\n"


async def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Rejected, match=r"state_folder: .*file.* cannot be written"):
        await _started(options(tmp_path / "file"))


async def test_what_a_serving_process_writes_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        serving = asyncio.ensure_future(run(options(tmp_path / "state", "ledger"), lambda _: serving.cancel()))
        await serving
    finally:
        os.umask(before)
    written = list((tmp_path / "state").rglob("*"))
    assert written
    assert [path.name for path in written if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
