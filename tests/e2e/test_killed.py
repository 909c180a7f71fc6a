"""Hilum is ended at random under load, by force and by request: nothing acknowledged is lost, nothing happens twice.

`make kills ROUNDS=50 SEED=…` runs many rounds; without these variables it is a short run of ten.
"""

import asyncio
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

import pytest
import yaml

from hilum.simulator.examinations import phantom_examinations
from hilum.simulator.hospital import Hospital, simulated_hospital
from peers.accounts import assert_accounted_for
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
    await assert_accounted_for(hilum, hospital, load, SETTLING_SECONDS, DRAIN_SECONDS)
    found = _counts(hospital, load, rounds) | {"seconds in all": time.monotonic() - began, "seed": seed}
    for name, value in found.items():
        record_property(name, value)
        _LOG.info("%s: %.1f", name, value)


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
