"""Hilum as a process of its own, and senders that make one attempt and tell the answer."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pytest

from datasets.images import image
from datasets.requests import Request, send
from hilum.api.intake.v1.intake_pb2 import SubmitRequest
from hilum.api.intake.v1.intake_pb2_grpc import IntakeServiceStub
from hilum.cli import books
from hilum.ledger.ports import Selection
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.messages import orm_o01
from hilum.simulator.orders import example_order
from peers.hilum_process import HilumProcess

BEGAN = datetime(2026, 1, 1, 8, tzinfo=UTC)


@dataclass(frozen=True)
class System:
    """A process that is ready, and one attempt at each of its doors."""

    hilum: HilumProcess

    async def over_mllp(self, number: int) -> str:
        """The acknowledgement code."""
        feed = Hl7Feed("127.0.0.1", self.hilum.mllp_port, attempts=1)
        try:
            sent = await feed.send(f"M{number:04d}", order(number, f"M{number:04d}"))
        finally:
            await feed.close()
        assert sent.answer is not None
        return sent.answer.code

    async def over_grpc(self, number: int) -> str:
        """The acknowledgement code, or the status of a call that failed."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.hilum.grpc_port}") as channel:
            request = SubmitRequest(message=order(number, f"G{number:04d}"))
            try:
                answer = await IntakeServiceStub(channel).Submit(request, timeout=10)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return str(answer.acknowledgement_code)

    async def over_dicom(self, number: int) -> int | None:
        """The status of a C-STORE of some 1 MiB."""
        pixels = np.full((1024, 1024), number % 256)
        dataset = image(pixels, bits_stored=8, SOPInstanceUID=f"1.2.3.{number}", StudyInstanceUID=f"1.2.4.{number}")
        answer = await asyncio.to_thread(send, self.hilum.dicom_port, Request.of(dataset))
        return answer.status

    async def handled(self, count: int, seconds: float = 60.0) -> None:
        """Wait until the ledger has so many entries."""
        until = time.monotonic() + seconds
        while len(entries := books.entries(self.hilum.state, Selection(limit=500))) < count:
            assert time.monotonic() < until, len(entries)
            await asyncio.sleep(0.2)


def order(number: int, message_control_id: str) -> bytes:
    return orm_o01(example_order(number, BEGAN), message_control_id, BEGAN)


Start = Callable[..., AbstractAsyncContextManager[System]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """``start(state, *services)``: the process, ended by force on leaving."""

    @asynccontextmanager
    async def running(state: Path, *services: str) -> AsyncIterator[System]:
        site = tmp_path / "site.yaml"
        site.write_text("site: test\nidentifier_authority: HOSPITAL\n")
        hilum = HilumProcess(state, site, tmp_path / "hilum.log", services=services)
        try:
            await hilum.start()
            yield System(hilum)
        finally:
            hilum.end()
            await hilum.exited()

    return running


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int
    errors: str

    @property
    def lines(self) -> list[str]:
        """What it said to be wrong; the log's own lines aside."""
        return [line for line in self.errors.splitlines() if line and not line[:4].isdigit()]


@pytest.fixture
def command() -> Callable[..., object]:
    """``await command("serve", "ingest", "--state", …)``: runs ``hilum`` until it ends."""

    async def run(*arguments: object, seconds: float = 60.0, printed: Path = Path(os.devnull)) -> Ended:
        with printed.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).parent / "hilum"),
                *map(str, arguments),
                stdout=output,
                stderr=asyncio.subprocess.PIPE,
            )
        assert process.stderr is not None
        reading = asyncio.create_task(process.stderr.read())
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            process.kill()
            raise AssertionError(f"hilum did not end: {(await reading).decode()[-2000:]}") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        errors = await reading
        assert process.returncode is not None
        return Ended(process.returncode, errors.decode())

    return run
