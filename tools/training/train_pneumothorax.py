"""Train models/pneumothorax-phantom on phantoms drawn here.

    PYTHONPATH=services nice python3 tools/training/train_pneumothorax.py [--draws FILE.npz]

with Debian's python3-torch; then measure it by the serving path: tools/training/measure_pneumothorax.py.
"""

import argparse
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from network import EvidenceNet, area_under_curve, export, probabilities, train
from packaging import write_manifest
from torch.nn import functional

from hilum.inference.preprocessing import prepare, resize
from hilum.simulator.phantoms import draw

PACKAGE = Path(__file__).resolve().parents[2] / "models/pneumothorax-phantom"
SIDE = 256
NORMALISE = (0.45, 0.27)
TRAINING_SEEDS = range(1_000_000, 1_003_200)
VALIDATION_SEEDS = range(2_000_000, 2_000_300)
DRAWN_SIDES = (320, 448, 512)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """One phantom as served (uint8) and its mask at the input's size."""
    side = DRAWN_SIDES[seed % 3]
    phantom = draw(seed, rows=side, columns=side)
    tensor, _ = prepare(phantom.display, rows=SIDE, columns=SIDE, fit="pad", mean=0.0, std=1.0)
    mask = resize(phantom.truth.mask.astype(np.float32), SIDE, SIDE) > 0.5
    return np.rint(tensor[0, 0] * 255).astype(np.uint8), mask.astype(np.uint8), phantom.truth.pneumothorax


def draws(seeds: range, processes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, masks and labels of ``seeds``."""
    with get_context("fork").Pool(processes) as pool:
        images, masks, labels = zip(*pool.imap(drawn, seeds, chunksize=16), strict=True)
    return tuple(torch.from_numpy(np.stack(part)) for part in (images, masks, np.float32(labels)))  # type: ignore[return-value]


def augment(image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror, shift, zoom a little, and vary the tone and the noise."""
    count = len(image)
    flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    zoom = torch.empty(count).uniform_(0.92, 1.08)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = flip * zoom, zoom
    theta[:, :, 2] = torch.empty(count, 2).uniform_(-0.06, 0.06)
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    image = functional.grid_sample(image, grid, align_corners=False)
    mask = (functional.grid_sample(mask, grid, align_corners=False) > 0.5).float()
    gamma = torch.exp(torch.empty(count, 1, 1, 1).uniform_(-0.25, 0.25))
    image = image.clamp(0, 1) ** gamma
    return (image + 0.02 * torch.rand(count, 1, 1, 1) * torch.randn_like(image)).clamp(0, 1), mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=Path, help="keep the drawn phantoms here between runs")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--draw-only", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(7)
    torch.set_num_threads(arguments.threads)

    if arguments.draws and arguments.draws.is_file():
        stored = np.load(arguments.draws)
        images, masks, labels = (torch.from_numpy(stored[name]) for name in ("images", "masks", "labels"))
    else:
        seeds = [*TRAINING_SEEDS, *VALIDATION_SEEDS]
        images, masks, labels = draws(seeds, arguments.threads)  # type: ignore[arg-type]
        if arguments.draws:
            np.savez(arguments.draws, images=images.numpy(), masks=masks.numpy(), labels=labels.numpy())
    if arguments.draw_only:
        return
    cut = len(TRAINING_SEEDS)

    def validate(network: EvidenceNet) -> str:
        scores = probabilities(network, images[cut:], NORMALISE)
        return f"validation AUC {area_under_curve(labels[cut:].numpy(), scores):.4f}"

    network = EvidenceNet()
    train(
        network,
        images[:cut],
        labels[:cut],
        masks=masks[:cut],
        normalise=NORMALISE,
        augment=augment,
        epochs=arguments.epochs,
        validate=validate,
    )
    PACKAGE.mkdir(parents=True, exist_ok=True)
    export(network, PACKAGE / "model.onnx", SIDE, SIDE)
    write_manifest(PACKAGE)


if __name__ == "__main__":
    main()
