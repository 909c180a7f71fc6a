"""Hilum is ended at random under load, by force and by request: nothing acknowledged is lost, nothing happens twice.

`make kills ROUNDS=50 SEED=…` runs many rounds; without these variables it is a short run of ten.
"""

import asyncio
import hashlib
import logging
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
import yaml
from pydicom import dcmread

from hilum.api.worklist.v1.worklist_pb2 import ReconcileRequest, ReconcileResponse
from hilum.api.worklist.v1.worklist_pb2_grpc import LedgerServiceStub
from hilum.contracts import topics
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.eventlog.port import TopicPartition
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.simulator.examinations import phantom_examinations
from hilum.simulator.hospital import Hospital, simulated_hospital
from hilum.simulator.settled import Ledger, list_cases, underway
from peers.hilum_process import HilumProcess
from peers.load import Load

_LOG = logging.getLogger(__name__)
ROUNDS = int(os.environ.get("HILUM_KILL_ROUNDS", "10"))
# What happens in the rounds, in turn: the process is killed, a worker of its is, it is asked to drain.
KINDS = os.environ.get("HILUM_KILL_KINDS", "kill kill engine kill drain kill renderer kill drain kill").split()
WORKERS = {"engine": "hilum.inference.adapters.worker", "renderer": "hilum.integration.adapters.render_worker"}
LANES = 2
EVERY_SECONDS = 0.6
DRAIN_SECONDS = 20.0  # at most; a hang, whose stacks are then told
SETTLING_SECONDS = 120.0 + 6.0 * ROUNDS


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
class Rounds:
    """Rounds of misfortune, and what they took."""

    hilum: HilumProcess
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    drained_seconds: list[float] = field(default_factory=list)
    started_seconds: list[float] = field(default_factory=list)

    async def run(self, number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        await asyncio.sleep(self.chance.uniform(0.2, 6.0))
        if kind in WORKERS:
            await self._end_worker(kind)
            return
        if kind == "drain":
            began = time.monotonic()
            assert await self.hilum.stop(DRAIN_SECONDS) == 0
            self.drained_seconds.append(time.monotonic() - began)
        else:
            await self.hilum.kill()
        self.counts[kind] += 1
        began = time.monotonic()
        await self.hilum.start()
        self.started_seconds.append(time.monotonic() - began)

    async def _end_worker(self, kind: str) -> None:
        until = time.monotonic() + 10.0
        while time.monotonic() < until:  # the renderer is started by its first job
            for pid in self.hilum.children(WORKERS[kind])[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.counts[kind] += 1
                    return
            await asyncio.sleep(0.1)
        raise AssertionError(f"no {kind} was running")


@pytest.mark.timeout(180 + 18 * ROUNDS + SETTLING_SECONDS)
# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_nothing_acknowledged_is_lost_and_nothing_happens_twice(
    hospital: Hospital, hilum: HilumProcess, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("HILUM_KILL_SEED") or time.time_ns() % 1_000_000)
    _LOG.info("HILUM_KILL_SEED=%d", seed)
    enough = LANES * (40 + 20 * ROUNDS)
    drawn = phantom_examinations(enough, datetime.now(UTC), seed)
    load = Load(hilum, [one for one in drawn if one.ordered and one.truth is not None], LANES)
    rounds = Rounds(hilum, random.Random(seed))
    began = time.monotonic()
    await hilum.start()
    load.start(hospital, EVERY_SECONDS)
    try:
        for number in range(ROUNDS):
            await rounds.run(number)
            load.check()
            _LOG.info("round %d of %d: %d examinations sent", number + 1, ROUNDS, load.examinations)
        await load.stop()
    finally:
        await load.give_up()
    ledger, verdict = await _settle(hilum, hospital, load.examinations)
    status = await hilum.stop(DRAIN_SECONDS)

    assert ledger.settled, [(entry.accession_number, entry.disposition) for entry in ledger.entries if underway(entry)]
    assert status == 0
    await _assert_kept(hilum.state, load)
    _assert_effects(hospital, ledger)
    failed = [f"{check.name}: {check.detail}" for check in verdict.checks if not check.holds]
    assert failed == []
    assert list((hilum.state / "objects").rglob("*.partial")) == []
    await asyncio.sleep(1.0)
    assert hilum.survivors() == []
    found = _counts(hospital, load, rounds) | {"seconds in all": time.monotonic() - began, "seed": seed}
    for name, value in found.items():
        record_property(name, value)
        _LOG.info("%s: %.1f", name, value)


async def _settle(hilum: HilumProcess, hospital: Hospital, cases: int) -> tuple[Ledger, ReconcileResponse]:
    until = time.monotonic() + SETTLING_SECONDS
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


async def _assert_kept(state: Path, load: Load) -> None:
    """Every acknowledged message is in the raw log with its bytes, every such image in the store with its data set."""
    acknowledged = {(name, hashlib.sha256(message).digest()) for name, message in load.acknowledged}
    assert len(acknowledged) == 2 * load.examinations
    assert acknowledged - await _logged(state / "log.db") == set()
    images = load.images
    assert sorted(load.images_accepted) == sorted(images)
    for uid in load.images_accepted:
        [stored] = (state / "objects" / "instances").glob(f"*/{uid}.dcm")
        assert dcmread(stored) == images[uid]


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


def _counts(hospital: Hospital, load: Load, rounds: Rounds) -> dict[str, float]:
    lanes = load.lanes
    return {
        **{f"rounds: {kind}": count for kind, count in sorted(rounds.counts.items())},
        "examinations": load.examinations,
        "messages acknowledged": len(load.acknowledged),
        "images acknowledged": len(load.images_accepted),
        "mllp retransmissions in": sum(lane.feed.retransmissions for lane in lanes),
        "grpc retransmissions in": sum(lane.calls.retransmissions for lane in lanes),
        "dicom retransmissions in": sum(lane.modality.transmissions - len(lane.modality.accepted) for lane in lanes),
        "identical retransmissions out, RIS": hospital.ris.receipts.count("repeat"),
        "identical retransmissions out, EHR": hospital.ehr.receipts.count("repeat"),
        "identical retransmissions out, PACS": hospital.pacs.receipts.count("repeat"),
        "longest drain, s": max(rounds.drained_seconds, default=0.0),
        "longest start, s": max(rounds.started_seconds, default=0.0),
    }
