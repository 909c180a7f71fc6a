"""`hilum demo`: Hilum embedded beside a simulated hospital; orders and images go in, the reading list moves."""

import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import yaml
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hilum.api.worklist.v1.worklist_pb2 import ReconcileRequest, ReconcileResponse
from hilum.api.worklist.v1.worklist_pb2_grpc import LedgerServiceStub
from hilum.embedded import Options, Running, running
from hilum.errors import HilumError
from hilum.simulator import demo_pages as pages
from hilum.simulator.examinations import Examination, phantom_examinations, radiograph_examinations, written_by
from hilum.simulator.footprint import watched_footprint
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.hospital import Hospital, simulated_hospital
from hilum.simulator.messages import omi_o23, orm_o01, oru_r01
from hilum.simulator.modality import Modality
from hilum.simulator.overlays import write_overlays
from hilum.simulator.published_orders import Compose, composer, read_published_orders
from hilum.simulator.settled import Ledger, settled

if TYPE_CHECKING:  # the asynchronous stub exists for type checkers only
    from hilum.api.worklist.v1.worklist_pb2_grpc import LedgerServiceAsyncStub

_WIDE = 150  # where the output is no terminal, so that nothing is cut
_FOLDERS = ("hl7", "fhir", "dicom", "overlays", "receipts")


@dataclass(frozen=True)
class DemoOptions:
    """What `hilum demo` is told. With ``images`` and ``labels`` it sends at most ``limit`` real radiographs.

    ``orders`` are files of HL7 orders that others published: they are sent with only their identifiers set.
    """

    images: Path | None = None
    labels: Path | None = None
    orders: tuple[Path, ...] = ()
    out: Path = Path("hilum-demo")
    count: int = 14
    limit: int = 200
    seed: int = 3
    packages_folder: Path | None = None

    @property
    def seconds(self) -> float:
        """How long results are waited for."""
        return 45.0 if self.images is None else 60.0 + 1.5 * self.limit


async def run_demo(options: DemoOptions, console: Console | None = None) -> int:
    """Show it; 0 when every examination is accounted for, 1 when a check failed, 2 for options that cannot be used."""
    console = console or Console(width=None if sys.stdout.isatty() else _WIDE)
    began = time.monotonic()
    if (options.images is None) != (options.labels is None):
        console.print("--images and --labels belong together")
        return 2
    try:
        examinations = _examinations(options)
        _prepare(options.out)
    except (HilumError, OSError) as error:
        console.print(str(error))
        return 2
    pages.show_caution(console)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # a refused association is the modality's to report
    async with watched_footprint() as peak:
        with tempfile.TemporaryDirectory(prefix="hilum-demo-") as state:
            async with simulated_hospital(options.out) as hospital, _hilum(Path(state), hospital, options) as hilum:
                pages.show_addresses(console, hospital, hilum)
                done = await _perform(console, options, examinations, hospital, hilum)
        pages.show_end(console, options.out, time.monotonic() - began, peak.megabytes)
        pages.show_caution(console)
    return 0 if done else 1


def _examinations(options: DemoOptions) -> list[Examination]:
    composers: list[Compose] = [orm_o01, omi_o23]
    if options.orders:
        composers = [composer(template) for template in read_published_orders(list(options.orders))]
    now = datetime.now(UTC).replace(microsecond=0)
    if options.images is None or options.labels is None:
        began = now - timedelta(minutes=7 * (options.count + 5))
        examinations = phantom_examinations(options.count, began, options.seed)
    else:
        began = now - timedelta(minutes=2 * options.limit)
        examinations = radiograph_examinations(options.images, options.labels, options.limit, began, options.seed)
    return written_by(composers, examinations)


def _prepare(out: Path) -> None:
    """Remove what an earlier demonstration left there, and nothing else."""
    out.mkdir(parents=True, exist_ok=True)
    for name in _FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)


