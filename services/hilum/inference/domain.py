"""What inference decides: states at an operating point, where a finding lies, which task goes first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.errors import Fault
from hilum.inference.preprocessing import Placement

ActivationMap = NDArray[np.float32]
_BOX_LEVEL = 0.5  # the region at half of the map's peak and above: full width at half maximum


class State(StrEnum):
    """What a finding is said to be (FHIR: SNOMED CT 52101004, 2667000, 82334004)."""

    PRESENT = "present"
    ABSENT = "absent"
    INDETERMINATE = "indeterminate"


class Urgency(IntEnum):
    """The task topics; a lower value goes first."""

    URGENT = 0
    ROUTINE = 1
    BACKFILL = 2


class Step(StrEnum):
    """Where a task can fail; stands in ``failed:STEP``."""

    PACKAGE = "package"
    FETCH = "fetch"
    DECODE = "decode"
    PREPROCESS = "preprocess"
    ENGINE = "engine"
    STORE = "store"


class StepFailed(Exception):
    """A task ends as ``failed:STEP``; ``code`` is the coded reason within the step."""

    def __init__(self, step: Step, code: str, text: str) -> None:
        super().__init__(step, code, text)
        self.step = step
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One finding of a package as inference needs it: a column of the probabilities and its thresholds."""

    finding: str
    index: int
    threshold: float
    absent_below: float


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One model as a worker needs it; plain data, since workers import no schema library."""

    name: str
    version: str
    digest: str
    path: str
    sha256: str
    input: str
    probability: str
    activation: str | None
    rows: int
    columns: int
    fit: Literal["pad", "stretch"]
    mean: float
    std: float
    points: tuple[OperatingPoint, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """One image of a task; ``sha256`` is of the data set as received (empty: unknown)."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    object_key: str
    sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class Task:
    """One run of one model on one content."""

    task_id: str
    case_id: str
    site: str
    study_instance_uid: str
    algorithm: str
    algorithm_version: str
    package_digest: str
    policy_revision: int
    revision: int
    urgency: Urgency
    created_at: datetime
    due_at: datetime | None
    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open, in source pixels: row0 <= row < row1, column0 <= column < column1."""

    row0: int
    column0: int
    row1: int
    column1: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding at its operating point, on the image that shows it most."""

    finding: str
    state: State
    probability: float
    threshold: float
    sop_instance_uid: str
    box: Box | None = None
    map_object_key: str = ""


@dataclass(frozen=True, slots=True)
class ImageReading:
    """What the engine said of one image: probabilities, shape (findings,), and the map, shape (h, w), if any."""

    sop_instance_uid: str
    probabilities: NDArray[np.float32]
    activation: NDArray[np.float32] | None
    placement: Placement


def state_of(probability: float, point: OperatingPoint) -> State:
    """Present from the threshold up, absent below ``absent_below``, indeterminate between."""
    if probability >= point.threshold:
        return State.PRESENT
    return State.ABSENT if probability < point.absent_below else State.INDETERMINATE


def probabilities_of(output: NDArray[np.float32], points: Sequence[OperatingPoint]) -> NDArray[np.float32]:
    """The probability row of one image; raises Fault ``engine_output`` when it is not what was declared."""
    row = output.reshape(-1)
    if row.size <= max(point.index for point in points):
        raise Fault("engine_output", f"the engine gave {row.size} probabilities")
    if not bool(np.all(np.isfinite(row))) or float(row.min()) < 0 or float(row.max()) > 1:
        raise Fault("engine_output", "the engine gave values that are no probabilities")
    return row


def activation_of(output: NDArray[np.float32], point: OperatingPoint) -> ActivationMap:
    """The map of one finding, shape (h, w), from a tensor (1, channels, h, w): its own channel, or the only one."""
    if output.ndim != 4 or 0 in output.shape:
        raise Fault("engine_output", f"an activation map of shape (1, channels, rows, columns), not {output.shape}")
    channel = point.index if output.shape[1] > point.index else 0
    return np.asarray(output[0, channel], np.float32)


def box_of(activation: ActivationMap, placement: Placement, rows: int, columns: int) -> Box | None:
    """The hottest region as a box in source pixels: the cells joined to the peak at half its height or more.

    ``rows`` and ``columns`` are the engine's input size, over which the map's cells are spread. None
    where the map is flat (it points nowhere) or its region lies in the padding.
    """
    low, high = float(activation.min()), float(activation.max())
    if not np.isfinite([low, high]).all() or high - low < 1e-6:
        return None
    hot = activation >= low + _BOX_LEVEL * (high - low)
    region = _joined(hot, int(activation.argmax()))
    cells_down, cells_across = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    cell_rows, cell_columns = rows / activation.shape[0], columns / activation.shape[1]
    row0, column0 = placement.to_source(cells_down[0] * cell_rows, cells_across[0] * cell_columns)
    row1, column1 = placement.to_source((cells_down[-1] + 1) * cell_rows, (cells_across[-1] + 1) * cell_columns)
    box = Box(int(np.floor(row0)), int(np.floor(column0)), int(np.ceil(row1)), int(np.ceil(column1)))
    return box if box.row0 < box.row1 and box.column0 < box.column1 else None


def in_source(activation: ActivationMap, placement: Placement, rows: int, columns: int) -> ActivationMap:
    """The part of the map that covers the image itself, without the padding: stretched over the image it fits."""
    cell_rows, cell_columns = rows / activation.shape[0], columns / activation.shape[1]
    fitted_rows = placement.source_rows * placement.row_scale
    fitted_columns = placement.source_columns * placement.column_scale
    down = (
        placement.row_offset + (np.arange(activation.shape[0]) + 0.5) / activation.shape[0] * fitted_rows
    ) / cell_rows
    across = (
        placement.column_offset + (np.arange(activation.shape[1]) + 0.5) / activation.shape[1] * fitted_columns
    ) / cell_columns
    rows_at = np.clip(down.astype(int), 0, activation.shape[0] - 1)
    columns_at = np.clip(across.astype(int), 0, activation.shape[1] - 1)
    return np.ascontiguousarray(activation[rows_at][:, columns_at])


def most_telling(readings: Sequence[ImageReading], point: OperatingPoint) -> ImageReading:
    """The image on which this finding is most probable; the first of equals."""
    return max(readings, key=lambda reading: float(reading.probabilities[point.index]))


def newest(versions: Mapping[str, EngineSpec]) -> str:
    """The highest semantic version; a pre-release precedes its release."""
    return max(versions, key=_precedence)


def _precedence(version: str) -> tuple[tuple[int, ...], bool, str]:
    release, _, before = version.partition("-")
    return tuple(int(part) for part in release.split(".")), not before, before


def _joined(hot: NDArray[np.bool_], start: int) -> NDArray[np.bool_]:
    """The cells of ``hot`` that are joined to flat index ``start`` by their sides."""
    region = np.zeros_like(hot)
    region.flat[start] = True
    while True:
        grown = region.copy()
        grown[1:] |= region[:-1]
        grown[:-1] |= region[1:]
        grown[:, 1:] |= region[:, :-1]
        grown[:, :-1] |= region[:, 1:]
        grown &= hot
        if (grown == region).all():
            return region
        region = grown
