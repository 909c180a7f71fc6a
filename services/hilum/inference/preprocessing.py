"""From display values to the engine's input, and the way back for what the engine points at.

Training and serving call this one function: a network that was trained on another resize than it
is served with is a network that nobody measured. NumPy alone, so that no image library's version matters.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.errors import Rejected

Pixels = NDArray[np.float32]
_LARGEST_SIDE = 16384


@dataclass(frozen=True)
class Placement:
    """Where the source image lies in the engine's input: ``input = offset + scale * source``, in pixels."""

    source_rows: int
    source_columns: int
    row_offset: float
    column_offset: float
    row_scale: float
    column_scale: float

    def to_source(self, row: float, column: float) -> tuple[float, float]:
        """Source coordinates (pixel edges, not centres) of an input coordinate, clipped to the image."""
        return (
            min(max((row - self.row_offset) / self.row_scale, 0.0), float(self.source_rows)),
            min(max((column - self.column_offset) / self.column_scale, 0.0), float(self.source_columns)),
        )


def prepare(
    values: Pixels, *, rows: int, columns: int, fit: Literal["pad", "stretch"], mean: float, std: float
) -> tuple[Pixels, Placement]:
    """The input tensor, float32 of shape (1, 1, rows, columns), and the placement of the source in it.

    ``values`` are display values, shape (rows, columns), 0 black to 1 white; they are first brought to
    their own full range, so that a window that the modality wrote or left out changes nothing. ``pad``
    keeps the aspect and centres the image on black; ``stretch`` fills the input. Raises Rejected
    ``pixels_unusable`` for another shape, non-finite values or a blank image, on which a result would
    mean nothing.
    """
    low, high = _range(values)
    values = (values - np.float32(low)) / np.float32(high - low)
    source_rows, source_columns = values.shape
    fitted_rows, fitted_columns = rows, columns
    if fit == "pad":
        scale = min(rows / source_rows, columns / source_columns)
        fitted_rows = min(rows, max(1, round(source_rows * scale)))
        fitted_columns = min(columns, max(1, round(source_columns * scale)))
    row_offset, column_offset = (rows - fitted_rows) // 2, (columns - fitted_columns) // 2
    canvas = np.zeros((rows, columns), np.float32)
    canvas[row_offset : row_offset + fitted_rows, column_offset : column_offset + fitted_columns] = resize(
        values, fitted_rows, fitted_columns
    )
    placement = Placement(
        source_rows,
        source_columns,
        row_offset,
        column_offset,
        fitted_rows / source_rows,
        fitted_columns / source_columns,
    )
    return ((canvas - np.float32(mean)) / np.float32(std))[np.newaxis, np.newaxis], placement


def resize(values: Pixels, rows: int, columns: int) -> Pixels:
    """``values`` resampled to (rows, columns) with a triangle filter that widens when it shrinks (no aliasing)."""
    by_row = _weights(values.shape[0], rows) @ values.astype(np.float32, copy=False)
    return (by_row @ _weights(values.shape[1], columns).T).astype(np.float32, copy=False)


@lru_cache(maxsize=64)
def _weights(source: int, target: int) -> Pixels:
    """The (target, source) matrix of one axis; each row sums to one, edges are renormalised."""
    step = source / target
    reach = max(step, 1.0)
    centres = (np.arange(target) + 0.5) * step - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(source)[np.newaxis, :] - centres[:, np.newaxis]) / reach)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _range(values: Pixels) -> tuple[float, float]:
    if values.ndim != 2 or 0 in values.shape or max(values.shape) > _LARGEST_SIDE:
        raise Rejected("pixels_unusable", f"a plane of at most {_LARGEST_SIDE} pixels a side was expected")
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Rejected("pixels_unusable", "the image holds values that are no numbers")
    if high - low < 1e-6:
        raise Rejected("pixels_unusable", "the image is blank")
    return low, high
