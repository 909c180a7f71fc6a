"""The command line against a running system: sending, serving, draining."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from click.testing import Result
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from typer.testing import CliRunner

from hilum.cli.commands import app
from hilum.embedded import Options, Running, running

ORDER = (
    b"MSH|^~\\&|RIS|HOSPITAL|HILUM|SITE|20260302080000||ORM^O01|C1|P|2.3.1\n"
    b"PID|1||P7^^^HOSPITAL^MR||Doe^Jane||19700101|F\n"
    b"ORC|NW|PL7|FI7||SC\n"
    b"OBR|1|PL7|FI7|71046^Chest^C4||||||||||||||ACC7||||||DX\n"
)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[Running]:
    options = Options(
        state=tmp_path / "state",
        mllp_port=0,
        dicom_port=0,
        grpc_port=0,
        http_port=0,
        services=("ingest", "imaging"),
    )
    async with running(options) as hilum:
        yield hilum


async def hilum(*arguments: object) -> Result:
    def invoke() -> Result:
        return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)

    return await asyncio.to_thread(invoke)


def image(path: Path, number: int) -> None:
    instance = Dataset()
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.SOPClassUID = instance.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    instance.StudyInstanceUID, instance.SeriesInstanceUID = "1.2.3", "1.2.3.0"
    instance.PatientID, instance.PatientName, instance.Modality = "P1", "Doe^Jane", "OT"
    instance.save_as(path, enforce_file_format=True)


async def test_messages_are_sent_and_each_acknowledgement_printed(system: Running, tmp_path: Path) -> None:
    one, other = tmp_path / "one.hl7", tmp_path / "two [b].hl7"
    one.write_bytes(ORDER)
    other.write_bytes(ORDER.replace(b"|C1|", b"|C2|") + ORDER.replace(b"|C1|", b"|C3|"))

    result = await hilum("send", "hl7", one, other, "--port", system.mllp_port)

    assert result.exit_code == 0
    assert result.stdout.split("\n")[:3] == [f"AA {one}", f"AA {other}", f"AA {other}"]


async def test_sending_exits_1_when_one_is_refused(system: Running, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.hl7", tmp_path / "bad.hl7"
    good.write_bytes(ORDER)
    bad.write_bytes(b"not HL7")

    result = await hilum("send", "hl7", bad, good, "--port", system.mllp_port, "--json")

    assert result.exit_code == 1
    assert [one["code"] for one in json.loads(result.stdout)] == ["AE", "AA"]


async def test_sending_exits_1_when_nobody_listens(tmp_path: Path, free_port: Callable[[], int]) -> None:
    file = tmp_path / "good.hl7"
    file.write_bytes(ORDER)

    result = await hilum("send", "hl7", file, "--port", free_port())

    assert result.exit_code == 1
    assert "no_answer" in result.stdout


async def test_images_are_sent_and_what_is_none_is_named(system: Running, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    image(folder / "a.dcm", 1)
    image(folder / "deep" / "b.dcm", 2)

    assert (await hilum("send", "dicom", folder, "--port", system.dicom_port)).exit_code == 0

    (folder / "notes.txt").write_text("no image")
    result = await hilum("send", "dicom", folder, "--port", system.dicom_port, "--json")
    assert result.exit_code == 1
    told = {Path(one["file"]).name: one["status"] for one in json.loads(result.stdout)}
    assert told == {"a.dcm": "0000", "b.dcm": "0000", "notes.txt": ""}


# pynetdicom drops the socket of a connection that was refused without closing it.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
async def test_an_archive_that_is_away_is_told(tmp_path: Path, free_port: Callable[[], int]) -> None:
    image(tmp_path / "a.dcm", 1)

    result = await hilum("send", "dicom", tmp_path, "--port", free_port())

    assert result.exit_code == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_tells_where_it_listens_and_drains_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ["serve", "ingest", "ledger", "--state", str(tmp_path), "--mllp-port", "0"]
    arguments += ["--grpc-port", "0", "--http-port", "0"]
    command = [sys.executable, "-c", "from hilum.cli import main; main()", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            if line.startswith("ready"):
                break
        process.send_signal(number)
        process.stderr.read()
        assert process.wait(30) == 0
    assert any(line.startswith("MLLP") for line in told)
    assert any(line.startswith("gRPC ledger") for line in told)
