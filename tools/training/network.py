"""The small convolutional network of both demonstration models, its training loop and its ONNX export.

It ends in an evidence map, one value a cell, which is pooled to one logit: the map is thus what the
answer was made of, not an explanation added later. Runs with Debian's python3-torch; no runtime extra.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

Augment = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def _layer(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1, size: int = 3) -> nn.Sequential:
    padding = dilation * (size // 2)
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class EvidenceNet(nn.Module):
    """Image (N, 1, H, W) to a logit (N, 1) and an evidence map (N, 1, H/8, W/8)."""

    def __init__(self, width: int = 12, sharpness: float = 4.0) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _layer(1, width, stride=2, size=5),
            _layer(width, 2 * width, stride=2),
            _layer(2 * width, 2 * width),
            _layer(2 * width, 4 * width, stride=2),
        )
        self.body = nn.ModuleList(_layer(4 * width, 4 * width, dilation=d) for d in (1, 2, 4, 8))
        self.evidence = nn.Conv2d(4 * width, 1, 1)
        self.sharpness = sharpness
        self.scale = nn.Parameter(torch.ones(1))
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.stem(image)
        for layer in self.body:
            features = features + layer(features)
        evidence = self.evidence(features)
        flat = torch.flatten(evidence, 1)
        pooled = (torch.logsumexp(self.sharpness * flat, dim=1, keepdim=True) - np.log(flat.shape[1])) / self.sharpness
        return self.scale * pooled + self.offset, evidence


class Served(nn.Module):
    """What is exported: the probability (N, 1) and the activation map 0..1 (N, 1, h, w)."""

    def __init__(self, network: EvidenceNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logit, evidence = self.network(image)
        return torch.sigmoid(logit), torch.sigmoid(self.network.scale * evidence + self.network.offset)


def train(
    network: EvidenceNet,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    normalise: tuple[float, float],
    augment: Augment,
    epochs: int,
    masks: torch.Tensor | None = None,
    validate: Callable[[EvidenceNet], str] | None = None,
    rate: float = 3e-3,
    batch: int = 32,
) -> None:
    """Train in place. ``images`` uint8 (N, H, W); ``masks`` uint8 (N, H, W), where the drawn truth is known."""
    mean, std = normalise
    share = float(labels.mean())
    weights = torch.where(labels > 0.5, 0.5 / share, 0.5 / (1 - share))
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        started, total = time.monotonic(), 0.0
        network.train()
        order = torch.randperm(len(images))[: (len(images) // batch) * batch]
        for chosen in order.split(batch):
            image = images[chosen].unsqueeze(1).float() / 255
            mask = masks[chosen].unsqueeze(1).float() if masks is not None else torch.zeros_like(image)
            image, mask = augment(image, mask)
            logit, evidence = network((image - mean) / std)
            label = labels[chosen].unsqueeze(1)
            loss = functional.binary_cross_entropy_with_logits(logit, label * 0.98 + 0.01, weights[chosen].unsqueeze(1))
            if masks is not None:
                target = functional.adaptive_max_pool2d(mask, evidence.shape[2:])
                loss = loss + functional.binary_cross_entropy_with_logits(
                    evidence, target, pos_weight=torch.tensor(3.0)
                )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss) * len(chosen)
        note = validate(network) if validate is not None else ""
        print(
            f"epoch {epoch + 1}/{epochs} loss {total / len(order):.4f} {note} {time.monotonic() - started:.0f} s",
            flush=True,
        )


def probabilities(network: EvidenceNet, images: torch.Tensor, normalise: tuple[float, float]) -> np.ndarray:
    """The probability of each image, shape (N,)."""
    network.eval()
    with torch.no_grad():
        parts = [
            torch.sigmoid(network((part.unsqueeze(1).float() / 255 - normalise[0]) / normalise[1])[0])[:, 0]
            for part in images.split(64)
        ]
    return torch.cat(parts).numpy()


def area_under_curve(labels: np.ndarray, scores: np.ndarray) -> float:
    """AUC as the Mann-Whitney statistic, ties counted half."""
    positive, negative = scores[labels > 0.5], scores[labels <= 0.5]
    above = (positive[:, None] > negative[None, :]).mean() + 0.5 * (positive[:, None] == negative[None, :]).mean()
    return float(above)


def export(network: EvidenceNet, path: Path, rows: int, columns: int) -> None:
    """Write ONNX opset 16 with a dynamic batch axis; batch normalisation is folded into the convolutions."""
    network.eval()
    torch.onnx.export(
        Served(network).eval(),
        torch.zeros(1, 1, rows, columns),
        str(path),
        opset_version=16,
        input_names=["image"],
        output_names=["prob", "cam"],
        dynamic_axes={"image": {0: "batch"}, "prob": {0: "batch"}, "cam": {0: "batch"}},
        do_constant_folding=True,
    )
