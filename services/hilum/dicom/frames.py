"""Stored pixel values of one frame, decoded under checks (PS3.3 C.7.6.3, PS3.5 8 and A.4).

Headers are not believed: the size that they state is compared with the bytes that are there, and
with the codestream's own header, before anything of that size is allocated.
"""

import warnings
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options

from hilum.dicom.codestream import check_rle_length, jpeg2000_size, jpeg_size
from hilum.errors import Rejected

MAX_FRAME_SAMPLES = 1 << 26
"""Samples of one frame that are decoded at most: 8192 by 8192 grey, or 4730 by 4730 in colour."""

_RLE_BUDGET = 1 << 28
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_J2K = frozenset({*uid.JPEG2000TransferSyntaxes, uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL})
_JPEG = frozenset({*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes})


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


@dataclass(frozen=True)
class _Header:
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    frames: int

    @property
    def frame_bytes(self) -> int:
        return (self.rows * self.columns * self.samples * self.bits_allocated + 7) // 8


def transfer_syntax(dataset: Dataset) -> uid.UID:
    """(0002,0010) of the dataset, or what its own encoding implies when it was read without group 0002.

    Raises:
        Rejected: ``transfer_syntax_missing``.
    """
    stated = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    if stated:
        return uid.UID(str(stated))
    match dataset.original_encoding:
        case (True, True):
            return uid.ImplicitVRLittleEndian
        case (False, True):
            return uid.ExplicitVRLittleEndian
        case (False, False):
            return uid.ExplicitVRBigEndian
    raise Rejected("transfer_syntax_missing", "(0002,0010) is absent")


def read_frame(dataset: Dataset, frame: int) -> StoredFrame:
    """Stored values of ``frame``, counted from 0.

    Raises:
        Rejected: ``no_pixels``, ``frame_absent``, ``image_header_missing``, ``image_header_invalid``,
            ``frame_too_large``, ``frame_size_disagrees``, ``transfer_syntax_missing``,
            ``transfer_syntax_unsupported``, ``pixels_undecodable``.
    """
    keyword = next((name for name in _PIXEL_KEYWORDS if name in dataset), None)
    if keyword is None:
        raise Rejected("no_pixels", "the data set holds no pixel data element")
    header = _read_header(dataset, keyword)
    if not 0 <= frame < header.frames:
        raise Rejected("frame_absent", f"frame {frame} of {header.frames}")
    syntax = transfer_syntax(dataset)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Rejected("transfer_syntax_unsupported", f"no decoder for {syntax.name}") from None
    if not decoder.is_available:
        raise Rejected("transfer_syntax_unsupported", f"no decoder is installed for {syntax.name}")
    pixels = dataset[keyword].value
    if not pixels:
        raise Rejected("no_pixels", "the pixel data element is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = as_pixel_options(dataset)
            options["number_of_frames"] = header.frames
            if syntax.is_encapsulated:
                _check_codestream(pixels, frame, header, syntax, options.get("extended_offsets"))
            else:
                _check_native(dataset, len(pixels), header)
            values, properties = decoder.as_array(dataset, index=frame, raw=header.bits_allocated != 8, **options)
    except Rejected:
        raise
    except MemoryError:
        raise Rejected("frame_too_large", "the frame does not fit in memory") from None
    except Exception:  # noqa: BLE001 - codecs and their wrappers raise anything; their text may quote elements
        raise Rejected("pixels_undecodable", f"pixel data cannot be decoded as {syntax.name}") from None
    if values.shape[:2] != (header.rows, header.columns):
        raise Rejected("frame_size_disagrees", "decoded pixels differ from rows and columns")
    return StoredFrame(
        values=values,
        photometric=str(properties["photometric_interpretation"]),
        bits_stored=int(dataset.get("BitsStored") or header.bits_allocated),
        signed=keyword == "PixelData" and int(dataset.PixelRepresentation) == 1,
    )


def _read_header(dataset: Dataset, keyword: str) -> _Header:
    rows = _integer(dataset, "Rows", 1, 65535)
    columns = _integer(dataset, "Columns", 1, 65535)
    samples = _integer(dataset, "SamplesPerPixel", 1, 3)
    bits_allocated = _integer(dataset, "BitsAllocated", 1, 64)
    frames = _integer(dataset, "NumberOfFrames", 1, 2**31 - 1) if dataset.get("NumberOfFrames") else 1
    if keyword == "PixelData":
        bits_stored = _integer(dataset, "BitsStored", 1, bits_allocated)
        _integer(dataset, "PixelRepresentation", 0, 1)
        # Where Bits Stored fills Bits Allocated a wrong High Bit changes nothing.
        if bits_stored < bits_allocated and "HighBit" in dataset:
            _integer(dataset, "HighBit", bits_stored - 1, bits_stored - 1)
    if rows * columns * samples > MAX_FRAME_SAMPLES:
        raise Rejected("frame_too_large", f"{rows} by {columns} by {samples} samples; at most {MAX_FRAME_SAMPLES}")
    return _Header(rows, columns, samples, bits_allocated, frames)


def _integer(dataset: Dataset, keyword: str, least: int, greatest: int) -> int:
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            raise Rejected("image_header_missing", f"{keyword} is absent")
        number = int(value)
    except (TypeError, ValueError, OverflowError, NotImplementedError):
        raise Rejected("image_header_invalid", f"{keyword} is not a number") from None
    if not least <= number <= greatest:
        raise Rejected("image_header_invalid", f"{keyword} is {number}; {least} to {greatest} is possible here")
    return number


def _check_native(dataset: Dataset, length: int, header: _Header) -> None:
    """PS3.5 8.1.1: the element holds every frame, padded to an even length."""
    expected = (header.rows * header.columns * header.samples * header.bits_allocated * header.frames + 7) // 8
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422" and header.samples == 3:
        expected = expected // 3 * 2
    if length < expected:
        raise Rejected("frame_size_disagrees", f"pixel data holds {length} bytes; its header states {expected}")


def _check_codestream(pixels: bytes, frame: int, header: _Header, syntax: uid.UID, extended: Any) -> None:
    encoded = get_frame(pixels, frame, number_of_frames=header.frames, extended_offsets=extended)
    if syntax == uid.RLELossless:
        check_rle_length(encoded, header.frame_bytes, _RLE_BUDGET)
        return
    size = jpeg2000_size(encoded) if syntax in _J2K else jpeg_size(encoded) if syntax in _JPEG else None
    if size is None:
        raise Rejected("pixels_undecodable", f"no {syntax.name} header in the frame")
    if (size.rows, size.columns, size.samples) != (header.rows, header.columns, header.samples):
        raise Rejected(
            "frame_size_disagrees",
            f"the codestream holds {size.rows} by {size.columns} by {size.samples} samples; "
            f"the header states {header.rows} by {header.columns} by {header.samples}",
        )
    if size.precision > header.bits_allocated:
        raise Rejected("frame_size_disagrees", f"{size.precision} bits a sample do not fit in {header.bits_allocated}")
