"""From the last evidence of a study to the RIS's acknowledgement of its priority, engine time excluded.

Usage: bench_delivery.py [--studies N] [--rate R] [--burst N] [--traced]

Hilum is a process of its own, and so are the senders (`delivery_load.py`); this one is the peers: RIS, EHR and archive.
Half of the studies are completed by their last image, half by their order. The last evidence of a study is due at a
time of a schedule that waits for nobody, and its latency counts from then. Completeness comes from evidence: each
image announces two instances (0020,1208), `settle_seconds` is 0 and `quiet_seconds` never comes; there is no MPPS.
Engine time is Result.started_at to Result.ended_at: from the task being handed to a worker until its reply, so with
the worker's fetching, decoding and preprocessing.

The urgent of the burst are ordered A: one that is ordered S stands at the top already, so that no priority goes out.
"""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)

from delivery_load import Burst, Examination, OpenLoop, sent
from floors import Floors
from hilum.contracts import topics
from hilum.contracts.deliveries.v1.deliveries_pb2 import Delivery
from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.contracts.tasks.v1.tasks_pb2 import Task
from hilum.eventlog.port import Record, TopicPartition
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hl7.mllp import encode as mllp_block
from hilum.simulator.examinations import PHANTOM_MODEL
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.hospital import Hospital, simulated_hospital
from hilum.simulator.messages import orm_o01
from hilum.simulator.orders import Order, example_order
from hilum.simulator.phantoms import Kind, Phantom, draw
from hilum.simulator.radiographs import radiograph
from served import cpu_by_process, machine, served, spread

_FLOOR_MS, _AIM_MS, _FLOOR_RATE = 250.0, 100.0, 5.0
_NEVER_SECONDS = 3600
_AHEAD_SECONDS = 1.0  # how long before its last evidence a study begins
_START_SECONDS = 3.0  # until the senders are ready
_SENDERS = 8  # associations of the burst
_PDU_BYTES = 131_072  # what Hilum takes where nothing else is told
_CONTEXT = 1
_SWITCH_SECONDS = 0.0005  # how long the archive's threads keep the RIS waiting
_STAGES = (
    ("received", "last evidence is due -> received"),
    ("decided", "received -> decided: kept, normalised, heard, complete"),
    ("offered", "decided -> task handed to a worker: outbox, queue"),
    ("returned", "task handed over -> output returned (engine time, excluded)"),
    ("planned", "output returned -> delivery planned: outbox, plan"),
    ("heard", "planned -> acknowledged by the RIS: claim, render, store, send"),
)


@dataclass
class Study:
    """One study and when each thing happened to it, in seconds since 1970."""

    order: Order
    images: list[Dataset]
    last: str = "image"  # or order
    at: dict[str, float] = field(default_factory=dict)

    @property
    def latency(self) -> float:
        return self.at["heard"] - self.at["due"] - (self.at["returned"] - self.at["offered"])


def phantoms(count: int = 6) -> list[Phantom]:
    return [draw(seed, pneumothorax=True, kind=Kind.PLAIN) for seed in range(11, 11 + count)]


def studies_of(count: int, first: int, drawn: list[Phantom], images: int) -> list[Study]:
    """Each with a pneumothorax on every image."""
    now = datetime.now(UTC).replace(microsecond=0)
    made = []
    for number in range(first, first + count):
        order = example_order(number, now - timedelta(minutes=5))
        pictures = []
        for instance in range(1, images + 1):
            phantom = drawn[(number + instance) % len(drawn)]
            picture = radiograph(
                order,
                phantom.pixels,
                now,
                bits_stored=phantom.bits_stored,
                photometric=phantom.photometric_interpretation,
                model_name=PHANTOM_MODEL,
                instance_number=instance,
            )
            picture.NumberOfStudyRelatedInstances = images
            pictures.append(picture)
        made.append(Study(order, pictures))
    return made


def site_of(hospital: Hospital) -> dict[str, object]:
    """Nothing waits for a timer."""
    site = hospital.site()
    site["completeness"] = {"settle_seconds": 0, "quiet_seconds": _NEVER_SECONDS}
    site["matching"] = dict.fromkeys(site["matching"], _NEVER_SECONDS)
    return site


def request() -> bytes:
    """An A-ASSOCIATE-RQ as a PDU: one context, DX in explicit VR little endian."""
    entity = AE("MODALITY")
    entity.add_requested_context(DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian)
    (context,) = entity.requested_contexts
    context.context_id = _CONTEXT
    longest, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    longest.maximum_length_received = _PDU_BYTES
    implementation.implementation_class_uid = entity.implementation_class_uid
    asked = A_ASSOCIATE()
    asked.application_context_name = UID("1.2.840.10008.3.1.1.1")
    asked.calling_ae_title, asked.called_ae_title = "MODALITY", "HILUM"
    asked.user_information = [longest, implementation]
    asked.presentation_context_definition_list = [context]
    return A_ASSOCIATE_RQ(asked).encode()


