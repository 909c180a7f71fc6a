"""Measure a demonstration model by the serving path, on what it never saw; writes models/NAME/measured.json.

    .venv/bin/python tools/training/measure.py pneumothorax-phantom
    .venv/bin/python tools/training/measure.py pneumonia-paediatric --data DIR

Sensitivity and specificity with Wilson 95 % intervals; AUC with a bootstrap 95 % interval that
resamples patients (a phantom is its own patient).
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import binomtest, rankdata

from hilum.inference.adapters.contracts import engine_spec
from hilum.inference.adapters.worker import load_engine
from hilum.inference.domain import box_of, probabilities_of, state_of
from hilum.inference.preprocessing import prepare
from hilum.packages import load
from hilum.simulator.phantoms import draw

MODELS = Path(__file__).resolve().parents[2] / "models"
UNSEEN_SEEDS = range(3_000_000, 3_000_800)


@dataclass(frozen=True)
class Case:
    patient: str
    group: str
    positive: bool
    values: np.ndarray
    truth: np.ndarray | None = None


def phantoms() -> Iterator[Case]:
    for seed in UNSEEN_SEEDS:
        phantom = draw(seed, rows=512, columns=512)
        yield Case(str(seed), phantom.kind.value, phantom.truth.pneumothorax, phantom.display, phantom.truth.mask)


def radiographs(data: Path, unseen: Path) -> Iterator[Case]:
    with (data / "labels.csv").open(newline="", encoding="utf-8") as stream:
        patients = {row["file"]: row["patient"] for row in csv.DictReader(stream)}
    with unseen.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        with Image.open(data / row["file"]) as image:
            values = np.asarray(image.convert("L"), np.float32) / 255
        yield Case(patients[row["file"]], "all", row["label"] == "pneumonia", values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=["pneumothorax-phantom", "pneumonia-paediatric"])
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    folder = MODELS / arguments.model
    if arguments.model == "pneumothorax-phantom":
        cases = phantoms()
    elif arguments.data is not None:
        cases = radiographs(arguments.data, folder / "unseen.csv")
    else:
        parser.error("--data is needed for this model")
    measured = measure(folder, cases)
    (folder / "measured.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(measured, indent=2))


def measure(folder: Path, cases: Iterator[Case]) -> dict[str, Any]:
    """Every figure of the card."""
    package = load(folder)
    spec = engine_spec(package)
    engine, point = load_engine(spec, 2), spec.points[0]
    patients, groups, labels, scores, states, hits, overlaps = [], [], [], [], [], [], []
    for case in cases:
        tensor, placement = prepare(
            case.values, rows=spec.rows, columns=spec.columns, fit=spec.fit, mean=spec.mean, std=spec.std
        )
        outputs = engine.run({spec.input: tensor})
        probability = float(probabilities_of(outputs[spec.probability], spec.points)[point.index])
        patients.append(case.patient)
        groups.append(case.group)
        labels.append(case.positive)
        scores.append(probability)
        states.append(state_of(probability, point).value)
        if case.truth is not None and case.positive and case.truth.any():
            activation = outputs[spec.activation][0, 0]
            hits.append(_points_at(activation, placement, case.truth, spec.rows, spec.columns))
            box = box_of(activation, placement, spec.rows, spec.columns)
            overlaps.append(box is not None and bool(case.truth[box.row0 : box.row1, box.column0 : box.column1].any()))
    truth, score = np.array(labels), np.array(scores)
    present = score >= point.threshold
    figures: dict[str, Any] = {
        "model": package.name,
        "version": package.version,
        "engine_sha256": package.engine.sha256,
        "threshold": point.threshold,
        "images": len(truth),
        "patients": len(set(patients)),
        "positive": int(truth.sum()),
        "auc": _auc_with_interval(truth, score, np.array(patients)),
        "sensitivity": _share(int((present & truth).sum()), int(truth.sum())),
        "specificity": _share(int((~present & ~truth).sum()), int((~truth).sum())),
    }
    if hits:
        figures["pointing_game"] = _share(sum(hits), len(hits))
        figures["box_meets_lesion"] = _share(sum(overlaps), len(overlaps))
    if len(set(groups)) > 1:
        figures["by_kind"] = {
            kind: _by_kind(truth, present, np.array([group == kind for group in groups]))
            for kind in sorted(set(groups))
        }
    return figures


def _by_kind(truth: np.ndarray, present: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
    return {
        "sensitivity": _share(int((present & truth & chosen).sum()), int((truth & chosen).sum())),
        "specificity": _share(int((~present & ~truth & chosen).sum()), int((~truth & chosen).sum())),
    }


def _points_at(activation: np.ndarray, placement: Any, truth: np.ndarray, rows: int, columns: int) -> bool:
    """The pointing game: does the centre of the hottest cell lie on the lesion, give or take half a cell?"""
    down, across = np.unravel_index(int(activation.argmax()), activation.shape)
    cell_rows, cell_columns = rows / activation.shape[0], columns / activation.shape[1]
    top, left = placement.to_source(down * cell_rows, across * cell_columns)
    bottom, right = placement.to_source((down + 1) * cell_rows, (across + 1) * cell_columns)
    return bool(truth[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))].any())


def _share(count: int, total: int) -> dict[str, Any]:
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return {
        "value": round(count / total, 4),
        "count": count,
        "of": total,
        "low": round(float(interval.low), 4),
        "high": round(float(interval.high), 4),
    }


def _auc(truth: np.ndarray, score: np.ndarray) -> float:
    positive = int(truth.sum())
    return float((rankdata(score)[truth].sum() - positive * (positive + 1) / 2) / (positive * (len(truth) - positive)))


def _auc_with_interval(truth: np.ndarray, score: np.ndarray, patients: np.ndarray) -> dict[str, float]:
    by_patient: dict[str, list[int]] = defaultdict(list)
    for index, patient in enumerate(patients):
        by_patient[patient].append(index)
    members = [np.array(indices) for indices in by_patient.values()]
    rng = np.random.default_rng(2026)
    drawn = []
    for _ in range(2000):
        chosen = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        if 0 < truth[chosen].sum() < len(chosen):
            drawn.append(_auc(truth[chosen], score[chosen]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": round(_auc(truth, score), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


if __name__ == "__main__":
    main()
