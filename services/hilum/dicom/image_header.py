"""What the Image Pixel module states (PS3.3 C.7.6.3), checked against the bytes that are there.

Headers are not believed: before anything of the stated size is allocated, it is compared with the
length of the pixel data (PS3.5 8.1.1) or with the codestream's own header (PS3.5 8.2, A.4).
"""

from dataclasses import dataclass

from pydicom import Dataset, uid
from pydicom.dataelem import RawDataElement
from pydicom.encaps import get_frame

from hilum.dicom.codestream import check_rle_length, jpeg2000_size, jpeg_reaches_scan, jpeg_size
from hilum.dicom.raw import stored, unsigned_short
from hilum.errors import Rejected

MAX_FRAME_SAMPLES = 1 << 26
"""Samples of one frame that are decoded at most: 8192 by 8192 grey, or 4730 by 4730 in colour."""

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_RLE_BUDGET = 1 << 28
_J2K = frozenset({*uid.JPEG2000TransferSyntaxes, uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL})
_JPEG = frozenset({*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes})


@dataclass(frozen=True)
class ImageHeader:
    """The stated size of the pixel data element ``keyword``."""

    keyword: str
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
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


def check_image(dataset: Dataset, frame: int = 0) -> ImageHeader:
    """The header of ``dataset``, once the bytes of ``frame`` (counted from 0) agree with it.

    Raises:
        Rejected: ``no_pixels``, ``frame_absent``, ``image_header_missing``, ``image_header_invalid``,
            ``frame_too_large``, ``frame_size_disagrees``, ``transfer_syntax_missing``, ``pixels_undecodable``.
    """
    keyword = next((name for name in PIXEL_KEYWORDS if name in dataset), None)
    if keyword is None:
        raise Rejected("no_pixels", "the data set holds no pixel data element")
    header = _read_header(dataset, keyword)
    if not 0 <= frame < header.frames:
        raise Rejected("frame_absent", f"frame {frame} of {header.frames}")
    syntax = transfer_syntax(dataset)
    pixels = _pixels(dataset, keyword)
    if not pixels:
        raise Rejected("no_pixels", "the pixel data element is empty")
    if syntax.is_encapsulated:
        _check_codestream(dataset, bytes(pixels), frame, header, syntax)
    else:
        _check_native(dataset, len(pixels), header)
    return header


def _pixels(dataset: Dataset, keyword: str) -> bytes | memoryview:
    """The element's value, without copying what is still raw."""
    raw = stored(dataset, keyword)
    if isinstance(raw, RawDataElement) and raw.value is not None:
        return raw.value
    value: bytes = dataset[keyword].value
    return value


def extended_offsets(dataset: Dataset) -> tuple[bytes, bytes] | None:
    """The Extended Offset Table and its lengths (C.7.6.3.1.8), where both are there and agree."""
    offsets, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    if not offsets or not lengths or len(offsets) != len(lengths):
        return None
    return offsets, lengths


def _read_header(dataset: Dataset, keyword: str) -> ImageHeader:
    rows = _integer(dataset, "Rows", 1, 65535)
    columns = _integer(dataset, "Columns", 1, 65535)
    samples = _integer(dataset, "SamplesPerPixel", 1, 3)
    bits_allocated = bits_stored = _integer(dataset, "BitsAllocated", 1, 64)
    frames = _integer(dataset, "NumberOfFrames", 1, 2**31 - 1) if dataset.get("NumberOfFrames") else 1
    signed = False
    if keyword == "PixelData":
        bits_stored = _integer(dataset, "BitsStored", 1, bits_allocated)
        signed = _integer(dataset, "PixelRepresentation", 0, 1) == 1
        # Where Bits Stored fills Bits Allocated a wrong High Bit changes nothing.
        if bits_stored < bits_allocated and "HighBit" in dataset:
            _integer(dataset, "HighBit", bits_stored - 1, bits_stored - 1)
    if rows * columns * samples > MAX_FRAME_SAMPLES:
        raise Rejected("frame_too_large", f"{rows} by {columns} by {samples} samples; at most {MAX_FRAME_SAMPLES}")
    return ImageHeader(keyword, rows, columns, samples, bits_allocated, bits_stored, signed, frames)


def _integer(dataset: Dataset, keyword: str, least: int, greatest: int) -> int:
    try:
        value = unsigned_short(dataset, keyword)
        if value is None:
            value = dataset.get(keyword)
        if value is None or value == "":
            raise Rejected("image_header_missing", f"{keyword} is absent")
        number = int(value)
    except (TypeError, ValueError, OverflowError, NotImplementedError):
        raise Rejected("image_header_invalid", f"{keyword} is not a number") from None
    if not least <= number <= greatest:
        raise Rejected("image_header_invalid", f"{keyword} is {number}; {least} to {greatest} is possible here")
    return number


def _check_native(dataset: Dataset, length: int, header: ImageHeader) -> None:
    """PS3.5 8.1.1: the element holds every frame, padded to an even length."""
    expected = (header.rows * header.columns * header.samples * header.bits_allocated * header.frames + 7) // 8
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422" and header.samples == 3:
        expected = expected // 3 * 2
    if length < expected:
        raise Rejected("frame_size_disagrees", f"pixel data holds {length} bytes; its header states {expected}")


def _check_codestream(dataset: Dataset, pixels: bytes, frame: int, header: ImageHeader, syntax: uid.UID) -> None:
    try:
        encoded = get_frame(pixels, frame, number_of_frames=header.frames, extended_offsets=extended_offsets(dataset))
    except Exception:  # noqa: BLE001 - the walk over items raises what its struct and slices raise
        raise Rejected("pixels_undecodable", "the encapsulated frames cannot be told apart") from None
    if syntax == uid.RLELossless:
        check_rle_length(encoded, header.frame_bytes, _RLE_BUDGET)
        return
    if syntax not in _J2K | _JPEG:
        return  # video and others, which nothing here decodes
    size = jpeg2000_size(encoded) if syntax in _J2K else jpeg_size(encoded)
    if size is None:
        raise Rejected("pixels_undecodable", f"no {syntax.name} header in the frame")
    if (size.rows, size.columns, size.samples) != (header.rows, header.columns, header.samples):
        raise Rejected(
            "frame_size_disagrees",
            f"the codestream holds {size.rows} by {size.columns} by {size.samples} samples; "
            f"the header states {header.rows} by {header.columns} by {header.samples}",
        )
    if syntax in _JPEG and not jpeg_reaches_scan(encoded):
        raise Rejected("pixels_undecodable", "the codestream is broken before its first scan")
    if size.precision > header.bits_allocated:
        raise Rejected("frame_size_disagrees", f"{size.precision} bits a sample do not fit in {header.bits_allocated}")