def message(image: Dataset) -> bytes:
    """A C-STORE-RQ and its data set as PDUs."""
    asked = C_STORE()
    asked.MessageID, asked.Priority = 1, 0
    asked.AffectedSOPClassUID, asked.AffectedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    encoded = encode(image, is_implicit_vr=False, is_little_endian=True)
    assert encoded is not None
    asked.DataSet = BytesIO(encoded)
    stored = C_STORE_RQ()
    stored.primitive_to_message(asked)
    return b"".join(P_DATA_TF(part).encode() for part in stored.encode_msg(_CONTEXT, _PDU_BYTES))


async def open_loop(studies: list[Study], rate: float, hospital: Hospital, mllp: int, dicom: int) -> list[float]:
    """Begin a study every 1/``rate`` seconds, whatever became of those before; returns how late each was sent."""
    encoded = []
    for number, study in enumerate(studies):
        study.last = ("image", "order")[number % 2]
        hospital.ehr.add_patient(study.order)
        hospital.ris.reading_list.add(study.order)
        encoded.append((_order(study), tuple(map(message, study.images))))
    begin = time.time() + _START_SECONDS + _AHEAD_SECONDS
    examinations = []
    for number, (study, (order, images)) in enumerate(zip(studies, encoded, strict=True)):
        due = study.at["due"] = begin + number / rate
        examinations.append(Examination(due, order, study.last == "order", images))
    return await sent(OpenLoop(mllp, dicom, request(), _AHEAD_SECONDS, examinations))


def _order(study: Study) -> bytes:
    control_id = f"N{study.order.accession_number}"
    return mllp_block(orm_o01(study.order, control_id, datetime.now(UTC)))


async def burst(studies: list[Study], hospital: Hospital, mllp: int, dicom: int) -> float:
    """Every order first; then every image at once, over a few associations. Returns when that was."""
    feed = Hl7Feed("127.0.0.1", mllp)
    for number, study in enumerate(studies):
        study.order = replace(study.order, priority="A" if number % 4 == 3 else "R")
        hospital.ehr.add_patient(study.order)
        hospital.ris.reading_list.add(study.order)
        control_id = f"N{study.order.accession_number}"
        await feed.send(control_id, orm_o01(study.order, control_id, datetime.now(UTC)))
    await feed.close()
    images = [message(image) for study in studies for image in study.images]
    began = time.time() + _START_SECONDS
    for study in studies:
        study.at["due"] = began
    await sent(Burst(dicom, request(), began, [images[number::_SENDERS] for number in range(_SENDERS)]))
    return began


async def heard(studies: list[Study], hospital: Hospital, seconds: float) -> None:
    """Wait until the RIS has a priority of each, and note when."""
    until = time.monotonic() + seconds
    while True:
        at = {
            receipt.facts["accession_number"]: datetime.fromisoformat(receipt.at).timestamp()
            for receipt in hospital.ris.receipts
            if receipt.outcome == "effect"
        }
        waiting = [study for study in studies if study.order.accession_number not in at]
        if not waiting or time.monotonic() > until:
            break
        await asyncio.sleep(0.2)
    for study in studies:
        if study.order.accession_number in at:
            study.at["heard"] = at[study.order.accession_number]


async def read_stamps(state: Path, studies: list[Study]) -> None:
    """From the log, once the system has stopped: when each study was received, decided, offered, returned, planned."""
    found: Mapping[str, Study] = {study.order.study_instance_uid: study for study in studies}
    controls = {f"N{study.order.accession_number}": study for study in studies}
    for record in await _records(state):
        name, value = record.event.topic, record.event.value
        if name == topics.INSTANCES.name:
            instance = Instance.FromString(value)
            study = found.get(instance.study_instance_uid)
            if study is not None and study.last == "image":
                at = instance.received_at.ToMicroseconds() / 1e6
                study.at["received"] = max(at, study.at.get("received", 0.0))
        elif name == topics.MESSAGES.name:
            message = RawMessage.FromString(value)
            study = controls.get(message.message_control_id)
            if study is not None and study.last == "order":
                study.at["received"] = message.received_at.ToMicroseconds() / 1e6
        elif name.startswith("tasks-"):
            task = Task.FromString(value)
            if task.study_instance_uid in found:
                found[task.study_instance_uid].at["decided"] = task.created_at.ToMicroseconds() / 1e6
        elif name == topics.FINDINGS.name:
            result = Result.FromString(value)
            if result.study_instance_uid in found:
                study = found[result.study_instance_uid]
                study.at["offered"] = result.started_at.ToMicroseconds() / 1e6
                study.at["returned"] = result.ended_at.ToMicroseconds() / 1e6
        elif name == topics.DELIVERIES.name:
            delivery = Delivery.FromString(value)
            study = found.get(delivery.study_instance_uid)
            if study is not None and delivery.kind == "priority" and delivery.state == "planned":
                study.at.setdefault("planned", delivery.at.ToMicroseconds() / 1e6)


async def _records(state: Path) -> list[Record]:
    log = SqliteEventLog(state / "log.db")
    log.open()

    async def start(_place: TopicPartition) -> int:
        return 0

    reader = await log.reader("bench", [topic.name for topic in topics.ALL], start)
    records: list[Record] = []
    while some := await reader.fetch(1000, 0.0):
        records += some
    await reader.close()
    log.close()
    return records


