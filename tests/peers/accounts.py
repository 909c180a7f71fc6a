"""What must be true once a load has ended, whatever happened on the way: kept, done once, and accounted for."""

import asyncio
import hashlib
import time
from collections import Counter
from pathlib import Path

import grpc
from pydicom import dcmread

from hilum.api.worklist.v1.worklist_pb2 import ReconcileRequest, ReconcileResponse
from hilum.api.worklist.v1.worklist_pb2_grpc import LedgerServiceStub
from hilum.contracts import topics
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.eventlog.port import TopicPartition
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.simulator.hospital import Hospital
from hilum.simulator.settled import Ledger, list_cases, underway
from peers.hilum_process import HilumProcess
from peers.load import Load


async def settle(
    hilum: HilumProcess, hospital: Hospital, cases: int, seconds: float
) -> tuple[Ledger, ReconcileResponse]:
    """The ledger and its reconciliation once ``cases`` have come to their end, or as they are when time is up."""
    until = time.monotonic() + seconds
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hilum.ledger_grpc_port}") as channel:
        stub = LedgerServiceStub(channel)
        while True:
            ledger = await list_cases(stub)
            ledger.settled = len(ledger.cases()) >= cases and not any(underway(entry) for entry in ledger.entries)
            if ledger.settled or time.monotonic() > until:
                verdict = await stub.Reconcile(ReconcileRequest(receipts=hospital.receipt_lines()), timeout=60.0)
                if verdict.adds_up or time.monotonic() > until:
                    return ledger, verdict
            await asyncio.sleep(0.5)


async def assert_accounted_for(
    hilum: HilumProcess, hospital: Hospital, load: Load, settling_seconds: float, drain_seconds: float = 20.0
) -> None:
    """Wait for the load to settle, stop Hilum, and hold what it kept and did against what senders and peers saw."""
    ledger, verdict = await settle(hilum, hospital, load.examinations, settling_seconds)
    status = await hilum.stop(drain_seconds)
    assert ledger.settled, [(entry.accession_number, entry.disposition) for entry in ledger.entries if underway(entry)]
    assert status == 0
    await _assert_kept(hilum.state, load)
    _assert_effects(hospital, ledger)
    failed = [f"{check.name}: {check.detail}" for check in verdict.checks if not check.holds]
    assert failed == []
    assert list((hilum.state / "objects").rglob("*.partial")) == []
    await asyncio.sleep(1.0)
    assert hilum.survivors() == []


async def _assert_kept(state: Path, load: Load) -> None:
    """Every acknowledged message is in the raw log with its bytes, every such image in the store with its data set."""
    acknowledged = {(name, hashlib.sha256(message).digest()) for name, message in load.acknowledged}
    assert len(acknowledged) == 2 * load.examinations
    assert acknowledged - await logged(state / "log.db") == set()
    images = load.images
    assert sorted(load.images_accepted) == sorted(images)
    for uid in load.images_accepted:
        [stored] = (state / "objects" / "instances").glob(f"*/{uid}.dcm")
        assert dcmread(stored) == images[uid]


async def logged(path: Path) -> set[tuple[str, bytes]]:
    """Control ID and digest of each raw message in the log at ``path``."""
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
