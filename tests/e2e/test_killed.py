"""Hilum is killed ten times at random under load: nothing acknowledged is lost, nothing happens twice."""

import asyncio
import hashlib
import logging
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
import yaml
from pydicom import dcmread
from pydicom.dataset import Dataset

from hilum.api.worklist.v1.worklist_pb2 import ReconcileRequest, ReconcileResponse
from hilum.api.worklist.v1.worklist_pb2_grpc import LedgerServiceStub
from hilum.contracts import topics
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.eventlog.port import TopicPartition
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.simulator.examinations import Examination, phantom_examinations
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.hospital import Hospital, simulated_hospital
from hilum.simulator.messages import orm_o01
from hilum.simulator.modality import Modality
from hilum.simulator.settled import Ledger, list_cases, underway
from peers.hilum_process import HilumProcess

_LOG = logging.getLogger(__name__)
KILLS = 10
PATIENT = 100_000  # attempts of a sender that does not give up
SETTLING_SECONDS = 120.0


@pytest.fixture
async def hospital(tmp_path: Path) -> AsyncIterator[Hospital]:
    async with simulated_hospital(tmp_path / "hospital") as hospital:
        yield hospital


@pytest.fixture
async def hilum(tmp_path: Path, hospital: Hospital) -> AsyncIterator[HilumProcess]:
    site = tmp_path / "site.yaml"
    site.write_text(yaml.safe_dump(hospital.site()))
    process = HilumProcess(tmp_path / "state", site, tmp_path / "hilum.log")
    try:
        yield process
    finally:
        process.end()


@dataclass
class Load:
    """Examinations sent one after another until told to stop, by senders that insist on an answer."""

    feed: Hl7Feed
    modality: Modality
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[Examination] = field(default_factory=list)
    images: dict[str, Dataset] = field(default_factory=dict)

    async def run(self, hospital: Hospital, examinations: list[Examination], every_seconds: float) -> None:
        for number, examination in enumerate(examinations):
            if self.stopping.is_set():
                break
            order = examination.order
            hospital.ehr.add_patient(order)
            hospital.ris.reading_list.add(order)
            await self.feed.send(f"N{number:06d}", orm_o01(order, f"N{number:06d}", datetime.now(UTC)))
            images = await asyncio.to_thread(examination.images)
            self.images |= {str(image.SOPInstanceUID): image for image in images}
            await asyncio.to_thread(self.modality.send, images)
            done = orm_o01(order, f"C{number:06d}", datetime.now(UTC), control="XO", status="CM")
            await self.feed.send(f"C{number:06d}", done)
            self.sent.append(examination)
            await asyncio.sleep(every_seconds)
        await self.feed.close()


@pytest.mark.timeout(540)
# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_nothing_acknowledged_is_lost_and_nothing_happens_twice(
    hospital: Hospital, hilum: HilumProcess, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("HILUM_KILL_SEED", time.time_ns() % 1_000_000))
    _LOG.info("HILUM_KILL_SEED=%d", seed)
    chance = random.Random(seed)
    examinations = [e for e in phantom_examinations(200, datetime.now(UTC), seed) if e.ordered and e.truth is not None]
    await hilum.start()
    load = Load(
        Hl7Feed("127.0.0.1", hilum.mllp_port, answer_seconds=5.0, attempts=PATIENT),
        Modality("127.0.0.1", hilum.dicom_port, answer_seconds=5.0, attempts=PATIENT),
    )
    sending = asyncio.create_task(load.run(hospital, examinations[:200], every_seconds=0.3))
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.2, 6.0))
        await hilum.kill()
        await hilum.start()
    load.stopping.set()
    await sending
    ledger, verdict = await _settle(hilum, hospital, len(load.sent))
    status = await hilum.stop()

    assert ledger.settled, [(entry.accession_number, entry.disposition) for entry in ledger.entries if underway(entry)]
    assert status == 0
    await _assert_kept(hilum.state, load)
    _assert_effects(hospital, ledger)
    failed = [f"{check.name}: {check.detail}" for check in verdict.checks if not check.holds]
    assert failed == []
    await asyncio.sleep(1.0)
    assert hilum.survivors() == []
    for name, value in _counts(hospital, load).items():
        record_property(name, value)
        _LOG.info("%s: %d", name, value)


