"""Wrong use ends with 2 and one line; what nobody foresaw ends with 1 and one line, never with a trace."""

import stat
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from datasets.images import image
from hilum.cli import showing
from hilum.cli.commands import app


def hilum(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    file = tmp_path / "chest.dcm"
    image(np.zeros((16, 16)), bits_stored=8, SOPInstanceUID="1.2.3.1", Modality="DX").save_as(
        file, enforce_file_format=True
    )
    return file


@pytest.fixture
def message(tmp_path: Path) -> Path:
    file = tmp_path / "order.hl7"
    file.write_bytes(b"MSH|^~\\&|RIS|SITE|||20260302||ORM^O01|M1|P|2.3\r")
    return file


def assert_wrong_use(result: Result, code: str) -> None:
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith(f"{code}: ")


@pytest.mark.parametrize("option", ["--ae-title", "--calling-ae-title"])
def test_an_ae_title_that_is_too_long(option: str, chest: Path) -> None:
    assert_wrong_use(hilum("send", "dicom", chest, option, "TOOLONGAETITLE1234567"), "ae_title_invalid")


@pytest.mark.parametrize("host", ["", "a..b", "a" * 64 + ".example"])
def test_a_host_that_is_no_name(host: str, message: Path) -> None:
    assert_wrong_use(hilum("send", "hl7", message, "--host", host), "host_invalid")


def test_a_host_that_is_no_name_for_images(chest: Path) -> None:
    assert_wrong_use(hilum("send", "dicom", chest, "--host", "a" * 64 + ".example"), "host_invalid")


@pytest.mark.parametrize("kind", ["hl7", "dicom"])
def test_nobody_listens_at_port_0(kind: str, chest: Path, message: Path) -> None:
    result = hilum("send", kind, chest if kind == "dicom" else message, "--port", 0)

    assert result.exit_code == 2
    assert "--port" in result.stderr


def test_receipts_that_are_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "receipts.jsonl"
    file.write_bytes(b"\xff\xfe")

    assert_wrong_use(hilum("ledger", "reconcile", "--receipts", file, "--state", tmp_path), "receipts_unreadable")


def test_a_file_that_cannot_be_read(message: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    message.chmod(stat.S_IWUSR)
    monkeypatch.setattr(Path, "read_bytes", refuse)  # whoever runs this may be allowed to read everything

    assert_wrong_use(hilum("send", "hl7", message), "file_unreadable")


def test_what_nobody_foresaw_is_one_line_without_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_state: Path) -> None:
        raise ExceptionGroup("tasks", [ValueError("MUELLER^ANNA")])

    monkeypatch.setattr(showing.books, "worklist", fail)

    result = hilum("worklist", "--state", tmp_path)

    assert result.exit_code == 1
    assert [line.split(" at ")[0] for line in result.stderr.splitlines()] == ["unexpected: ValueError"]
    assert "MUELLER" not in result.output
