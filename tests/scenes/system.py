"""Integration as it runs, on a folder: its log, its objects, its package, and the events that it is told."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from hilum.contracts import topics
from hilum.contracts.cases.v1.cases_pb2 import AlgorithmState, CaseState
from hilum.contracts.deliveries.v1.deliveries_pb2 import Delivery
from hilum.contracts.findings.v1.findings_pb2 import Box, Finding, Result, SourceImage
from hilum.contracts.orders.v1.orders_pb2 import Code, Order
from hilum.contracts.patients.v1.patients_pb2 import Identifier, Patient
from hilum.eventlog.port import TopicPartition, event_of
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hosting import Platform
from hilum.ids import derived_id
from hilum.integration.service import IntegrationService, build
from hilum.integration.settings import Settings
from hilum.objects.files import FileObjects
from hilum.site import Site, parse_site
from hilum.store.sql import open_sqlite
from hilum.telemetry import headers_of_current_context
from scenes.images import make_image
from scenes.results import MRN, ORM, SERIES_UID, SOP_UID, STUDY_UID

ALGORITHM, VERSION = "pneumothorax-phantom", "1.0.0"
IMAGE_KEY = f"instances/{STUDY_UID}/{SOP_UID}.dcm"
MAP_KEY = "maps/result-1/pneumothorax.npy"


def write_package(folder: Path, use: str = "detection") -> Path:
    """A model package that holds, with an engine that nobody runs."""
    package = folder / ALGORITHM
    package.mkdir(parents=True, exist_ok=True)
    (package / "model.onnx").write_bytes(b"engine")
    (package / "CARD.md").write_text("A demonstration.")
    outputs = {"triage": "priority, notification"}.get(use, "priority, finding, probability, absent, localisation")
    (package / "model.yaml").write_text(
        f"""
schema: 1
name: {ALGORITHM}
version: {VERSION}
title: Pneumothorax on chest phantoms
use: {use}
outputs: [{outputs}]
notice: Demonstration. Not for clinical use.
card: CARD.md
device:
  manufacturer: Hilum project
  model_name: pneumothorax-phantom
  uid: 2.25.98765432109876543210987654321098765432
engine:
  file: model.onnx
  sha256: {hashlib.sha256(b"engine").hexdigest()}
  input: image
  shape: [1, 1, 256, 256]
  outputs: {{probability: prob, activation: cam}}
