"""Chest radiograph phantoms: drawn from a seed, with a known truth, and good enough to look at.

An image is a sum of attenuations (body, bone, heart, vessels) seen through scatter, noise and blur,
then shown as a radiograph is: dense is white. Lengths are fractions of the image's height; x runs
from -0.5 to 0.5 with the patient's right on the image's left, y from 0 (top) to 1.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.simulator.phantom_anatomy import Anatomy, Collapse, Side, draw_anatomy
from hilum.simulator.phantom_artefacts import blur, draw_lines, draw_marker, draw_skin_folds

Plane = NDArray[np.float32]
_WHITE = 4095


class Kind(StrEnum):
    """What makes a phantom hard, independently of whether there is a pneumothorax."""

    PLAIN = "plain"
    SKIN_FOLD = "skin_fold"
    LINES = "lines"
    ROTATED = "rotated"
    CLIPPED = "clipped"
    BLURRED = "blurred"
    MONOCHROME1 = "monochrome1"


@dataclass(frozen=True)
class Truth:
    """What was drawn. ``box`` is (row0, column0, row1, column1) in pixels, end exclusive; ``mask`` the pleural air."""

    pneumothorax: bool
    side: Side | None
    box: tuple[int, int, int, int] | None
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Phantom:
    """``pixels`` are uint16, shape (rows, columns), 12 bits stored, to be read by ``photometric_interpretation``."""

    seed: int
    kind: Kind
    pixels: NDArray[np.uint16]
    photometric_interpretation: Literal["MONOCHROME1", "MONOCHROME2"]
    truth: Truth
    bits_stored: int = 12

    @property
    def display(self) -> Plane:
        """Display values, 0 black to 1 white, shape (rows, columns)."""
        values = self.pixels.astype(np.float32) / np.float32(_WHITE)
        return 1 - values if self.photometric_interpretation == "MONOCHROME1" else values


def draw(
    seed: int,
    *,
    pneumothorax: bool | None = None,
    kind: Kind | None = None,
    rows: int = 512,
    columns: int = 512,
) -> Phantom:
    """The phantom of ``seed``; what is not asked for (a pneumothorax, a kind) the seed decides."""
    rng = np.random.default_rng(seed)
    drawn_kind, drawn_label = list(Kind)[rng.integers(len(Kind))], bool(rng.random() < 0.5)
    kind = drawn_kind if kind is None else kind
    pneumothorax = drawn_label if pneumothorax is None else pneumothorax

    angle = rng.uniform(8, 18) * rng.choice((-1, 1)) if kind is Kind.ROTATED else rng.normal(0, 1.5)
    collapse = _collapse(rng) if pneumothorax else None
    anatomy = Anatomy.of(rng, collapse, rotation=0.05 * rng.choice((-1, 1)) if kind is Kind.ROTATED else 0.0)
    grid = _grid(rng, rows, columns, float(angle))
    attenuation, air, lungs = draw_anatomy(rng, anatomy, grid)
    if kind is Kind.SKIN_FOLD or rng.random() < 0.08:
        attenuation += draw_skin_folds(rng, anatomy, grid)
    if kind is Kind.LINES or rng.random() < 0.15:
        attenuation += draw_lines(rng, anatomy, grid, drain=collapse)

    shown = _exposed(rng, attenuation, lungs, rows, soft=kind is Kind.BLURRED)
    if rng.random() < 0.7:
        draw_marker(rng, shown)
    mask = air > 0.5
    if kind is Kind.CLIPPED:
        _collimate(rng, shown, mask)
    pixels = np.clip(np.rint(shown * _WHITE), 0, _WHITE).astype(np.uint16)
    inverted = kind is Kind.MONOCHROME1
    box = _box(mask)
    truth = Truth(pneumothorax, collapse.side if collapse else None, box, mask)
    return Phantom(
        seed, kind, _WHITE - pixels if inverted else pixels, "MONOCHROME1" if inverted else "MONOCHROME2", truth
    )


def _collapse(rng: np.random.Generator) -> Collapse:
    """A pneumothorax of a size that a reader meets: many small apical rims, few large collapses."""
    large = rng.random() < 0.25
    return Collapse(
        side="right" if rng.random() < 0.5 else "left",
        apical=float(rng.uniform(0.09, 0.16) if large else rng.uniform(0.035, 0.09)),
        lateral=float(rng.uniform(0.06, 0.13) if large else rng.uniform(0.018, 0.06)),
        basal=float(rng.uniform(0.2, 0.9) if large else rng.uniform(0.0, 0.35)),
    )


def _grid(rng: np.random.Generator, rows: int, columns: int, angle: float) -> tuple[Plane, Plane]:
    """Anatomical (x, y) of every pixel: the patient stands a little off the centre, turned, nearer or farther."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y = (y + 0.5) / rows - 0.5
    x = (x + 0.5) / rows - 0.5 * columns / rows
    turn, zoom = np.deg2rad(angle), rng.uniform(0.93, 1.07)
    dx, dy = rng.normal(0, 0.012), rng.normal(0, 0.012)
    cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
    return (
        (cos * x - sin * y + dx).astype(np.float32),
        (sin * x + cos * y + 0.5 + dy).astype(np.float32),
    )


def _exposed(rng: np.random.Generator, attenuation: Plane, lungs: Plane, rows: int, *, soft: bool) -> Plane:
    """Scatter, sharpness, quantum noise and the display's tone curve; returns values 0..1."""
    seen = 0.88 * attenuation + 0.12 * blur(attenuation, rows * 0.03)
    seen = blur(seen, rows * (rng.uniform(0.003, 0.006) if soft else rng.uniform(0.0005, 0.0011)))
    noise = rng.normal(0, 1, seen.shape).astype(np.float32)
    noise = 0.6 * noise + 0.9 * blur(noise, 0.8)
    seen += noise * np.float32(rng.uniform(0.005, 0.014)) * (0.5 + 0.7 * np.clip(seen, 0, 2))
    if not soft:  # edge enhancement, as computed radiography applies it
        seen += np.float32(rng.uniform(0.15, 0.5)) * (seen - blur(seen, rows * 0.006))
    inside = seen[lungs > 0.3]
    low = float(np.percentile(inside, 2)) - rng.uniform(0.12, 0.22)
    high = float(np.percentile(seen, 99.5)) * rng.uniform(0.98, 1.1)
    return np.asarray(np.clip((seen - low) / (high - low), 0, 1) ** rng.uniform(0.85, 1.2), np.float32)


def _collimate(rng: np.random.Generator, shown: Plane, mask: NDArray[np.bool_]) -> None:
    """A beam set too narrow: one or two sides of the field are cut off and black."""
    rows, columns = shown.shape
    for side in rng.choice(4, size=int(rng.integers(1, 3)), replace=False):
        depth = rng.uniform(0.05, 0.14)
        along, cut = (rows, int(depth * rows)) if side < 2 else (columns, int(depth * columns))
        if side == 0:  # apices are the part that must not go unseen entirely
            cut = int(min(depth, 0.08) * rows)
        region = (slice(0, cut), slice(along - cut, along))[side % 2]
        index = (region, slice(None)) if side < 2 else (slice(None), region)
        shown[index] *= np.float32(0.04)
        mask[index] = False


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
