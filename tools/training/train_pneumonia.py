"""Train models/pneumonia-paediatric on the published paediatric radiographs (Kermany et al. 2018, CC BY 4.0).

    PYTHONPATH=services nice python3 tools/training/train_pneumonia.py --data DIR

with Debian's python3-torch. DIR holds the JPEG files and labels.csv (file, patient, label). Patients are
split by a digest of their name, so the split is the same on every machine; ``unseen.csv`` lists the
images of those that no training or choice of threshold ever saw.
"""

import argparse
import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from network import EvidenceNet, area_under_curve, export, probabilities, train
from packaging import write_manifest
from PIL import Image
from torch.nn import functional

from hilum.inference.preprocessing import prepare

PACKAGE = Path(__file__).resolve().parents[2] / "models/pneumonia-paediatric"
SIDE = 160
NORMALISE = (0.48, 0.24)
UNSEEN_A_CLASS = 150
VALIDATION_SHARE = 0.12


@dataclass(frozen=True)
class Radiograph:
    file: str
    patient: str
    label: str


def read_labels(data: Path) -> list[Radiograph]:
    with (data / "labels.csv").open(newline="", encoding="utf-8") as stream:
        return [Radiograph(row["file"], row["patient"], row["label"]) for row in csv.DictReader(stream)]


def split(radiographs: list[Radiograph]) -> tuple[list[Radiograph], list[Radiograph], list[Radiograph]]:
    """(training, validation, unseen), whole patients each; unseen holds about as many of either class."""
    by_patient: dict[str, list[Radiograph]] = {}
    for radiograph in radiographs:
        by_patient.setdefault(radiograph.patient, []).append(radiograph)
    order = sorted(by_patient, key=lambda patient: hashlib.sha256(patient.encode()).hexdigest())
    unseen: list[Radiograph] = []
    rest: list[str] = []
    for patient in order:
        label = by_patient[patient][0].label
        if sum(r.label == label for r in unseen) < UNSEEN_A_CLASS:
            unseen += by_patient[patient]
        else:
            rest.append(patient)
    cut = int(len(rest) * VALIDATION_SHARE)
    validation = [r for patient in rest[:cut] for r in by_patient[patient]]
    training = [r for patient in rest[cut:] for r in by_patient[patient]]
    return training, validation, unseen


def tensors(data: Path, radiographs: list[Radiograph]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as served (uint8) and labels."""
    images = []
    for radiograph in radiographs:
        with Image.open(data / radiograph.file) as image:
            values = np.asarray(image.convert("L"), np.float32) / 255
        tensor, _ = prepare(values, rows=SIDE, columns=SIDE, fit="stretch", mean=0.0, std=1.0)
        images.append(np.rint(tensor[0, 0] * 255).astype(np.uint8))
    labels = np.float32([radiograph.label == "pneumonia" for radiograph in radiographs])
    return torch.from_numpy(np.stack(images)), torch.from_numpy(labels)


def augment(image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Small turns, shifts and zooms, tone, sharpness and noise: what differs between rooms more than between lungs."""
    count = len(image)
    angle = torch.empty(count).normal_(0, 0.06)
    zoom = torch.empty(count).uniform_(0.88, 1.08)
    aspect = torch.empty(count).uniform_(0.92, 1.08)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = torch.cos(angle) * zoom * aspect, -torch.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = torch.sin(angle), torch.cos(angle) * zoom / aspect
    theta[:, :, 2] = torch.empty(count, 2).uniform_(-0.06, 0.06)
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    image = functional.grid_sample(image, grid, align_corners=False, padding_mode="border").clamp(0, 1)
    image = image ** torch.exp(torch.empty(count, 1, 1, 1).uniform_(-0.3, 0.3))
    softened = functional.avg_pool2d(image, 3, 1, 1, count_include_pad=False)
    share = torch.empty(count, 1, 1, 1).uniform_(-0.4, 0.8)
    image = image + share * (softened - image)
    return (image + 0.03 * torch.rand(count, 1, 1, 1) * torch.randn_like(image)).clamp(0, 1), mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.manual_seed(11)
    torch.set_num_threads(arguments.threads)

    training, validation, unseen = split(read_labels(arguments.data))
    print(f"training {len(training)}, validation {len(validation)}, unseen {len(unseen)} images")
    PACKAGE.mkdir(parents=True, exist_ok=True)
    with (PACKAGE / "unseen.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "label"))
        writer.writerows(sorted((r.file, r.label) for r in unseen))
    images, labels = tensors(arguments.data, training)
    held_images, held_labels = tensors(arguments.data, validation)

    def validate(network: EvidenceNet) -> str:
        scores = probabilities(network, held_images, NORMALISE)
        return f"validation AUC {area_under_curve(held_labels.numpy(), scores):.4f}"

    network = EvidenceNet(sharpness=1.5)
    train(network, images, labels, normalise=NORMALISE, augment=augment, epochs=arguments.epochs, validate=validate)
    scores = probabilities(network, held_images, NORMALISE)
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7):
        sensitivity = (scores[held_labels.numpy() > 0.5] >= threshold).mean()
        specificity = (scores[held_labels.numpy() < 0.5] < threshold).mean()
        print(f"validation at {threshold}: sensitivity {sensitivity:.3f}, specificity {specificity:.3f}")
    export(network, PACKAGE / "model.onnx", SIDE, SIDE)
    write_manifest(PACKAGE)


if __name__ == "__main__":
    main()
