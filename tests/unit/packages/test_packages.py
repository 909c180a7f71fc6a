"""Model packages: what is refused, that every fault is listed, and that the published schema is current."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hilum.errors import Rejected
from hilum.packages import OutputKind, Use, load, load_all, model_schema

REPOSITORY = Path(__file__).resolve().parents[3]
ENGINE = b"an engine"


def manifest(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "schema": 1,
        "name": "example",
        "version": "1.0.0",
        "title": "An example",
        "use": "detection",
        "outputs": ["priority", "finding", "probability", "absent", "localisation"],
        "notice": "Demonstration. Not for clinical use.",
        "card": "CARD.md",
        "device": {"manufacturer": "Hilum", "model_name": "example", "uid": "2.25.1"},
        "engine": {
            "file": "model.onnx",
            "sha256": hashlib.sha256(ENGINE).hexdigest(),
            "input": "image",
            "shape": [1, 1, 64, 64],
            "outputs": {"probability": "prob", "activation": "cam"},
        },
        "preprocessing": {"rows": 64, "columns": 64, "fit": "pad", "mean": 0.5, "std": 0.25},
        "eligibility": {
            "study": [
                {"id": "modality", "field": "order.modality", "op": "in", "value": ["CR", "DX"], "missing": "pass"}
            ],
            "instance": [
                {"id": "age", "field": "dicom.PatientAgeYears", "op": "at_most", "value": 17, "missing": "fail"}
            ],
        },
        "findings": [
            {
                "id": "pneumothorax",
                "index": 0,
                "code": {"system": "http://snomed.info/sct", "code": "36118008", "display": "Pneumothorax"},
                "threshold": 0.5,
                "priority": "S",
            }
        ],
        "useful_minutes": 720,
    }
    return base | changes


def written(folder: Path, content: dict[str, Any] | str, engine: bytes = ENGINE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "model.yaml").write_text(text)
    (folder / "model.onnx").write_bytes(engine)
    (folder / "CARD.md").write_text("A card.")
    return folder


def faults(folder: Path, content: dict[str, Any] | str, engine: bytes = ENGINE) -> str:
    with pytest.raises(Rejected) as caught:
        load(written(folder, content, engine))
    assert caught.value.code == "model_package_invalid"
    return caught.value.text


def test_a_sound_package_loads_with_its_files_and_digest(tmp_path: Path) -> None:
    package = load(written(tmp_path / "a", manifest()))
    assert package.use is Use.DETECTION
    assert package.engine_path.read_bytes() == ENGINE
    assert package.finding("pneumothorax").code.code == "36118008"
    assert package.may_emit(OutputKind.ABSENT)
    assert not package.may_emit(OutputKind.NOTIFICATION)
    assert len(package.digest) == 64


def test_the_digest_changes_with_the_manifest_and_with_the_engine(tmp_path: Path) -> None:
    other = b"another engine"
    engine = manifest()["engine"] | {"sha256": hashlib.sha256(other).hexdigest()}
    digests = {
        load(written(tmp_path / "a", manifest())).digest,
        load(written(tmp_path / "b", manifest(title="Another"))).digest,
        load(written(tmp_path / "c", manifest(engine=engine), other)).digest,
    }
    assert len(digests) == 3


def test_a_package_is_frozen(tmp_path: Path) -> None:
    package = load(written(tmp_path / "a", manifest()))
    with pytest.raises(ValueError, match="frozen"):
        package.name = "other"


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    finding = manifest()["findings"][0]
    content = manifest(
        name="Not A Name",
        version="1.0",
        surplus=1,
        card="missing.md",
        preprocessing={"rows": 32, "columns": 64, "fit": "pad", "mean": 0.5, "std": 0.25},
        findings=[finding, finding | {"index": 0, "id": "other"}],
    )
    text = faults(tmp_path / "a", content, b"tampered")
    spanning = ("preprocessing:", "index 0 is used twice", "engine.sha256")
    for expected in ("name:", "version:", "surplus:", "card:", *spanning):
        assert expected in text


@pytest.mark.parametrize("beyond", ["finding", "probability", "absent", "localisation"])
def test_triage_declares_only_priority_and_notification(tmp_path: Path, beyond: str) -> None:
    assert beyond in faults(tmp_path / "a", manifest(use="triage", outputs=["priority", beyond]))


def test_triage_with_priority_and_notification_loads(tmp_path: Path) -> None:
    assert load(written(tmp_path / "a", manifest(use="triage", outputs=["priority", "notification"]))).use is Use.TRIAGE


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"outputs": ["priority", "probability"]}, "must declare finding"),
        ({"outputs": ["finding", "finding", "priority"]}, "listed twice"),
        ({"outputs": ["finding"]}, "asks for a priority"),
        ({"outputs": []}, "outputs"),
        ({"use": "screening"}, "use:"),
        ({"useful_minutes": 0}, "useful_minutes"),
        ({"useful_minutes": "720"}, "useful_minutes"),
        ({"schema": 2}, "schema"),
        ({"notice": ""}, "notice"),
        ({"device": {"manufacturer": "Hilum", "model_name": "m", "uid": "2.25.01"}}, "device.uid"),
        ({"card": "../CARD.md"}, "card"),
    ],
)
def test_a_broken_field_is_named(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    assert fault in faults(tmp_path / "a", manifest(**change))


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"id": "a", "field": "dicom.Modality", "op": "in", "value": "CR", "missing": "pass"}, "a list of texts"),
        ({"id": "a", "field": "dicom.Rows", "op": "at_least", "value": "many", "missing": "pass"}, "a number"),
        ({"id": "a", "field": "dicom.Rows", "op": "present", "value": 1, "missing": "pass"}, "no value"),
        ({"id": "a", "field": "dicom.Rows", "op": "near", "value": 1, "missing": "pass"}, "op"),
        ({"id": "a", "field": "order.modality", "op": "present", "missing": "pass"}, "expected dicom.*"),
        ({"id": "a", "field": "dicom.Rows", "op": "present"}, "missing"),
    ],
)
def test_a_rule_must_make_sense(tmp_path: Path, rule: dict[str, Any], fault: str) -> None:
    assert fault in faults(tmp_path / "a", manifest(eligibility={"instance": [rule]}))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- a list", "not a mapping"),
        ("name: [unclosed", "not YAML"),
        ("name: a\nname: b\n", "given twice"),
        ("a: &x [1]\nb: *x\n", "aliases are not allowed"),
        ("1: a\n", "a key is not text"),
        ("a: 2026-13-77\n", "not YAML"),
        ("", "not a mapping"),
    ],
)
def test_a_file_that_is_no_plain_yaml_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    assert fault in faults(tmp_path / "a", text)


def test_a_manifest_of_bytes_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "a", "x: 1")
    (folder / "model.yaml").write_bytes(b"name: \x81\xff")
    with pytest.raises(Rejected, match="not YAML"):
        load(folder)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="cannot be read"):
        load(tmp_path)


def test_load_all_lists_the_faults_of_every_package(tmp_path: Path) -> None:
    written(tmp_path / "good", manifest())
    written(tmp_path / "bad", manifest(name="bad", use="x"))
    written(tmp_path / "worse", manifest(name="worse", version="x"))
    with pytest.raises(Rejected) as caught:
        load_all(tmp_path)
    assert "bad: use" in caught.value.text
    assert "worse: version" in caught.value.text


def test_one_name_and_version_may_stand_only_once(tmp_path: Path) -> None:
    written(tmp_path / "one", manifest())
    written(tmp_path / "two", manifest())
    with pytest.raises(Rejected, match=r"two: example 1\.0\.0 is also in one"):
        load_all(tmp_path)


def test_load_all_passes_over_folders_that_are_no_package(tmp_path: Path) -> None:
    written(tmp_path / "one", manifest())
    (tmp_path / "notes").mkdir()
    assert [package.name for package in load_all(tmp_path)] == ["example"]


def test_the_published_schema_is_current() -> None:
    published = json.loads((REPOSITORY / "docs/schemas/model.schema.json").read_text())
    assert published == model_schema(), "run: python -m hilum.packages.schema > docs/schemas/model.schema.json"


def test_the_schema_accepts_a_sound_manifest_and_refuses_a_broken_one() -> None:
    jsonschema.validate(manifest(), model_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest(use="screening"), model_schema())
