"""What fools a detector of pneumothorax: skin folds, lines and tubes; and the marker of the side."""

import numpy as np
from numpy.typing import NDArray

from hilum.simulator.phantom_anatomy import Anatomy, Collapse, Grid
from hilum.simulator.phantom_strokes import Profile, blur, soft_step, stroke

Plane = NDArray[np.float32]

__all__ = ["blur", "draw_lines", "draw_marker", "draw_skin_folds"]

_GLYPHS = {
    "L": ("1....", "1....", "1....", "1....", "1....", "1....", "11111"),
    "R": ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1"),
}


def draw_skin_folds(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> Plane:
    """Folds: density that rises gradually and ends in a sharp edge, running on across ribs and beyond the lung."""
    x, y = grid
    total = np.zeros_like(x)
    for _ in range(int(rng.integers(1, 3))):
        sign = rng.choice((-1.0, 1.0))
        place = sign * anatomy.outer * rng.uniform(0.55, 0.9)
        tilt, bow = rng.uniform(-0.35, 0.25) * sign, rng.uniform(-0.25, 0.25)
        away = sign * (x - place - tilt * (y - 0.5) - bow * (y - 0.5) ** 2)
        width = rng.uniform(0.05, 0.11)
        ramp = np.where(away < 0, np.clip(1 + away / width, 0, 1) ** 1.6, 0) * soft_step(-away, 0.0012)
        top, bottom = rng.uniform(-0.1, 0.25), rng.uniform(0.7, 1.1)
        length = soft_step(y - top, 0.02) * soft_step(bottom - y, 0.02)
        total += np.float32(rng.uniform(0.1, 0.2)) * ramp * length
    return np.asarray(total, np.float32)


def draw_lines(rng: np.random.Generator, anatomy: Anatomy, grid: Grid, drain: Collapse | None) -> Plane:
    """Some of: leads with their electrodes, an endotracheal tube, a gastric tube, a central line, a chest drain."""
    x, _ = grid
    layer = np.zeros_like(x)
    t = np.linspace(0, 1, 14)
    wanted = rng.random(5) < (0.6, 0.35, 0.35, 0.5, 0.3)
    if not wanted.any():
        wanted[0] = True
    if wanted[0]:
        for _ in range(int(rng.integers(2, 4))):
            sign = rng.choice((-1.0, 1.0))
            xs = sign * (rng.uniform(0.12, 0.34) + 0.05 * np.sin(2.5 * t * np.pi + rng.random() * 6) * t)
            ys = rng.uniform(0.15, 0.6) + t * rng.uniform(0.35, 0.6)
            stroke(layer, grid, xs, ys, width=0.0028, profile=Profile.WIRE, weight=0.8)
            stroke(layer, grid, xs[:2], np.array([ys[0], ys[0] + 0.004]), width=0.017, profile=Profile.TUBE, weight=0.6)
    if wanted[1]:
        xs = anatomy.shift * t + 0.003 * np.sin(4 * t)
        for offset in (-0.007, 0.007):
            stroke(layer, grid, xs + offset, -0.02 + t * 0.36, width=0.0018, profile=Profile.WIRE, weight=0.5)
    if wanted[2]:
        xs = 0.012 + 0.02 * np.sin(3 * t) + 0.09 * t**6
        stroke(layer, grid, xs, -0.02 + t * 0.98, width=0.0034, profile=Profile.WIRE, weight=0.55)
    if wanted[3]:
        xs = np.concatenate([-0.2 + 0.12 * t, -0.08 + 0.035 * t[1:]])
        ys = np.concatenate([0.1 + 0.1 * t**0.7, 0.2 + 0.3 * t[1:]])
        stroke(layer, grid, xs + anatomy.shift, ys, width=0.0026, profile=Profile.WIRE, weight=0.65)
    if wanted[4]:
        side = drain.side if drain is not None and rng.random() < 0.8 else rng.choice(("left", "right"))
        sign = -1.0 if side == "right" else 1.0
        xs = sign * (anatomy.outer + 0.1 - t * (0.13 + rng.uniform(0, 0.05)) - 0.05 * t**3)
        ys = rng.uniform(0.55, 0.66) - t**1.5 * rng.uniform(0.25, 0.4)
        for offset in (-0.006, 0.006):
            stroke(layer, grid, xs + offset, ys, width=0.0017, profile=Profile.WIRE, weight=0.6)
        stroke(layer, grid, xs, ys, width=0.0055, profile=Profile.SHEET, weight=0.22)
    return np.asarray(0.65 * layer, np.float32)


def draw_marker(rng: np.random.Generator, shown: Plane) -> None:
    """The lead letter of the side, in place, on the side that it names."""
    rows, columns = shown.shape
    letter = "R" if rng.random() < 0.5 else "L"
    size = max(1, round(rows * rng.uniform(0.005, 0.008)))
    glyph = np.array([[cell == "1" for cell in line] for line in _GLYPHS[letter]])
    glyph = np.kron(glyph, np.ones((size, size), bool))
    top = int(rows * rng.uniform(0.03, 0.12))
    margin = int(columns * rng.uniform(0.02, 0.06))
    left = margin if letter == "R" else columns - margin - glyph.shape[1]
    region = shown[top : top + glyph.shape[0], left : left + glyph.shape[1]]
    region[glyph[: region.shape[0], : region.shape[1]]] = rng.uniform(0.88, 1.0)