preprocessing: {{rows: 256, columns: 256, fit: pad, mean: 0.5, std: 0.5}}
eligibility: {{study: [], instance: []}}
findings:
  - id: pneumothorax
    index: 0
    code: {{system: http://snomed.info/sct, code: "36118008", display: Pneumothorax}}
    threshold: 0.5
    priority: S
useful_minutes: 720
"""
    )
    return folder


def case_message(case_id: str = "case-1", version: int = 1, **changes: Any) -> CaseState:
    """The case of `scenes.results`, as workflow states it."""
    patient = Patient(
        identifiers=[Identifier(value="PAT-001", authority=MRN, type_code="MR")],
        family_name="Testperson",
        given_name="Ada",
        birth_date="19610503",
        sex="F",
    )
    order = Order(
        message_type="ORM^O01",
        placer_order_number=Identifier(value="PL-77", authority="PLACER"),
        filler_order_number=Identifier(value="FI-88", authority="FILLER"),
        accession_number=Identifier(value="ACC-1001", authority="RIS"),
        requested_procedure_id="RP-1",
        procedure=Code(code="XRCH", display="Chest X-ray", system="LOCAL"),
        priority="R",
        patient=patient,
        source_message=ORM,
    )
    case = CaseState(
        case_id=case_id,
        version=version,
        site="north",
        study_instance_uid=STUDY_UID,
        patient=patient,
        accession_number=order.accession_number,
        orders=[order],
        instance_count=1,
        modality="DX",
    )
    algorithm = AlgorithmState(algorithm=ALGORITHM, algorithm_version=VERSION, disposition="tasked")
    algorithm.useful_until.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    case.algorithms.append(algorithm)
    case.study_time.FromDatetime(datetime(2026, 3, 29, 9, 20, tzinfo=UTC))
    for name, value in changes.items():
        setattr(case, name, value)
    return case


def result_message(
    result_id: str = "result-1", case_id: str = "case-1", state: str = "present", revision: int = 1
) -> Result:
    """What inference said of that case."""
    present = state == "present"
    finding = Finding(
        finding="pneumothorax",
        state=state,
        probability=0.93 if present else 0.04,
        threshold=0.5,
        sop_instance_uid=SOP_UID,
        box=Box(row0=40, column0=150, row1=120, column1=220) if present else None,
        map_object_key=MAP_KEY if present else "",
    )
    image = SourceImage(
        sop_instance_uid=SOP_UID,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        series_instance_uid=SERIES_UID,
        object_key=IMAGE_KEY,
    )
    result = Result(
        result_id=result_id,
        case_id=case_id,
        site="north",
        study_instance_uid=STUDY_UID,
        algorithm=ALGORITHM,
        algorithm_version=VERSION,
        revision=revision,
        outcome="resulted",
        findings=[finding],
        inputs=[image],
    )
    result.started_at.FromDatetime(datetime(2026, 3, 29, 9, 29, 50, tzinfo=UTC))
    result.ended_at.FromDatetime(datetime(2026, 3, 29, 9, 29, 58, tzinfo=UTC))
    return result


@dataclass
class System:
    """A running integration service and the log around it."""

    log: SqliteEventLog
    objects: FileObjects
    service: IntegrationService
    stated: list[Delivery] = field(default_factory=list)

    async def say_case(self, case: CaseState) -> None:
        event = event_of(
            topics.STUDIES, case.case_id, case, derived_id("case", case.case_id, str(case.version)), _now()
        )
        await self.log.append([event])

    async def say_result(self, result: Result) -> None:
        event = event_of(topics.FINDINGS, result.case_id, result, derived_id("result", result.result_id), _now())
        await self.log.append([event._replace(headers=headers_of_current_context())])

    async def until(self, found: Callable[[dict[str, Delivery]], bool], seconds: float = 20.0) -> dict[str, Delivery]:
        """The newest statement of each kind of delivery, once ``found`` holds of them."""
        try:
            async with asyncio.timeout(seconds):
                while not found(self.newest()):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError([(d.kind, d.state, d.reason, d.attempts) for d in self.stated]) from None
        return self.newest()

    async def ended(self, *kinds: str, seconds: float = 20.0) -> dict[str, Delivery]:
        """The newest statements once those of ``kinds`` are no longer planned."""
        return await self.until(
            lambda newest: all(kind in newest and newest[kind].state != "planned" for kind in kinds), seconds
        )

    def newest(self, case_id: str = "case-1") -> dict[str, Delivery]:
        return {delivery.kind: delivery for delivery in self.stated if delivery.case_id == case_id}

    def states(self, kind: str) -> list[str]:
        """Every state that was published of a kind, in order."""
        return [delivery.state for delivery in self.stated if delivery.kind == kind]


def make_site(**peers: Any) -> Site:
    return parse_site({"site": "north", "timezone": "Europe/Berlin", **peers})


@asynccontextmanager
async def integration(
    folder: Path, site: Site, use: str = "detection", *, package: bool = True, **settings: Any
) -> AsyncIterator[System]:
    """Integration on ``folder``, which may have been used before: what it had planned goes on."""
    if package:
        write_package(folder / "models", use)
    log = SqliteEventLog(folder / "log.db")
    log.open()
    objects = FileObjects(folder / "objects")
    objects.put(IMAGE_KEY, make_image())
    activation = BytesIO()
    np.save(activation, np.eye(16, dtype=np.float32))
    objects.put(MAP_KEY, activation.getvalue())
    platform = Platform(
        site=site,
        log=log,
        objects=objects,
        objects_folder=folder / "objects",
        open_store=lambda name, tables: open_sqlite(folder / "state" / f"{name}.db", tables),
        packages_folder=folder / "models",
    )
    system = System(log, objects, build(Settings(**settings), platform))
    ready = asyncio.Event()
    tasks = [asyncio.create_task(system.service.serve(ready.set)), asyncio.create_task(_follow(system))]
    try:
        await asyncio.wait([tasks[0], asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            await tasks[0]
        yield system
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        log.close()


async def _follow(system: System) -> None:
    async def start(_: TopicPartition) -> int:
        return 0

    reader = await system.log.reader("test", (topics.DELIVERIES.name,), start)
    try:
        while True:
            for record in await reader.fetch(64, 0.2):
                system.stated.append(Delivery.FromString(record.event.value))
    finally:
        await reader.close()


def _now() -> datetime:
    return datetime.now(UTC)
