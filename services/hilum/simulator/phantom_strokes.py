"""Drawing with distance: smooth steps, smooth noise, and strokes along a polyline."""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Points = NDArray[np.float64]


class Profile(Enum):
    """How dense a stroke is across its width: a soft cord, a hollow bone, a flat sheet, a wire."""

    SOFT = "soft"
    TUBE = "tube"
    SHEET = "sheet"
    WIRE = "wire"


def soft_step(distance: Plane, width: float | np.floating) -> Plane:
    """0 outside, 1 inside, over about two ``width`` around distance 0."""
    return np.asarray(0.5 + 0.5 * np.tanh(distance / np.float32(width)), np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Plane:
    """Gaussian noise of unit variance with a correlation length of ``sigma`` pixels."""
    rows, columns = shape
    step = max(1, int(sigma / 1.5))
    coarse = rng.normal(0, 1, (rows // step + 4, columns // step + 4)).astype(np.float32)
    coarse = blur(coarse, sigma / step)
    along = np.minimum(np.arange(rows) / step + 1, coarse.shape[0] - 2)
    across = np.minimum(np.arange(columns) / step + 1, coarse.shape[1] - 2)
    fine = _between(_between(coarse, along).T, across).T
    return np.asarray(fine / max(float(fine.std()), 1e-6), np.float32)


def blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur, ``sigma`` in pixels; the border is extended."""
    if sigma < 0.2:
        return plane
    if sigma > 6:  # a wide blur is the same on a coarser grid
        step = int(sigma // 3)
        rows, columns = plane.shape
        down = plane[: rows - rows % step, : columns - columns % step]
        down = down.reshape(rows // step, step, columns // step, step).mean(axis=(1, 3))
        down = blur(np.asarray(down, np.float32), sigma / step)
        along = np.clip((np.arange(rows) + 0.5) / step - 0.5, 0, down.shape[0] - 1)
        across = np.clip((np.arange(columns) + 0.5) / step - 0.5, 0, down.shape[1] - 1)
        return _between(_between(down, along).T, across).T
    reach = max(1, int(3 * sigma + 0.5))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for _ in range(2):
        padded = np.pad(plane, ((reach, reach), (0, 0)), mode="edge")
        total = np.zeros_like(plane)
        for offset, weight in enumerate(kernel):
            total += weight * padded[offset : offset + plane.shape[0]]
        plane = np.ascontiguousarray(total.T)
    return plane


def stroke(
    layer: Plane,
    grid: tuple[Plane, Plane],
    xs: Points,
    ys: Points,
    *,
    width: float,
    profile: Profile,
    weight: float = 1.0,
) -> None:
    """Draw a polyline of half-width ``width`` into ``layer`` (in place); strokes join by the larger value.

    The grid is a rotation of the pixel raster, so a stroke touches only the pixels near it.
    """
    x, y = grid
    reach = 2.6 * width
    whole = _window(grid, xs, ys, reach)
    if whole is None:
        return
    top, left = whole[0].start, whole[1].start
    nearest = np.full((whole[0].stop - top, whole[1].stop - left), np.float32(reach * reach))
    small = nearest.size < 2500
    for index in range(len(xs) - 1):
        window = whole if small else _window(grid, xs[index : index + 2], ys[index : index + 2], reach)
        if window is None:
            continue
        dx, dy = np.float32(xs[index + 1] - xs[index]), np.float32(ys[index + 1] - ys[index])
        px, py = x[window] - np.float32(xs[index]), y[window] - np.float32(ys[index])
        along = np.clip((px * dx + py * dy) / np.float32(max(float(dx * dx + dy * dy), 1e-9)), 0, 1)
        local = (
            slice(window[0].start - top, window[0].stop - top),
            slice(window[1].start - left, window[1].stop - left),
        )
        np.minimum(nearest[local], (px - along * dx) ** 2 + (py - along * dy) ** 2, out=nearest[local])
    shade = np.float32(weight) * _across(np.asarray(np.sqrt(nearest) / np.float32(width), np.float32), profile)
    layer[whole] = np.maximum(layer[whole], shade)


def _across(away: Plane, profile: Profile) -> Plane:
    if profile is Profile.SOFT:
        return np.asarray(np.exp(-((1.3 * away) ** 2)), np.float32)
    if profile is Profile.WIRE:
        return np.asarray(np.exp(-((1.1 * away) ** 4)), np.float32)
    inside = soft_step(1 - away, 0.12)
    if profile is Profile.SHEET:
        return inside
    cortex = np.exp(-(((away - 0.85) / 0.22) ** 2))
    return np.asarray(inside * (0.62 + 0.1 * np.sqrt(np.clip(1 - away**2, 0, 1))) + 0.34 * cortex, np.float32)


def _window(grid: tuple[Plane, Plane], xs: Points, ys: Points, margin: float) -> tuple[slice, slice] | None:
    """The pixels that can lie within ``margin`` of the points' hull, from the grid's own affine map."""
    x, y = grid
    below, across = x.shape[0] - 1, x.shape[1] - 1
    a, b = float(x[-1, 0] - x[0, 0]) / below, float(x[0, -1] - x[0, 0]) / across
    c, d = float(y[-1, 0] - y[0, 0]) / below, float(y[0, -1] - y[0, 0]) / across
    dx, dy = xs - float(x[0, 0]), ys - float(y[0, 0])
    determinant = a * d - b * c
    at_row, at_column = (d * dx - b * dy) / determinant, (a * dy - c * dx) / determinant
    grow = margin * x.shape[0] * 1.1 + 2
    row0, row1 = max(int(at_row.min() - grow), 0), min(int(at_row.max() + grow) + 1, x.shape[0])
    column0, column1 = max(int(at_column.min() - grow), 0), min(int(at_column.max() + grow) + 1, x.shape[1])
    return (slice(row0, row1), slice(column0, column1)) if row0 < row1 and column0 < column1 else None


def _between(plane: Plane, at: NDArray[np.floating]) -> Plane:
    """Linear interpolation along the first axis at positions ``at``."""
    low = np.clip(np.floor(at).astype(int), 0, plane.shape[0] - 2)
    share = (at - low).astype(np.float32)[:, np.newaxis]
    return np.asarray(plane[low] * (1 - share) + plane[low + 1] * share, np.float32)
