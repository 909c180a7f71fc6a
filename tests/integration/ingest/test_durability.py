"""Seen from the kernel: the log's sync comes between a message and its acknowledgement."""

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from hilum.hl7.mllp import encode

SERVER = """
import asyncio, sys
from pathlib import Path
from hilum.embedded import Options, run
options = Options(state=Path(sys.argv[1]), mllp_port=0, grpc_port=0, http_port=0, services=("ingest",))
asyncio.run(run(options, lambda system: print(system.mllp_port, flush=True)))
"""


def synced(calls: list[str]) -> bool:
    """Whether a sync of the log began and ended, well, within these calls."""
    begun: set[str] = set()
    for call in calls:
        thread = call.split(" ", 1)[0]
        if re.search(r"fdatasync\(\d+<[^>]*/log\.db-wal>", call):
            if call.endswith("= 0"):
                return True
            begun.add(thread)
        elif thread in begun and "fdatasync resumed" in call and call.endswith("= 0"):
            return True
    return False


def test_a_sync_that_did_not_end_in_time_does_not_count() -> None:
    assert synced(["7 fdatasync(5</x/log.db-wal> <unfinished ...>", "7 <... fdatasync resumed>) = 0"])
    assert not synced(["7 fdatasync(5</x/log.db-wal> <unfinished ...>", "8 <... fdatasync resumed>) = 0"])
    assert not synced(["7 fdatasync(5</x/state/ingest.db-wal>) = 0"])


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_the_log_is_synced_before_each_acknowledgement(tmp_path: Path, corpus: dict[str, bytes]) -> None:
    trace = tmp_path / "trace"
    watched = "trace=fdatasync,fsync,recvfrom,sendto,read,write"
    command = ["strace", "-f", "-y", "-s", "400", "-e", watched, "-o", str(trace), sys.executable, "-c", SERVER]
    process = await asyncio.create_subprocess_exec(
        *command,
        str(tmp_path / "state"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            port = int(await process.stdout.readline())
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for number in range(5):
                writer.write(encode(corpus["orm-o01-2.3.1.hl7"].replace(b"|A001|", f"|N{number:04d}|".encode())))
                assert b"MSA|AA" in await reader.readuntil(b"\x1c\x0d")
            writer.close()
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its own group: strace itself lets SIGTERM pass by
        await process.communicate()
    calls = trace.read_text(errors="replace").splitlines()
    for number in range(5):
        asked = next(at for at, call in enumerate(calls) if "recvfrom" in call and f"|N{number:04d}|" in call)
        told = next(at for at, call in enumerate(calls) if "sendto" in call and f"MSA|AA|N{number:04d}" in call)
        assert synced(calls[asked:told])
