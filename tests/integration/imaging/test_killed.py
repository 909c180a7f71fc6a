"""What was answered with success is there after `kill -9`, and known."""

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from datasets.images import image
from datasets.requests import Request, send
from hilum.contracts import topics
from hilum.contracts.instances.v1.instances_pb2 import Instance

pytestmark = pytest.mark.peers

SERVE = """
import asyncio, sys
from pathlib import Path
from hilum.embedded import Options, running

async def main():
    async with running(Options(state=Path(sys.argv[1]), services=("imaging",), dicom_port=0, http_port=0)) as system:
        print(system.dicom_port, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def chest(number: int, name: str = "Doe") -> Request:
    dataset = image(np.full((32, 32), number % 256), bits_stored=8, SOPInstanceUID=f"1.2.3.{number}", PatientName=name)
    return Request.of(dataset)


async def start(state: Path) -> tuple[asyncio.subprocess.Process, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(state), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    return process, int(await asyncio.wait_for(process.stdout.readline(), 60))


async def kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    await process.wait()


async def test_nothing_answered_with_success_is_lost_when_the_process_is_killed(tmp_path: Path, imaging) -> None:
    process, port = await start(tmp_path)
    answered: list[int] = []

    async def send_all(first: int) -> None:
        for number in range(first, first + 200):
            try:
                answer = await asyncio.to_thread(send, port, chest(number), 2.0)
            except (OSError, RuntimeError):
                return
            if answer.status is None:
                return
            assert answer.status == 0
            answered.append(number)

    senders = [asyncio.create_task(send_all(first)) for first in (1000, 2000, 3000)]
    while len(answered) < 12 and not all(sender.done() for sender in senders):
        await asyncio.sleep(0.02)
    await kill(process)
    await asyncio.gather(*senders)
    assert len(answered) >= 12

    async with imaging() as again:
        stated = {instance.sop_instance_uid: instance for instance in await again.instances()}
        for number in answered:
            request = chest(number)
            assert again.objects.get(stated[request.sop_instance].object_key).endswith(request.data_set)
        before = len(await again.events(topics.INSTANCES))
        assert (await again.send(chest(answered[0]))).status == 0
        assert (await again.send(chest(answered[0], name="Roe"))).status == 0xC010
        after = [Instance.FromString(event.value) for event in await again.events(topics.INSTANCES)]
        assert [instance.reason for instance in after[before:]] == ["sop_instance_conflict"]
