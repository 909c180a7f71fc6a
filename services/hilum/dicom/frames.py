"""Stored pixel values of one frame, decoded once its header has been checked (PS3.3 C.7.6.3, PS3.5 8 and A.4)."""

import warnings
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options

from hilum.dicom.image_header import check_image, extended_offsets, transfer_syntax
from hilum.errors import Rejected


@dataclass(frozen=True)
class StoredFrame:
    """Stored values, shape (rows, columns) or (rows, columns, samples), and what they mean after decoding."""

    values: NDArray[Any]
    photometric: str
    bits_stored: int
    signed: bool

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest value that ``bits_stored`` can hold (PS3.5 8.1.1)."""
        if self.signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1


def read_frame(dataset: Dataset, frame: int) -> StoredFrame:
    """Stored values of ``frame``, counted from 0.

    Raises:
        Rejected: with the reasons of `hilum.dicom.image_header.check_image`, and ``transfer_syntax_unsupported``,
            ``pixels_undecodable``, ``frame_too_large``.
    """
    header = check_image(dataset, frame)
    syntax = transfer_syntax(dataset)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Rejected("transfer_syntax_unsupported", f"no decoder for {syntax.name}") from None
    if not decoder.is_available:
        raise Rejected("transfer_syntax_unsupported", f"no decoder is installed for {syntax.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = as_pixel_options(dataset) | {"number_of_frames": header.frames}
            options["extended_offsets"] = extended_offsets(dataset)
            values, properties = decoder.as_array(dataset, index=frame, raw=header.bits_allocated != 8, **options)
    except MemoryError:
        raise Rejected("frame_too_large", "the frame does not fit in memory") from None
    except Exception:  # noqa: BLE001 - codecs and their wrappers raise anything; their text may quote elements
        raise Rejected("pixels_undecodable", f"pixel data cannot be decoded as {syntax.name}") from None
    if values.shape[:2] != (header.rows, header.columns):
        raise Rejected("frame_size_disagrees", "decoded pixels differ from rows and columns")
    photometric = str(properties["photometric_interpretation"])
    return StoredFrame(values, photometric, header.bits_stored, header.signed)
