"""What C-STORE keeps and answers (PS3.4 B.2.3)."""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from datasets.images import image
from datasets.requests import Request
from hilum.contracts import topics
from hilum.errors import Unavailable
from hilum.eventlog.port import Event, EventLog
from hilum.objects.port import Objects

OTHER_CLASS = "1.2.840.10008.5.1.4.1.1.2"


def chest(**elements: object) -> Dataset:
    values = np.arange(64).reshape(8, 8)
    return image(values, bits_stored=8, **({"Modality": "DX", "PatientID": "P1", "PatientName": "Doe^Jane"} | elements))


async def test_echo_is_answered(imaging) -> None:
    async with imaging() as running:
        assert await running.echoscu() == 0


async def test_an_instance_is_kept_byte_for_byte_and_stated_once(imaging) -> None:
    request = Request.of(chest(AccessionNumber="A1", StudyDate="20240701", PatientAge="007Y"))
    async with imaging() as running:
        assert (await running.send(request)).status == 0
        (instance,) = await running.instances()
        file = running.objects.get(instance.object_key)
    assert file[128:132] == b"DICM"
    assert file.endswith(request.data_set)
    assert instance.object_key == "instances/1.2.3.1/1.2.3.3.dcm"
    assert instance.sha256 == hashlib.sha256(request.data_set).digest()
    assert instance.size_bytes == len(request.data_set)
    assert instance.calling_ae_title == "TEST"
    assert (instance.patient.identifiers[0].value, instance.patient.identifiers[0].authority) == ("P1", "HOSP")
    assert (instance.patient.family_name, instance.patient.given_name) == ("Doe", "Jane")
    assert instance.accession_number.value == "A1"
    assert instance.study_date == "20240701"
    assert instance.tags["Modality"] == "DX"
    assert instance.tags["PatientAgeYears"] == "7"
    assert instance.reason == ""


async def test_the_identical_data_set_again_is_success_without_a_second_event(imaging) -> None:
    request = Request.of(chest())
    async with imaging() as running:
        answers = [(await running.send(request)).status for _ in range(3)]
        assert answers == [0, 0, 0]
        assert len(await running.instances()) == 1


async def test_the_identical_data_set_on_two_associations_at_once_is_one_event(imaging) -> None:
    request = Request.of(chest())
    async with imaging() as running:
        answers = await asyncio.gather(*(running.send(request) for _ in range(4)))
        assert [answer.status for answer in answers] == [0, 0, 0, 0]
        assert len(await running.instances()) == 1


async def test_another_data_set_under_the_uid_is_put_aside_and_the_first_kept(imaging) -> None:
    first, second = Request.of(chest()), Request.of(chest(PatientName="Roe^Richard"))
    async with imaging() as running:
        assert (await running.send(first)).status == 0
        answer = await running.send(second)
        again = await running.send(second)
        assert answer.status == again.status == 0xC010
        assert answer.comment.startswith("sop_instance_conflict")
        assert "Roe" not in answer.comment
        kept, aside = await running.instances()
        assert running.objects.get(kept.object_key).endswith(first.data_set)
        assert running.objects.get(aside.object_key).endswith(second.data_set)
        assert aside.object_key.startswith("quarantine/")
        assert (kept.reason, aside.reason) == ("", "sop_instance_conflict")
        assert (await running.send(first)).status == 0


async def test_what_is_held_is_known_after_a_restart(imaging) -> None:
    first, second = Request.of(chest()), Request.of(chest(PatientName="Roe^Richard"))
    async with imaging() as running:
        assert (await running.send(first)).status == 0
    async with imaging() as running:
        assert (await running.send(first)).status == 0
        assert (await running.send(second)).status == 0xC010
        assert [instance.reason for instance in await running.instances()] == ["", "sop_instance_conflict"]


async def test_an_index_that_lost_its_table_is_rebuilt_from_the_log(imaging, tmp_path) -> None:
    first, second = Request.of(chest()), Request.of(chest(PatientName="Roe^Richard"))
    async with imaging() as running:
        assert (await running.send(first)).status == 0
    for file in tmp_path.glob("imaging.db*"):
        file.unlink()
    async with imaging() as running:
        assert (await running.send(second)).status == 0xC010