async def _settle(hilum: HilumProcess, hospital: Hospital, cases: int) -> tuple[Ledger, ReconcileResponse]:
    until = time.monotonic() + SETTLING_SECONDS
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hilum.ledger_grpc_port}") as channel:
        stub = LedgerServiceStub(channel)
        while True:
            ledger = await list_cases(stub)
            ledger.settled = len(ledger.cases()) >= cases and not any(underway(entry) for entry in ledger.entries)
            verdict = await stub.Reconcile(ReconcileRequest(receipts=hospital.receipt_lines()), timeout=30.0)
            if (ledger.settled and verdict.adds_up) or time.monotonic() > until:
                return ledger, verdict
            await asyncio.sleep(0.5)


async def _assert_kept(state: Path, load: Load) -> None:
    """Every acknowledged message is in the raw log with its bytes, every such image in the store with its data set."""
    acknowledged = {(s.message_control_id, hashlib.sha256(s.payload).digest()) for s in load.feed.sent if s.accepted}
    assert len(acknowledged) == len(load.feed.sent) == 2 * len(load.sent)
    assert acknowledged - await _logged(state / "log.db") == set()
    assert len(load.modality.accepted) == len(load.images)
    for uid in load.modality.accepted:
        [stored] = (state / "objects" / "instances").glob(f"*/{uid}.dcm")
        assert dcmread(stored) == load.images[uid]


async def _logged(path: Path) -> set[tuple[str, bytes]]:
    """Control ID and digest of each raw message in the log."""
    log = SqliteEventLog(path)
    log.open()

    async def beginning(_: TopicPartition) -> int:
        return 0

    found: set[tuple[str, bytes]] = set()
    try:
        reader = await log.reader("test", [topics.MESSAGES.name], beginning)
        while records := await reader.fetch(500, 0.1):
            for record in records:
                message = RawMessage.FromString(record.event.value)
                assert hashlib.sha256(message.payload).digest() == message.sha256
                found.add((message.message_control_id, message.sha256))
        await reader.close()
    finally:
        log.close()
    return found


def _assert_effects(hospital: Hospital, ledger: Ledger) -> None:
    """At each peer: one identity, one content; and for one examination one of each kind of effect."""
    assert [receipt for receipt in hospital.receipts() if receipt.outcome == "conflict"] == []
    results = [entry for entry in ledger.entries if entry.disposition == "resulted"]
    assert results
    kinds = Counter[tuple[str, str]]()
    for path in hospital.pacs.files():
        instance = dcmread(path, stop_before_pixels=True)
        kinds[str(instance.AccessionNumber), instance.Modality] += 1
    for receipt in hospital.ris.receipts:
        if receipt.outcome == "effect":
            kinds[receipt.facts["accession_number"], "message"] += 1
    for receipt in hospital.ehr.receipts:
        if receipt.outcome == "effect" and receipt.identity.startswith("DiagnosticReport"):
            kinds[receipt.identity, "report"] += 1
    assert {key: count for key, count in kinds.items() if count > 1} == {}
    reports = sum(kind == "report" for _, kind in kinds)
    structured = sum(kind == "SR" for _, kind in kinds)
    assert reports == structured == len(results)


def _counts(hospital: Hospital, load: Load) -> dict[str, int]:
    return {
        "examinations": len(load.sent),
        "hl7 retransmissions in": load.feed.retransmissions,
        "dicom retransmissions in": load.modality.transmissions - len(load.modality.accepted),
        "identical retransmissions out, RIS": hospital.ris.receipts.count("repeat"),
        "identical retransmissions out, EHR": hospital.ehr.receipts.count("repeat"),
        "identical retransmissions out, PACS": hospital.pacs.receipts.count("repeat"),
    }
