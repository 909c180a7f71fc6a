"""The greyscale pipeline: stored value, modality, values of interest (PS3.4 N.2.1, PS3.3 C.11.1 and C.11.2).

The stages are functions of values alone, so that the clauses' formulas can be read here and worked by hand.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from hilum.dicom.lookup import LookupTable, read_sequence_table
from hilum.errors import Rejected

Values = NDArray[np.float64]


def window(values: Values, centre: float, width: float, function: str = "LINEAR") -> Values:
    """``values`` through a window to 0 (ymin) .. 1 (ymax), shape kept.

    LINEAR is C.11.2.1.2.1, SIGMOID C.11.2.1.3.1, LINEAR_EXACT C.11.2.1.3.2; ``centre`` and ``width`` are in the
    units of ``values``.

    Raises:
        Rejected: ``voi_function_unknown``.
    """
    match function:
        case "LINEAR":
            if width == 1:
                return (values > centre - 0.5).astype(np.float64)
            return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0.0, 1.0)
        case "LINEAR_EXACT":
            return np.clip((values - centre) / width + 0.5, 0.0, 1.0)
        case "SIGMOID":
            # Beyond 700 the exponential overflows a double; the result is 0 or 1 long before.
            return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -700.0, 700.0)))
    raise Rejected("voi_function_unknown", "(0028,1056) is none of LINEAR, LINEAR_EXACT, SIGMOID")


@dataclass(frozen=True)
class Modality:
    """Stored values to the modality's units: a table (C.11.1.1.1), or slope and intercept (C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0
    table: LookupTable | None = None

    def apply(self, values: NDArray[Any]) -> Values:
        if self.table is not None:
            return self.table.look_up(values).astype(np.float64)
        return values.astype(np.float64) * self.slope + self.intercept

    def limits(self, stored: tuple[float, float]) -> tuple[float, float]:
        """Least and greatest output that is possible for ``stored`` limits."""
        if self.table is not None:
            return 0.0, float((1 << self.table.bits) - 1)
        ends = sorted(end * self.slope + self.intercept for end in stored)
        return ends[0], ends[1]


@dataclass(frozen=True)
class ValuesOfInterest:
    """A VOI LUT, or the first usable window."""

    table: LookupTable | None = None
    centre: float = 0.0
    width: float = 0.0
    function: str = "LINEAR"

    def apply(self, values: Values) -> Values:
        """``values`` in the modality's units to 0..1."""
        if self.table is not None:
            return self.table.look_up(values).astype(np.float64) / ((1 << self.table.bits) - 1)
        return window(values, self.centre, self.width, self.function)


def read_modality(dataset: Dataset, frame: int, stored: tuple[float, float], *, little_endian: bool) -> Modality:
    """The modality transformation of ``frame``: its functional group if there is one (C.7.6.16.2.9), else the module.

    Raises:
        Rejected: ``rescale_invalid``, ``lut_invalid``.
    """
    source = functional_group(dataset, frame, "PixelValueTransformationSequence") or dataset
    if tables := source.get("ModalityLUTSequence"):
        return Modality(table=read_sequence_table(tables[0], stored, little_endian=little_endian))
    slope = _numbers(source.get("RescaleSlope"))
    intercept = _numbers(source.get("RescaleIntercept"))
    if (slope and not slope[0]) or not all(map(math.isfinite, [*slope[:1], *intercept[:1]])):
        raise Rejected("rescale_invalid", "(0028,1053) is 0, or a rescale value is not finite")
    return Modality(slope[0] if slope else 1.0, intercept[0] if intercept else 0.0)


def read_values_of_interest(
    dataset: Dataset, frame: int, modality: tuple[float, float], *, little_endian: bool
) -> ValuesOfInterest | None:
    """What the data set recommends to be seen of ``frame``, whose values lie in ``modality`` limits; None if nothing.

    A VOI LUT comes before a window: a sender who made one meant its curve. Of several, the first that is usable;
    a window that its function does not allow (C.11.2.1.2.1: LINEAR needs a width of 1 or more) is passed over.

    Raises:
        Rejected: ``voi_function_unknown``, ``lut_invalid``.
    """
    source = functional_group(dataset, frame, "FrameVOILUTSequence") or dataset
    if tables := source.get("VOILUTSequence"):
        return ValuesOfInterest(table=read_sequence_table(tables[0], modality, little_endian=little_endian))
    function = str(source.get("VOILUTFunction") or "LINEAR").strip().upper()
    least = 1.0 if function == "LINEAR" else math.ulp(0.0)
    centres, widths = _numbers(source.get("WindowCenter")), _numbers(source.get("WindowWidth"))
    for centre, width in zip(centres, widths, strict=False):
        if math.isfinite(centre) and math.isfinite(width) and width >= least:
            window(np.zeros(0), centre, width, function)  # an unknown function is refused before any pixel
            return ValuesOfInterest(centre=centre, width=width, function=function)
    return None


def functional_group(dataset: Dataset, frame: int, keyword: str) -> Dataset | None:
    """The item of ``keyword`` for ``frame``: per-frame before shared (C.7.6.16.1); None where neither has it."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (per_frame[frame : frame + 1], shared[:1]):
        if groups and (items := groups[0].get(keyword)):
            item: Dataset = items[0]
            return item
    return None


def _numbers(value: Any) -> list[float]:
    """The numbers of a DS element of any multiplicity; empty ones are left out."""
    if value is None or value == "":
        return []
    several = [value] if isinstance(value, str | int | float) or not hasattr(value, "__iter__") else list(value)
    try:
        return [float(part) for part in several if part not in (None, "")]
    except (TypeError, ValueError, OverflowError):
        raise Rejected("element_unreadable", "a rescale or window value is not a number") from None