async def test_compressed_instances_are_kept_as_they_are(imaging) -> None:
    dataset = chest()
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51 not a picture"])
    dataset["PixelData"].is_undefined_length = True
    request = Request.of(dataset)
    async with imaging() as running:
        assert (await running.send(request)).status == 0
        (instance,) = await running.instances()
        assert running.objects.get(instance.object_key).endswith(request.data_set)
        assert instance.transfer_syntax_uid == JPEG2000Lossless
        assert instance.reason == "pixels_undecodable"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": 60000, "Columns": 1000}, "frame_size_disagrees"),
        ({"Rows": 65535, "Columns": 65535}, "frame_too_large"),
        ({"BitsStored": 20}, "image_header_invalid"),
        ({"BitsAllocated": None}, "image_header_missing"),
        ({"PixelData": b""}, "no_pixels"),
    ],
)
async def test_a_lying_image_header_is_stored_with_its_reason(imaging, change, reason: str) -> None:
    async with imaging() as running:
        assert (await running.send(Request.of(chest(**change)))).status == 0
        (instance,) = await running.instances()
        assert instance.reason == reason


async def test_missing_patient_and_accession_cost_no_instance(imaging) -> None:
    dataset = chest()
    del dataset.PatientID, dataset.PatientName
    async with imaging() as running:
        assert (await running.send(Request.of(dataset))).status == 0
        (instance,) = await running.instances()
        assert not instance.patient.identifiers
        assert instance.reason == ""


def without(keyword: str) -> Dataset:
    dataset = chest()
    delattr(dataset, keyword)
    return dataset


@pytest.mark.parametrize(
    ("dataset", "change", "status", "reason"),
    [
        (without("StudyInstanceUID"), {}, 0xC002, "uid_missing"),
        (without("SeriesInstanceUID"), {}, 0xC002, "uid_missing"),
        (chest(StudyInstanceUID="study 7"), {}, 0xC003, "uid_invalid"),
        (chest(SOPInstanceUID="1..3"), {}, 0x0117, "sop_instance_uid_invalid"),
        (chest(), {"sop_instance": "1.2.3.4"}, 0xA900, "uids_disagree"),
        (chest(), {"sop_class": OTHER_CLASS}, 0xA900, "uids_disagree"),
        (chest(), {"data_set": b"\x08\x00" * 3 + b"\xff" * 40}, 0xC002, "uid_missing"),
        (chest(), {"syntax": str(DeflatedExplicitVRLittleEndian)}, 0xC001, "data_set_unreadable"),
    ],
)
async def test_each_refusal_has_its_status_and_a_kept_dead_letter(
    imaging, dataset: Dataset, change: dict[str, str], status: int, reason: str
) -> None:
    request = replace(Request.of(dataset), **change)
    async with imaging() as running:
        answers = [await running.send(request) for _ in range(2)]
        assert [answer.status for answer in answers] == [status, status]
        assert answers[0].comment.startswith(reason)
        letters = {letter.dead_letter_id: letter for letter in await running.dead_letters()}
        (letter,) = letters.values()
        assert (letter.group, letter.reason, letter.state) == ("imaging", reason, "kept")
        kept = topics.INSTANCES.message.FromString(letter.value).object_key
        assert running.objects.get(kept).endswith(request.data_set)
        assert not await running.instances()


class FailingObjects:
    """A disk that is full until told otherwise."""

    full = True

    def __init__(self, inner: Objects) -> None:
        self._inner = inner

    def put(self, key: str, data: bytes) -> None:
        if self.full:
            raise Unavailable("objects_unavailable", "no space left on device")
        self._inner.put(key, data)

    def get(self, key: str) -> bytes:
        return self._inner.get(key)


class FailingLog:
    def __init__(self, inner: EventLog) -> None:
        self._inner = inner
        self.failing = True

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def append(self, events: Sequence[Event]) -> None:
        if self.failing:
            raise Unavailable("log_unavailable", "the event log did not take the events")
        await self._inner.append(events)


