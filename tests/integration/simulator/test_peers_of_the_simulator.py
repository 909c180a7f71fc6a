"""The simulated hospital against real peers: what it says on each wire is what others say too."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import hl7
import httpx
import numpy as np
import pytest
from hl7.mllp import open_hl7_connection
from pydicom import dcmread

from hilum.errors import Unavailable
from hilum.simulator.ehr import Ehr
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.messages import orm_o01
from hilum.simulator.modality import Modality
from hilum.simulator.orders import example_order
from hilum.simulator.pacs import Pacs
from hilum.simulator.radiographs import radiograph
from hilum.simulator.ris import Ris
from hilum.simulator.script import Act, Script, Step
from peers.storescp import StoreScp

pytestmark = pytest.mark.peers
AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
ORDER = example_order(3, AT)
PIXELS = (np.arange(64 * 64, dtype=np.uint16) % 4096).reshape(64, 64)


@pytest.fixture
async def ris() -> AsyncIterator[Ris]:
    server = Ris()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def ehr() -> AsyncIterator[Ehr]:
    server = Ehr()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Pacs]:
    server = Pacs(tmp_path / "pacs")
    server.start()
    yield server
    server.stop()


def priority_message(control_id: str, priority: str) -> bytes:
    return orm_o01(ORDER, control_id, AT, control="XO").replace(b"^^R|", b"^^" + priority.encode() + b"|")


async def test_the_ris_answers_a_client_of_another_maker_and_re_ranks(ris: Ris) -> None:
    ris.reading_list.add(ORDER)
    reader, writer = await open_hl7_connection("127.0.0.1", ris.port)
    writer.writemessage(hl7.parse(priority_message("C1", "S").decode()))
    await writer.drain()
    answer = await asyncio.wait_for(reader.readmessage(), 5)
    writer.close()
    await writer.wait_closed()
    assert str(answer.segment("MSA")[1]) == "AA"
    assert str(answer.segment("MSA")[2]) == "C1"
    [entry] = ris.reading_list.in_order()
    assert entry.priority == "S"


@pytest.mark.parametrize("act", [Act.DROP_BEFORE, Act.DROP_AFTER, Act.WRONG_ID, Act.SILENT])
async def test_a_feed_sends_again_until_its_own_message_is_acknowledged(ris: Ris, act: Act) -> None:
    ris.script.then(Step(act))
    feed = Hl7Feed("127.0.0.1", ris.port, answer_seconds=0.5, retry_seconds=0.01)
    sent = await feed.send("C1", priority_message("C1", "S"))
    await feed.close()
    assert sent.accepted
    assert (sent.transmissions, feed.retransmissions) == (2, 1)
    assert ris.receipts.count("effect") == 1
    assert ris.receipts.count("repeat") == (0 if act is Act.DROP_BEFORE else 1)


async def test_a_feed_does_not_insist_on_what_was_refused(ris: Ris) -> None:
    ris.script.then(Step(Act.REFUSE, code="AE"))
    feed = Hl7Feed("127.0.0.1", ris.port)
    sent = await feed.send("C1", priority_message("C1", "S"))
    await feed.close()
    assert (sent.accepted, sent.transmissions) == (False, 1)


async def test_a_feed_gives_up_where_nobody_listens() -> None:
    feed = Hl7Feed("127.0.0.1", 1, attempts=2, retry_seconds=0.01)
    with pytest.raises(Unavailable):
        await feed.send("C1", b"MSH|")


async def test_the_ehr_serves_transactions_searches_and_versions(ehr: Ehr) -> None:
    ehr.add_patient(ORDER)
    async with httpx.AsyncClient(base_url=ehr.url) as client:
        statement = (await client.get("/metadata")).json()
        found = (await client.get("/Patient", params={"identifier": f"urn:hilum:patient|{ORDER.patient_id}"})).json()
        logical_id = found["entry"][0]["resource"]["id"]
        read = await client.get(f"/Patient/{logical_id}")
        missing = await client.get("/Patient/unknown")
    assert statement["fhirVersion"] == "4.0.1"
    assert read.headers["ETag"] == 'W/"1"'
    assert read.json()["birthDate"] == ORDER.birth_date.isoformat()
    assert missing.status_code == 404
    assert missing.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("act", [Act.DROP_BEFORE, Act.DROP_AFTER])
async def test_the_ehr_can_break_a_connection(ehr: Ehr, act: Act) -> None:
    ehr.script.then(Step(act))
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": []}
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(ehr.url, json=bundle)
        assert (await client.post(ehr.url, json=bundle)).status_code == 200


async def test_the_ehr_answers_what_is_no_transaction(ehr: Ehr) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.post(ehr.url, content=b"{")).status_code == 400
        assert (await client.post(ehr.url, json={"resourceType": "Patient"})).status_code == 400


def test_the_pacs_keeps_what_storescu_sends_once(pacs: Pacs, tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    sent = radiograph(ORDER, PIXELS, AT, bits_stored=12)
    sent.save_as(path, enforce_file_format=True)
    for _ in range(2):
        arguments = ["storescu", "-aec", pacs.ae_title, "127.0.0.1", str(pacs.port), str(path)]
        subprocess.run(arguments, check=True, timeout=30)
    [file] = pacs.files()
    assert np.array_equal(dcmread(file).pixel_array, PIXELS)
    assert [receipt.outcome for receipt in pacs.receipts] == ["effect", "repeat"]


@pytest.mark.parametrize(("act", "repeats"), [(Act.REFUSE, 0), (Act.DROP_BEFORE, 0), (Act.DROP_AFTER, 1)])
def test_a_modality_sends_again_what_was_not_taken(pacs: Pacs, act: Act, repeats: int) -> None:
    pacs.script.then(Step(act))
    modality = Modality("127.0.0.1", pacs.port, pacs.ae_title, retry_seconds=0.01)
    image = radiograph(ORDER, PIXELS, AT, bits_stored=12)
    modality.send([image])
    assert modality.accepted == [image.SOPInstanceUID]
    assert len(pacs.files()) == 1
    assert pacs.receipts.count("repeat") == repeats


def test_a_modality_sends_to_storescp(storescp: StoreScp) -> None:
    orders = [example_order(n, AT) for n in range(3)]
    Modality("127.0.0.1", storescp.port, storescp.ae_title).send(
        radiograph(order, PIXELS, AT, bits_stored=12) for order in orders
    )
    assert len(storescp.files()) == 3


@pytest.mark.parametrize("modality", ["DX", "CR"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_radiograph_conforms_to_its_object(modality: str, photometric: str, tmp_path: Path) -> None:
    image = radiograph(replace(ORDER, modality=modality), PIXELS, AT, bits_stored=12, photometric=photometric)
    image.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    run = subprocess.run(
        ["dciodvfy", str(tmp_path / "one.dcm")], capture_output=True, text=True, timeout=30, check=False
    )
    errors = [line for line in run.stderr.splitlines() if line.startswith("Error")]
    assert errors == []


async def test_an_abnormal_finding_is_a_reason_to_re_rank(ris: Ris) -> None:
    ris.reading_list.add(ORDER)
    result = (
        "MSH|^~\\&|HILUM||RIS||20260301||ORU^R01^ORU_R01|R1|P|2.5.1\r"
        f"OBR|1||AI1^HILUM|px^Pneumothorax^L||||||||||||||{ORDER.accession_number}|||||||P\r"
        "OBX|1|CWE|36118008^Pneumothorax^SCT|1|52101004^Present^SCT|||AA|||P\r"
    )
    feed = Hl7Feed("127.0.0.1", ris.port)
    assert (await feed.send("R1", result.encode())).accepted
    await feed.close()
    [entry] = ris.reading_list.in_order()
    assert (entry.priority, entry.flags) == ("S", ["Pneumothorax"])


async def test_a_refusal_of_the_ris_is_scripted_in_order() -> None:
    script = Script(Step(Act.REFUSE, code="AR"), Step())
    server = Ris(script=script)
    await server.start()
    feed = Hl7Feed("127.0.0.1", server.port, retry_seconds=0.01)
    sent = await feed.send("C1", priority_message("C1", "A"))
    await feed.close()
    await server.stop()
    assert (sent.accepted, sent.transmissions) == (True, 2)
