"""While a CT of 1,000 slices arrives, messages are answered and priorities go out. Counted, not timed."""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from pydicom.uid import generate_uid

from hilum.simulator.examinations import Examination, phantom_examinations
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.hospital import Hospital, simulated_hospital
from hilum.simulator.messages import adt, orm_o01
from hilum.simulator.modality import Modality
from hilum.simulator.orders import example_order
from peers.hilum_process import HilumProcess

pytestmark = pytest.mark.timeout(400)
SENDER = Path(__file__).resolve().parents[2] / "peers" / "ct_sender.py"
SLICES, ASSOCIATIONS, ROWS = 1000, 4, 256
MESSAGES, CHEST_AT, QUIET_FROM = 100, 100, 900


@dataclass
class Told:
    """When each thing happened, in seconds since 1970."""

    slices: list[float] = field(default_factory=list)
    ended: bool = False
    acknowledged: dict[int, float] = field(default_factory=dict)  # by the slice after which the message was sent
    heard: float = 0.0  # the priority, by the RIS


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("large-study")
    try:
        yield asyncio.run(_run(folder))
    finally:
        shutil.rmtree(folder)


async def _run(folder: Path) -> Told:
    found = Told()
    async with simulated_hospital(folder / "hospital") as hospital:
        site = folder / "site.yaml"
        site.write_text(yaml.safe_dump(hospital.site() | {"completeness": {"settle_seconds": 0}}))
        hilum = HilumProcess(folder / "state", site, folder / "hilum.log")
        try:
            await hilum.start()
            await _scan(found, hilum, hospital)
            assert await hilum.stop(60) == 0
        finally:
            hilum.end()
    return found


async def _scan(found: Told, hilum: HilumProcess, hospital: Hospital) -> None:
    chest = next(each for each in phantom_examinations(6, datetime.now(UTC), seed=3) if each.truth)
    hospital.ris.reading_list.add(chest.order)
    hospital.ehr.add_patient(chest.order)
    sender = await asyncio.create_subprocess_exec(
        *(sys.executable, SENDER, str(hilum.dicom_port), str(SLICES), str(ASSOCIATIONS), generate_uid(), str(ROWS)),
        stdout=asyncio.subprocess.PIPE,
    )
    beside = [asyncio.create_task(_send_messages(found, hilum)), asyncio.create_task(_send_chest(found, hilum, chest))]
    try:
        assert sender.stdout is not None
        async for line in sender.stdout:
            words = line.split()
            if len(words) == 3:
                found.slices.append(float(words[1]))
            found.ended = words == [b"ended"]
        await sender.wait()
        assert found.ended, "the scanner did not end in order"
        await asyncio.wait_for(asyncio.gather(*beside), 120)
    finally:
        if sender.returncode is None:
            sender.kill()
            await sender.wait()
        for each in beside:
            each.cancel()
    until = time.monotonic() + 120
    while not (receipts := [r for r in hospital.ris.receipts if r.outcome == "effect"]) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    found.heard = datetime.fromisoformat(receipts[0].at).timestamp() if receipts else float("inf")


async def _reached(found: Told, slices: int) -> None:
    while len(found.slices) < slices:
        await asyncio.sleep(0.002)


async def _send_messages(found: Told, hilum: HilumProcess) -> None:
    """One after each ninth slice, until the last tenth begins."""
    feed = Hl7Feed("127.0.0.1", hilum.mllp_port, answer_seconds=60)
    for after in range(0, QUIET_FROM, QUIET_FROM // MESSAGES):
        await _reached(found, after)
        name = f"M{after}"
        sent = await feed.send(name, adt(example_order(after % 20, datetime.now(UTC)), "A08", name, datetime.now(UTC)))
        assert sent.accepted
        found.acknowledged[after] = time.time()
    await feed.close()


async def _send_chest(found: Told, hilum: HilumProcess, chest: Examination) -> None:
    await _reached(found, CHEST_AT)
    feed = Hl7Feed("127.0.0.1", hilum.mllp_port, answer_seconds=60)
    await feed.send("CHEST", orm_o01(chest.order, "CHEST", datetime.now(UTC)))
    await feed.close()
    images = await asyncio.to_thread(chest.images)
    for image in images:
        image.NumberOfStudyRelatedInstances = len(images)
    await asyncio.to_thread(Modality("127.0.0.1", hilum.dicom_port, answer_seconds=60).send, images)


def test_every_message_that_is_sent_during_the_scan_is_acknowledged_before_its_last_slice(told: Told) -> None:
    assert len(told.slices) == SLICES
    assert len(told.acknowledged) == MESSAGES
    assert [after for after, at in told.acknowledged.items() if at >= told.slices[-1]] == []


def test_a_chest_study_s_priority_reaches_the_ris_before_the_scan_ends(told: Told) -> None:
    assert told.heard < told.slices[-1]
