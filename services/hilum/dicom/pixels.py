"""Pixels as a viewer shows them: one function, from a data set to grey values between black and white."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, uid

from hilum.dicom.frames import StoredFrame, read_frame
from hilum.dicom.greyscale import Modality, ValuesOfInterest, read_modality, read_values_of_interest
from hilum.dicom.image_header import transfer_syntax
from hilum.dicom.lookup import read_palette
from hilum.errors import Rejected

# PS3.3 C.7.6.3.1.2: the luminance row of RGB to YBR_FULL.
_LUMINANCE = np.array([0.2990, 0.5870, 0.1140], dtype=np.float32)
_RAMP_ENTRIES = 1 << 16
_BLOCK_ROWS = 256

Grey = NDArray[np.float32]


def display_values(dataset: Dataset, frame: int = 0) -> Grey:
    """Grey values of ``frame`` (counted from 0), shape (rows, columns), 0 = black to 1 = white as a viewer shows them.

    Grey images go through the modality LUT or rescale, then the VOI LUT or window (the frame's own functional
    groups where there are any), then the presentation: MONOCHROME1 and PresentationLUTShape INVERSE turn black and
    white about. Where nothing says what to show, values of up to 8 bits are shown as they are, others from the
    least to the greatest of the frame. Padding (C.7.5.1.1.2) is black. Colour becomes luminance.

    Raises:
        Rejected: with the reasons of `hilum.dicom.frames.read_frame`, and ``photometric_unsupported``,
            ``palette_missing``, ``palette_unsupported``, ``lut_invalid``, ``rescale_invalid``,
            ``voi_function_unknown``, ``element_unreadable``.
    """
    try:
        stored = read_frame(dataset, frame)
        little_endian = transfer_syntax(dataset) != uid.ExplicitVRBigEndian
        match stored.photometric:
            case "MONOCHROME1" | "MONOCHROME2":
                return _grey(dataset, frame, stored, little_endian=little_endian)
            case "PALETTE COLOR":
                return _palette(dataset, stored, little_endian=little_endian)
            case "RGB":
                return _luminance(stored)
            case "YBR_FULL" | "YBR_FULL_422":
                return _unit(stored.values[..., 0], stored)
    except Rejected:
        raise
    except MemoryError:
        raise Rejected("frame_too_large", "the frame does not fit in memory") from None
    except Exception:  # noqa: BLE001 - pydicom parses elements when they are read, and raises what its parsers raise
        raise Rejected("element_unreadable", "an element that describes the pixels cannot be read") from None
    raise Rejected("photometric_unsupported", "(0028,0004) is not one that is read here")


def _grey(dataset: Dataset, frame: int, stored: StoredFrame, *, little_endian: bool) -> Grey:
    if stored.values.ndim != 2:
        raise Rejected("image_header_invalid", "a monochrome image has one sample a pixel")
    floating = np.issubdtype(stored.values.dtype, np.floating)
    limits = (-np.inf, np.inf) if floating else stored.limits
    modality = read_modality(dataset, frame, limits, little_endian=little_endian)
    voi = read_values_of_interest(dataset, frame, modality.limits(limits), little_endian=little_endian)
    padding = None if floating else _padding(dataset, stored)
    if voi is None:
        voi = _fallback(stored, modality, padding)
    inverse = stored.photometric == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"

    def show(values: NDArray[Any]) -> Grey:
        shown = voi.apply(modality.apply(values))
        return (1.0 - shown if inverse else shown).astype(np.float32)

    grey = _through_ramp(stored.values, show)
    if padding is not None:
        grey[padding] = 0.0
    if floating:
        grey[~np.isfinite(stored.values)] = 0.0
    return grey


def _padding(dataset: Dataset, stored: StoredFrame) -> NDArray[np.bool_] | None:
    """Where (0028,0120), or the range up to (0028,0121), pads the frame (C.7.5.1.1.2); None where nothing does."""
    value = dataset.get("PixelPaddingValue")
    if value is None or value == "":
        return None
    ends = [int(value)]
    limit = dataset.get("PixelPaddingRangeLimit")
    if limit is not None and limit != "":
        ends.append(int(limit))
    # US or SS by Pixel Representation; writers mistake it.
    ends = [(end + 32768) % 65536 - 32768 if stored.signed else end % 65536 for end in ends]
    padded = (stored.values >= min(ends)) & (stored.values <= max(ends))
    return padded if padded.any() else None


def _fallback(stored: StoredFrame, modality: Modality, padding: NDArray[np.bool_] | None) -> ValuesOfInterest:
    """The whole range of up to 8 bits; beyond, what the frame itself spans. Constant frames come out mid-grey."""
    if stored.bits_stored <= 8:
        ends = modality.limits(stored.limits)
    else:
        seen = stored.values if padding is None else stored.values[~padding]
        if np.issubdtype(seen.dtype, np.floating):
            seen = seen[np.isfinite(seen)]
        if not seen.size:
            return ValuesOfInterest(centre=0.0, width=1.0, function="LINEAR_EXACT")
        if modality.table is not None:
            mapped = modality.apply(seen)
            ends = float(mapped.min()), float(mapped.max())
        else:
            ends = modality.limits((float(seen.min()), float(seen.max())))
    return ValuesOfInterest(centre=ends[0] / 2 + ends[1] / 2, width=ends[1] - ends[0] or 1.0, function="LINEAR_EXACT")


def _palette(dataset: Dataset, stored: StoredFrame, *, little_endian: bool) -> Grey:
    if stored.values.ndim != 2:
        raise Rejected("image_header_invalid", "a palette image has one sample a pixel")
    tables = read_palette(dataset, stored.limits, little_endian=little_endian)

    def show(values: NDArray[Any]) -> Grey:
        shares = [table.look_up(values).astype(np.float32) / ((1 << table.bits) - 1) for table in tables]
        return (np.stack(shares, axis=-1) @ _LUMINANCE).astype(np.float32)

    return _through_ramp(stored.values, show)


def _luminance(stored: StoredFrame) -> Grey:
    if stored.values.ndim != 3:
        raise Rejected("image_header_invalid", "a colour image has three samples a pixel")
    return _unit(stored.values @ _LUMINANCE, stored)


def _unit(values: NDArray[Any], stored: StoredFrame) -> Grey:
    greatest = np.float32((1 << stored.bits_stored) - 1)
    unit: Grey = np.clip(values.astype(np.float32) / greatest, 0.0, 1.0)
    return unit


def _through_ramp(values: NDArray[Any], show: Callable[[NDArray[Any]], Grey]) -> Grey:
    """``show(values)``, worked once a distinct value where there are few, else a block of rows at a time."""
    if not np.issubdtype(values.dtype, np.floating):
        least, greatest = int(values.min()), int(values.max())
        if greatest - least < _RAMP_ENTRIES:
            ramp = np.arange(least, greatest + 1, dtype=np.int64)
            shown: Grey = show(ramp)[np.subtract(values, least, dtype=np.int64)]
            return shown
    grey = np.empty(values.shape, dtype=np.float32)
    for row in range(0, len(values), _BLOCK_ROWS):
        grey[row : row + _BLOCK_ROWS] = show(values[row : row + _BLOCK_ROWS])
    return grey
