"""Seen from the kernel: what comes before the answer to C-STORE, and in which order.

The object is synced under a name of its own, renamed, and its folder synced; then its event is written to the log and
the log synced; then the answer goes out.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from datasets.images import image
from datasets.requests import Request, send
from peers.strace import Call, read_trace, traced

INSTANCES = 4
STUDY = "1.2.840.99.1"
LOG = re.compile(r"/log[^/]*$|/log/")

SERVER = """
import asyncio, sys
from pathlib import Path
from hilum.embedded import Options, run

options = Options(state=Path(sys.argv[1]), dicom_port=0, http_port=0, services=("imaging",))
asyncio.run(run(options, lambda system: print(system.dicom_port, flush=True)))
"""
# What must never be. Each is a change of a few lines to the code that is tested.
HASTY = {
    "the answer before the event": """
import threading, time
from hilum.imaging.adapters.journal import EventJournal
from hilum.imaging.adapters.threads import completed
careful = EventJournal._append
def later(self, event):
    time.sleep(0.2)
    completed(careful(self, event))
async def append(self, event):
    threading.Thread(target=later, args=(self, event)).start()
EventJournal._append = append
""",
    "the event before the object": """
from hilum.imaging.app import Storage
from hilum.imaging.domain import Held
async def keep(self, arrival, key, reason, *, quarantined):
    await self._journal.stored(arrival, key, reason)
    await self._waiting.blocking(self._objects.put, key, arrival.file)
Storage._keep = keep
""",
    "the folder not synced": """
from hilum.objects import files
files.os.fsync = lambda descriptor: None
""",
    "the object not synced": """
from hilum.objects import files
files.os.fdatasync = lambda descriptor: None
""",
    "the object synced after its renaming": """
import os
sync, rename, renamed = os.fdatasync, os.rename, set()
def sync_later(descriptor):
    if not any(part in os.readlink(f"/proc/self/fd/{descriptor}") for part in ("/instances/",)):
        sync(descriptor)
def rename_first(*names, **folders):
    rename(*names, **folders)
    descriptor = os.open(names[1], os.O_RDONLY, dir_fd=folders["dst_dir_fd"])
    sync(descriptor)
    os.close(descriptor)
os.fdatasync, os.rename = sync_later, rename_first
""",
}


def uid(number: int) -> str:
    return f"{STUDY}.7.{1000 + number}"


def instance(number: int) -> Request:
    values = np.full((16, 16), number, dtype=np.uint8)
    dataset = image(values, bits_stored=8, SOPInstanceUID=uid(number), StudyInstanceUID=STUDY, Modality="DX")
    return Request.of(dataset)


def answered(program: str, folder: Path) -> list[Call]:
    """The calls of a server that has answered each instance with 0000H."""
    with traced(program, folder / "state", trace=folder / "trace") as server:
        for number in range(INSTANCES):
            assert send(server.port, instance(number)).status == 0
        return server.calls(uid(INSTANCES - 1))


def in_order(calls: Sequence[Call], uid: str) -> bool:
    """Whether each step for the instance ``uid`` began after the one before had ended, without an error."""
    name = re.escape(uid)
    partial = re.compile(rf"/{name}\.dcm\.[^/]*partial$")
    steps: list[Callable[[Call], object]] = [
        lambda call: call.name == "write" and partial.search(call.path),
        lambda call: call.name == "fdatasync" and partial.search(call.path),
        lambda call: call.name == "renameat" and re.search(rf'partial", \d+<[^>]*/{STUDY}>, "{name}\.dcm"', call.text),
        lambda call: call.name == "fsync" and call.path.endswith(f"/instances/{STUDY}"),
        lambda call: call.name.startswith(("write", "pwrite")) and LOG.search(call.path) and uid in call.text,
        lambda call: call.name in ("fdatasync", "fsync") and LOG.search(call.path),
        lambda call: call.name in ("sendto", "sendmsg") and uid in call.text,
    ]
    # Nothing of a step may come before what must precede it: the first of each kind counts, but for the log's sync,
    # which other events also cause.
    ended = -1
    for number, step in enumerate(steps):
        found = [call for call in calls if call.done and step(call)]
        if number in (3, 5):
            found = [call for call in found if call.began > ended]
        if not found or found[0].began <= ended:
            return False
        ended = found[0].ended
    return True


@pytest.mark.peers
def test_object_and_event_are_durable_in_this_order_before_each_answer_goes_out(tmp_path: Path) -> None:
    calls = answered(SERVER, tmp_path)
    for number in range(INSTANCES):
        assert in_order(calls, uid(number))


@pytest.mark.peers
@pytest.mark.parametrize("change", HASTY.values(), ids=HASTY.keys())
def test_a_server_that_changes_the_order_is_found_out(tmp_path: Path, change: str) -> None:
    calls = answered(change + SERVER, tmp_path)
    assert not any(in_order(calls, uid(number)) for number in range(INSTANCES))


STEPS = [
    f'7 1.0 write(5</o/instances/{STUDY}/1.2.dcm.7-0.partial>, "x", 1) = 1',
    f"7 1.1 fdatasync(5</o/instances/{STUDY}/1.2.dcm.7-0.partial>) = 0",
    f'7 1.2 renameat(4</o/{STUDY}>, "1.2.dcm.7-0.partial", 4</o/{STUDY}>, "1.2.dcm") = 0',
    f"7 1.3 fsync(5</o/instances/{STUDY}>) = 0",
    '8 1.4 pwrite64(3</x/log.db-wal>, "1.2", 3, 0) = 3',
    "8 1.5 fdatasync(3</x/log.db-wal>) = 0",
    '7 1.6 sendto(9<socket:[3]>, "1.2", 3) = 3',
]


def test_the_steps_in_their_order_are_in_order() -> None:
    assert in_order(read_trace(STEPS), "1.2")


@pytest.mark.parametrize("earlier", range(len(STEPS) - 1))
def test_two_steps_that_change_places_are_not_in_order(earlier: int) -> None:
    lines = [*STEPS]
    lines[earlier], lines[earlier + 1] = lines[earlier + 1], lines[earlier]
    assert not in_order(read_trace(lines), "1.2")


@pytest.mark.parametrize("missing", range(len(STEPS)))
def test_a_step_that_is_missing_or_failed_is_found_out(missing: int) -> None:
    assert not in_order(read_trace(STEPS[:missing] + STEPS[missing + 1 :]), "1.2")
    failed = re.sub(r"= \d$", "= -1 EIO (Input/output error)", STEPS[missing])
    assert not in_order(read_trace([*STEPS[:missing], failed, *STEPS[missing + 1 :]]), "1.2")


def test_a_sync_that_ends_after_the_next_step_began_does_not_count() -> None:
    late = [
        *STEPS[:5],
        "8 1.5 fdatasync(3</x/log.db-wal> <unfinished ...>",
        STEPS[6],
        "8 1.7 <... fdatasync resumed>) = 0",
    ]
    assert not in_order(read_trace(late), "1.2")
