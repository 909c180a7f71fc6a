"""Load on a running Hilum: orders over MLLP and gRPC, images by C-STORE, from senders that insist on an answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
from pydicom.dataset import Dataset

from hilum.api.intake.v1.intake_pb2 import SubmitRequest
from hilum.api.intake.v1.intake_pb2_grpc import IntakeServiceStub
from hilum.errors import Unavailable
from hilum.simulator.examinations import Examination
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.hospital import Hospital
from hilum.simulator.messages import orm_o01
from hilum.simulator.modality import Modality
from peers.hilum_process import HilumProcess

if TYPE_CHECKING:  # the asynchronous stub exists for type checkers only
    from hilum.api.intake.v1.intake_pb2_grpc import IntakeServiceAsyncStub

_PATIENT = 1_000_000  # attempts of a sender that does not give up
_ANSWER_SECONDS = 5.0
_RETRY_SECONDS = 0.2


@dataclass
class GrpcFeed:
    """HL7 over hilum.api.intake: one message at a time, sent again until the call succeeds."""

    port: int
    acknowledged: list[tuple[str, bytes]] = field(default_factory=list)  # control ID, the message
    retransmissions: int = 0

    async def send(self, message_control_id: str, message: bytes) -> None:
        while True:
            try:
                # A channel waits longer and longer before it connects again; a new one does not.
                async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
                    stub: IntakeServiceAsyncStub = IntakeServiceStub(channel)
                    answer = await stub.Submit(SubmitRequest(message=message), timeout=_ANSWER_SECONDS)
            except grpc.aio.AioRpcError:
                self.retransmissions += 1
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            assert answer.acknowledgement_code == "AA"
            assert answer.message_control_id == message_control_id
            self.acknowledged.append((message_control_id, message))
            return


class Lane:
    """Examinations one after another: an order, its images, and that it was completed."""

    def __init__(self, hilum: HilumProcess, examinations: Sequence[Examination], number: int) -> None:
        self._examinations = examinations
        self._number = number
        self.feed = Hl7Feed("127.0.0.1", hilum.mllp_port, answer_seconds=_ANSWER_SECONDS, attempts=_PATIENT)
        self.calls = GrpcFeed(hilum.grpc_port)
        self.modality = Modality("127.0.0.1", hilum.dicom_port, answer_seconds=_ANSWER_SECONDS, attempts=1)
        self.sent: list[Examination] = []
        self.images: dict[str, Dataset] = {}

    async def run(self, hospital: Hospital, stopping: asyncio.Event, every_seconds: float) -> None:
        """Raises AssertionError where the examinations do not last until ``stopping``."""
        for place, examination in enumerate(self._examinations):
            order = examination.order
            hospital.ehr.add_patient(order)
            hospital.ris.reading_list.add(order)
            new, done = (f"{kind}{self._number}-{place:05d}" for kind in "NC")
            first, second = (self.feed, self.calls) if place % 2 else (self.calls, self.feed)
            await first.send(new, orm_o01(order, new, datetime.now(UTC)))
            images = await asyncio.to_thread(examination.images)
            self.images |= {str(image.SOPInstanceUID): image for image in images}
            await self._store(images)
            await second.send(done, orm_o01(order, done, datetime.now(UTC), control="XO", status="CM"))
            self.sent.append(examination)
            if stopping.is_set():
                await self.feed.close()
                return
            await asyncio.sleep(every_seconds)
        raise AssertionError("the examinations ran out before the end")

    async def _store(self, images: Sequence[Dataset]) -> None:
        """One attempt a call: a thread that tries for ever could not be cancelled."""
        while True:
            waiting = [image for image in images if str(image.SOPInstanceUID) not in self.modality.accepted]
            try:
                await asyncio.to_thread(self.modality.send, waiting)
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return


class Load:
    """Several lanes side by side."""

    def __init__(self, hilum: HilumProcess, examinations: Sequence[Examination], lanes: int) -> None:
        self.lanes = [Lane(hilum, examinations[number::lanes], number) for number in range(lanes)]
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self, hospital: Hospital, every_seconds: float) -> None:
        self._running = asyncio.create_task(self._run(hospital, every_seconds))

    async def _run(self, hospital: Hospital, every_seconds: float) -> None:
        async with asyncio.TaskGroup() as group:
            for lane in self.lanes:
                group.create_task(lane.run(hospital, self._stopping, every_seconds))

    def check(self) -> None:
        """Raise what a sender met that it could not bear."""
        assert self._running is not None
        if self._running.done():
            self._running.result()

    async def stop(self) -> None:
        """Every examination that was begun is sent to its end."""
        assert self._running is not None
        self._stopping.set()
        await self._running

    async def give_up(self) -> None:
        """End at once, whatever is in hand."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    @property
    def examinations(self) -> int:
        return sum(len(lane.sent) for lane in self.lanes)

    @property
    def images(self) -> dict[str, Dataset]:
        return {uid: image for lane in self.lanes for uid, image in lane.images.items()}

    @property
    def images_accepted(self) -> list[str]:
        return [uid for lane in self.lanes for uid in lane.modality.accepted]

    @property
    def acknowledged(self) -> list[tuple[str, bytes]]:
        """Control ID and bytes of each message that was acknowledged."""
        over_mllp = [(s.message_control_id, s.payload) for lane in self.lanes for s in lane.feed.sent if s.accepted]
        return over_mllp + [one for lane in self.lanes for one in lane.calls.acknowledged]