@asynccontextmanager
async def _hilum(state: Path, hospital: Hospital, options: DemoOptions) -> AsyncIterator[Running]:
    site = state / "site.yaml"
    site.write_text(yaml.safe_dump(hospital.site()))
    settings = Options(
        state=state / "data",
        config=site,
        mllp_port=0,
        dicom_port=0,
        grpc_port=0,
        http_port=0,
        packages_folder=options.packages_folder,
    )
    async with running(settings) as hilum:
        yield hilum


async def _perform(
    console: Console, options: DemoOptions, examinations: list[Examination], hospital: Hospital, hilum: Running
) -> bool:
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        await send(examinations, hospital, hilum.mllp_port, hilum.dicom_port, progress)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{hilum.ledger_grpc_port}") as channel:
            stub: LedgerServiceAsyncStub = LedgerServiceStub(channel)
            ledger = await settled(stub, len(examinations), options.seconds, progress)
            verdict = await _reconcile(stub, hospital)
    _write_ledger(options.out, ledger, verdict)
    write_overlays(options.out / "dicom", options.out / "overlays")
    pages.show_reading_list(console, hospital.ris.reading_list, examinations)
    pages.show_ledger(console, ledger, verdict)
    pages.show_deliveries(console, ledger, hospital)
    if options.images is not None:
        pages.show_accuracy(console, ledger, examinations)
    pages.show_example(console, options.out, hospital, ledger)
    return verdict.adds_up and ledger.settled


async def send(
    examinations: list[Examination], hospital: Hospital, mllp_port: int, dicom_port: int, progress: Progress
) -> None:
    """The day at the hospital: orders by MLLP, images by DIMSE, and word from the RIS when an examination is done."""
    feed = Hl7Feed("127.0.0.1", mllp_port)
    modality = Modality("127.0.0.1", dicom_port)
    ordering = progress.add_task("orders sent (HL7)", total=len(examinations))
    imaging = progress.add_task("examinations sent (DICOM)", total=len(examinations))
    for number, examination in enumerate(examinations):
        hospital.ehr.add_patient(examination.order)
        hospital.ris.reading_list.add(examination.order)
        if examination.ordered:
            name = f"RIS{number:05d}N"
            await feed.send(name, examination.compose(examination.order, name, datetime.now(UTC)))
        progress.advance(ordering)
    for number, examination in enumerate(examinations):
        await _examine(number, examination, feed, modality)
        progress.advance(imaging)
    await feed.close()


async def _examine(number: int, examination: Examination, feed: Hl7Feed, modality: Modality) -> None:
    images = await asyncio.to_thread(examination.images)
    if examination.reported:
        name = f"RIS{number:05d}R"
        await feed.send(name, oru_r01(examination.order, name, datetime.now(UTC), ["Read at the bedside."]))
    if not images:
        return
    await asyncio.to_thread(modality.send, images)
    if examination.ordered:
        name = f"RIS{number:05d}C"
        done = examination.compose(examination.order, name, datetime.now(UTC), control="XO", status="CM")
        await feed.send(name, done)


async def _reconcile(stub: "LedgerServiceAsyncStub", hospital: Hospital, attempts: int = 10) -> ReconcileResponse:
    """The ledger's own check against the peers' receipts; its read model may be a moment behind."""
    verdict = ReconcileResponse()
    for _ in range(attempts):
        verdict = await stub.Reconcile(ReconcileRequest(receipts=hospital.receipt_lines()), timeout=30.0)
        if verdict.adds_up:
            break
        await asyncio.sleep(0.5)
    return verdict


def _write_ledger(out: Path, ledger: Ledger, verdict: ReconcileResponse) -> None:
    entries = [MessageToDict(entry, preserving_proto_field_name=True) for entry in ledger.entries]
    (out / "ledger.json").write_text(json.dumps(entries, indent=1, ensure_ascii=False))
    checks = MessageToDict(verdict, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    (out / "reconcile.json").write_text(json.dumps(checks, indent=1, ensure_ascii=False))
