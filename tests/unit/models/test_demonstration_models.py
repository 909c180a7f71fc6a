"""The two committed packages: sound, small, honest in their cards, and as good as their cards say."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hilum.ids import derived_uid
from hilum.inference.adapters.contracts import engine_spec
from hilum.inference.adapters.worker import load_engine
from hilum.inference.domain import probabilities_of
from hilum.inference.engines.port import Engine
from hilum.inference.preprocessing import Pixels, prepare
from hilum.packages import ModelPackage, load, load_all
from hilum.simulator.phantoms import draw

MODELS = Path(__file__).resolve().parents[3] / "models"
NAMES = ("pneumonia-paediatric", "pneumothorax-phantom")


def probability(package: ModelPackage, engine: Engine, values: Pixels) -> float:
    spec = engine_spec(package)
    tensor, _ = prepare(values, rows=spec.rows, columns=spec.columns, fit=spec.fit, mean=spec.mean, std=spec.std)
    return float(probabilities_of(engine.run({spec.input: tensor})[spec.probability], spec.points)[0])


def test_both_packages_load() -> None:
    assert tuple(package.name for package in load_all(MODELS)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_is_small_takes_batches_and_gives_its_map(name: str) -> None:
    package = load(MODELS / name)
    assert package.engine_path.stat().st_size <= 5_000_000
    engine = load_engine(engine_spec(package), 1)
    _, _, rows, columns = package.engine.shape
    outputs = engine.run({"image": np.zeros((3, 1, rows, columns), np.float32)})
    assert outputs["prob"].shape == (3, 1)
    assert outputs["cam"].shape == (3, 1, rows // 8, columns // 8)
    assert 0 <= outputs["cam"].min() <= outputs["cam"].max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_the_device_is_this_engine_and_no_other(name: str) -> None:
    package = load(MODELS / name)
    assert package.device.uid == derived_uid("model", package.name, package.engine.sha256)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_was_measured_on_this_engine(name: str) -> None:
    package = load(MODELS / name)
    card = package.card_path.read_text()
    measured = json.loads((package.folder / "measured.json").read_text())
    assert measured["engine_sha256"] == package.engine.sha256
    assert measured["threshold"] == package.findings[0].threshold
    assert "Demonstration. Not for clinical use." in card
    for figure in ("auc", "sensitivity", "specificity"):
        value = measured[figure]
        assert f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})" in card


def test_the_phantom_model_reads_phantoms_that_it_never_saw() -> None:
    package = load(MODELS / "pneumothorax-phantom")
    engine = load_engine(engine_spec(package), 1)
    right = 0
    for seed in range(4_000_000, 4_000_030):
        phantom = draw(seed)
        right += (probability(package, engine, phantom.display) >= 0.5) == phantom.truth.pneumothorax
    assert right >= 26


def test_the_unseen_list_is_long_and_holds_both_classes() -> None:
    with (MODELS / "pneumonia-paediatric/unseen.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["file"] for row in rows}) == len(rows) >= 200
    labels = [row["label"] for row in rows]
    assert min(labels.count("pneumonia"), labels.count("normal")) >= 100


def test_no_child_of_the_unseen_list_was_trained_on(shared_data: Path) -> None:
    """The split is by patient: the other images of these children are on the list too, all of them."""
    with (MODELS / "pneumonia-paediatric/unseen.csv").open(newline="") as stream:
        unseen = {row["file"] for row in csv.DictReader(stream)}
    with (shared_data / "cxr/paediatric/labels.csv").open(newline="") as stream:
        patients = {row["file"]: row["patient"] for row in csv.DictReader(stream)}
    children = {patients[file] for file in unseen}
    assert {file for file, patient in patients.items() if patient in children} == unseen


def test_the_paediatric_model_reads_children_that_it_never_saw(shared_data: Path) -> None:
    package = load(MODELS / "pneumonia-paediatric")
    engine = load_engine(engine_spec(package), 1)
    with (package.folder / "unseen.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))[::5]
    right = 0
    for row in rows:
        with Image.open(shared_data / "cxr/paediatric" / row["file"]) as image:
            values = np.asarray(image.convert("L"), np.float32) / 255
        right += (probability(package, engine, values) >= 0.5) == (row["label"] == "pneumonia")
    assert right >= 0.85 * len(rows)
