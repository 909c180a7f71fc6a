"""One trace from what made a study ready, a message or the last image, to the RIS's acknowledgement; by real OTLP."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from hilum.simulator.examinations import Examination, phantom_examinations
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.hospital import simulated_hospital
from hilum.simulator.messages import orm_o01
from hilum.simulator.modality import Modality
from peers.hilum_process import HilumProcess
from peers.otlp import Collector, collecting

SECONDS = 40.0


@pytest.fixture(scope="module")
def examinations() -> list[Examination]:
    """Two with a pneumothorax."""
    drawn = phantom_examinations(6, datetime.now(UTC), seed=3)
    return [examination for examination in drawn if examination.truth and examination.ordered][:2]


@pytest.fixture(scope="module")
def told(examinations: list[Examination], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collector, str]]:
    """Spans and log of two studies: the first becomes ready by its order's CM, the second by its last image."""
    folder = tmp_path_factory.mktemp("trace")
    with collecting() as found:
        asyncio.run(_run(found, examinations, folder))
        yield found, (folder / "hilum.log").read_text()


@pytest.fixture(scope="module")
def collector(told: tuple[Collector, str]) -> Collector:
    return told[0]


async def _run(collector: Collector, examinations: list[Examination], folder: Path) -> None:
    by_message, by_image = examinations
    async with simulated_hospital(folder / "hospital") as hospital:
        site = folder / "site.yaml"
        site.write_text(yaml.safe_dump(hospital.site()))
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        hilum = HilumProcess(folder / "state", site, folder / "hilum.log", environment=environment)
        try:
            await hilum.start()
            feed = Hl7Feed("127.0.0.1", hilum.mllp_port)
            modality = Modality("127.0.0.1", hilum.dicom_port)
            for number, examination in enumerate((by_message, by_image)):
                order = examination.order
                hospital.ehr.add_patient(order)
                hospital.ris.reading_list.add(order)
                await feed.send(f"N{number}", orm_o01(order, f"N{number}", datetime.now(UTC)))
                images = examination.images()
                if examination is not by_message:
                    for image in images:
                        image.NumberOfStudyRelatedInstances = len(images)
                await asyncio.to_thread(modality.send, images)
                if examination is by_message:
                    done = orm_o01(order, f"C{number}", datetime.now(UTC), control="XO", status="CM")
                    await feed.send(f"C{number}", done)
            await feed.close()
            until = time.monotonic() + SECONDS
            while hospital.ris.receipts.count("effect") < 2 and time.monotonic() < until:
                await asyncio.sleep(0.1)
            assert await hilum.stop() == 0  # draining exports what is left
        finally:
            hilum.end()


def _whole(collector: Collector) -> list[list[Span]]:
    """The traces that hold a delivery to the RIS."""
    return [spans for spans in collector.traces().values() if any(span.name == "deliver priority" for span in spans)]


def test_each_priority_belongs_to_one_trace_through_every_service(collector: Collector) -> None:
    whole = _whole(collector)
    assert len(whole) == 2
    for spans in whole:
        services = {span.name.split(" ")[0].split(".")[0] for span in spans}
        assert services >= {"workflow", "inference", "integration", "ledger"}


def test_one_begins_with_the_message_and_one_with_the_image(collector: Collector) -> None:
    roots = [next(span.name for span in spans if not span.parent_span_id) for spans in _whole(collector)]
    assert sorted(roots) == ["imaging stores an instance", "ingest receives mllp"]


def test_every_span_but_the_first_has_its_parent_in_the_trace(collector: Collector) -> None:
    for spans in _whole(collector):
        known = {span.span_id for span in spans}
        assert [span.name for span in spans if span.parent_span_id and span.parent_span_id not in known] == []


def test_no_span_and_no_log_line_names_a_patient(told: tuple[Collector, str], examinations: list[Examination]) -> None:
    said = "\n".join([*(str(span) for span in told[0].spans), told[1]])
    assert "integration is ready" in said
    for examination in examinations:
        order = examination.order
        family, given = order.patient_name.split("^")
        for private in (order.patient_id, family, given, order.accession_number, order.study_instance_uid):
            assert private not in said