def report(studies: list[Study], late: list[float], floors: Floors) -> None:
    """The distribution, and where the time went."""
    whole = [study for study in studies if study.at.keys() >= {"due", *(name for name, _ in _STAGES)}]
    print(f"{len(whole)} of {len(studies)} studies reached the RIS; evidence was sent late by {spread(late)}")
    for kind in ("image", "order"):
        some = [study.latency for study in whole if study.last == kind]
        print(f"  last evidence an {kind:<6} {spread(some)}")
    latencies = [study.latency for study in whole]
    print(f"  all                    {spread(latencies)}")
    print(f"  with the engine        {spread([s.at['heard'] - s.at['due'] for s in whole])}")
    report_stages(whole)
    floors.at_least("share of the studies that arrived", len(whole) / len(studies), 1.0)
    slowest = p99(latencies + [math.inf] * (len(studies) - len(whole))) * 1e3
    floors.below("p99 in ms, what never arrived counted as endless", slowest, _FLOOR_MS, _AIM_MS)


def p99(seconds: list[float]) -> float:
    """By nearest rank, so that one may be endless."""
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]


def report_stages(studies: list[Study]) -> None:
    print("  where the time goes:")
    before = "due"
    for name, title in _STAGES:
        print(f"    {title:<72} {spread([study.at[name] - study.at[before] for study in studies])}")
        before = name


def report_burst(studies: list[Study], began: float, floors: Floors) -> None:
    whole = sorted((s for s in studies if "heard" in s.at), key=lambda study: study.at["heard"])
    seconds = whole[-1].at["heard"] - began if whole else 0.0
    order = "".join("A" if study.order.priority == "A" else "." for study in whole)
    print(f"burst of {len(studies)}: {len(whole)} acknowledged in {seconds:.1f} s")
    floors.at_least("studies a second", len(whole) / seconds if whole else 0.0, _FLOOR_RATE)
    floors.at_least("share of the burst that arrived", len(whole) / len(studies), 1.0)
    print(f"  as the RIS heard them (A urgent, . routine): {order}")
    urgent = [study.at["heard"] - began for study in whole if study.order.priority == "A"]
    routine = [study.at["heard"] - began for study in whole if study.order.priority != "A"]
    print(f"  from the burst's begin: urgent  {spread(urgent)}")
    print(f"                          routine {spread(routine)}")


async def run(options: argparse.Namespace) -> None:
    sys.setswitchinterval(_SWITCH_SECONDS)
    drawn = phantoms()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-delivery-")))
        collector, environment = None, {}
        if options.traced:
            from peers.otlp import collecting  # noqa: PLC0415

            collector = stack.enter_context(collecting())
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint
        async with simulated_hospital(folder / "hospital") as hospital:
            async with served(folder, site_of(hospital), environment) as hilum:
                warm = studies_of(4, 9000, drawn, 2)
                await open_loop(warm, 2.0, hospital, hilum.mllp_port, hilum.dicom_port)
                await heard(warm, hospital, 30.0)
                studies = studies_of(options.studies, 0, drawn, 2)
                used = cpu_by_process(hilum)
                late = await open_loop(studies, options.rate, hospital, hilum.mllp_port, hilum.dicom_port)
                await heard(studies, hospital, 30.0)
                used = cpu_by_process(hilum) - used
                await asyncio.sleep(3.0)
                crowd = studies_of(options.burst, 5000, drawn, 1)
                began = await burst(crowd, hospital, hilum.mllp_port, hilum.dicom_port)
                await heard(crowd, hospital, 90.0)
                await asyncio.sleep(5.0)
            await read_stamps(folder / "state", studies)
        each = ", ".join(f"{name} {seconds / len(studies) * 1e3:.0f}" for name, seconds in used.items())
        print(f"open loop, {options.rate:g} studies/s; server CPU a study, ms: {each}")
        floors = Floors()
        report(studies, late, floors)
        report_burst(crowd, began, floors)
        if collector is not None:
            report_spans(collector.traces())
        floors.settle()


def report_spans(traces: Mapping[bytes, list[Any]]) -> None:
    """Of the traces that reach the RIS: when each span began after the trace did, and how long it took."""
    begins, lasts = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for spans in traces.values():
        if not any(span.name == "deliver priority" for span in spans):
            continue
        first = min(span.start_time_unix_nano for span in spans)
        for span in spans:
            begins[span.name].append((span.start_time_unix_nano - first) / 1e9)
            lasts[span.name].append((span.end_time_unix_nano - span.start_time_unix_nano) / 1e9)
    print("spans of those traces: begin after the first, and duration")
    for name in sorted(begins, key=lambda name: sorted(begins[name])[len(begins[name]) // 2]):
        print(f"  {name:<40} {spread(begins[name])}  | {spread(lasts[name])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--studies", type=int, default=120)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--burst", type=int, default=64)
    parser.add_argument("--traced", action="store_true", help="with tracing on: where each span begins")
    print(machine())
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