def refusals_told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_what_is_put_aside_or_refused_leaves_a_line_with_its_event_and_nothing_of_a_patient(
    imaging, caplog
) -> None:
    unidentified = chest()
    del unidentified.StudyInstanceUID
    async with imaging() as running:
        await running.send(Request.of(chest()))
        for _ in range(2):
            assert (await running.send(Request.of(chest(AccessionNumber="A2")))).status == 0xC010
        assert (await running.send(Request.of(unidentified))).status == 0xC002
        _, aside = await running.events(topics.INSTANCES)
        (letter,) = await running.events(topics.DEAD_LETTERS)
    assert refusals_told(caplog) == [
        f"C-STORE answered C010H: sop_instance_conflict, event {aside.event_id}",
        f"C-STORE answered C010H: sop_instance_conflict, event {aside.event_id}",
        f"C-STORE answered C002H: uid_missing, event {letter.event_id}",
    ]


async def test_many_refusals_leave_ten_lines_and_their_number(imaging, caplog) -> None:
    unidentified = chest()
    del unidentified.StudyInstanceUID
    request = Request.of(unidentified)
    async with imaging() as running:
        await asyncio.gather(*(running.send(request) for _ in range(14)))
    told = refusals_told(caplog)
    assert len(told) == 11
    assert told[-1].startswith("4 more in ")


async def test_a_failing_disk_is_out_of_resources_and_nothing_is_stated(imaging) -> None:
    request = Request.of(chest())
    async with imaging(objects=FailingObjects) as running:
        assert (await running.send(request)).status == 0xA700
        assert not await running.instances()
        running.objects.full = False
        assert (await running.send(request)).status == 0
        assert len(await running.instances()) == 1


async def test_a_failing_log_is_out_of_resources_and_the_instance_may_come_again(imaging) -> None:
    logs: list[FailingLog] = []

    def failing(inner: EventLog) -> FailingLog:
        logs.append(FailingLog(inner))
        return logs[0]

    request = Request.of(chest())
    async with imaging(log=failing) as running:
        assert (await running.send(request)).status == 0xA700
        logs[0].failing = False
        assert (await running.send(request)).status == 0
        assert len(await running.instances()) == 1


async def test_a_refused_data_set_that_cannot_be_kept_is_out_of_resources(imaging) -> None:
    async with imaging(objects=FailingObjects) as running:
        assert (await running.send(Request.of(without("StudyInstanceUID")))).status == 0xA700


class GatedLog:
    """A log whose appends wait, so that what precedes and follows them can be seen."""

    def __init__(self, inner: EventLog) -> None:
        self._inner = inner
        self.waiting = asyncio.Event()
        self.gate = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def append(self, events: Sequence[Event]) -> None:
        self.waiting.set()
        await self.gate.wait()
        await self._inner.append(events)


async def test_success_is_answered_only_after_the_object_and_then_the_event_are_durable(imaging) -> None:
    logs: list[GatedLog] = []

    def gated(inner: EventLog) -> GatedLog:
        logs.append(GatedLog(inner))
        return logs[0]

    async with imaging(log=gated) as running:
        answer = asyncio.create_task(running.send(Request.of(chest())))
        await asyncio.wait_for(logs[0].waiting.wait(), 10)
        assert running.objects.exists("instances/1.2.3.1/1.2.3.3.dcm")
        await asyncio.sleep(0.3)
        assert not answer.done()
        logs[0].gate.set()
        assert (await answer).status == 0


async def test_storing_that_takes_too_long_is_out_of_resources(imaging) -> None:
    async with imaging(log=GatedLog, answer_seconds=0.5) as running:
        assert (await running.send(Request.of(chest()))).status == 0xA700


async def test_stopping_lets_what_is_in_hand_be_answered(imaging) -> None:
    logs: list[GatedLog] = []

    def gated(inner: EventLog) -> GatedLog:
        logs.append(GatedLog(inner))
        return logs[0]

    async with imaging(log=gated) as running:
        answer = asyncio.create_task(running.send(Request.of(chest())))
        await asyncio.wait_for(logs[0].waiting.wait(), 10)
        asyncio.get_running_loop().call_later(0.5, logs[0].gate.set)
    assert (await answer).status == 0
