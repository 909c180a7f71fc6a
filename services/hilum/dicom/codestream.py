"""What an encoded frame says of its own size, read without decoding it.

A codec allocates what the codestream asks for, so a frame of a few bytes may ask for gigabytes.
These readers let the caller compare that with the Image Pixel module first.
"""

from dataclasses import dataclass

from hilum.errors import Rejected

_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_J2K_SIZ = b"\xff\x4f\xff\x51"
_RLE_HEADER = 64


@dataclass(frozen=True)
class FrameSize:
    """Size of an encoded frame in pixels, samples a pixel and bits a sample."""

    rows: int
    columns: int
    samples: int
    precision: int


def jpeg_size(encoded: bytes) -> FrameSize | None:
    """The first start-of-frame segment (ISO/IEC 10918-1 B.2.2; ISO/IEC 14495-1 C.2.2); None where there is none."""
    if encoded[:2] != b"\xff\xd8":
        return None
    offset = 2
    while offset + 10 <= len(encoded):
        if encoded[offset] != 0xFF:
            return None
        marker = encoded[offset + 1]
        if marker == 0xFF:  # fill byte, B.1.1.2
            offset += 1
            continue
        if marker in _SOF:
            return FrameSize(
                rows=int.from_bytes(encoded[offset + 5 : offset + 7], "big"),
                columns=int.from_bytes(encoded[offset + 7 : offset + 9], "big"),
                samples=encoded[offset + 9],
                precision=encoded[offset + 4],
            )
        length = int.from_bytes(encoded[offset + 2 : offset + 4], "big")
        if length < 2 or marker == 0xDA:
            return None
        offset += 2 + length
    return None


def jpeg_reaches_scan(encoded: bytes) -> bool:
    """Whether the segments before the first scan follow one another (ISO/IEC 10918-1 B.2): nothing stands between.

    A codec that finds a byte there may end its process.
    """
    offset = 2
    while offset + 4 <= len(encoded) and encoded[offset] == 0xFF:
        if encoded[offset + 1] == 0xFF:  # fill byte, B.1.1.2
            offset += 1
            continue
        if encoded[offset + 1] == 0xDA:
            return True
        length = int.from_bytes(encoded[offset + 2 : offset + 4], "big")
        if length < 2:
            return False
        offset += 2 + length
    return False


def jpeg2000_size(encoded: bytes) -> FrameSize | None:
    """The SIZ segment (ISO/IEC 15444-1 A.5.1) of a codestream, bare or in a JP2 wrapper; None where there is none."""
    start = encoded.find(_J2K_SIZ, 0, 4096)
    if start < 0 or len(encoded) < start + 43:
        return None

    def word(offset: int) -> int:
        return int.from_bytes(encoded[start + offset : start + offset + 4], "big")

    return FrameSize(
        rows=word(12) - word(20),
        columns=word(8) - word(16),
        samples=int.from_bytes(encoded[start + 40 : start + 42], "big"),
        precision=(encoded[start + 42] & 0x7F) + 1,
    )


def check_rle_length(encoded: bytes, frame_bytes: int, budget: int) -> None:
    """Refuse an RLE frame (PS3.5 G.3) that would unpack to more than twice ``frame_bytes``.

    Two bytes may stand for 128, so frames whose worst case stays under ``budget`` bytes are let through
    unread; the others are walked, which costs about as much as decoding them.

    Raises:
        Rejected: ``frame_size_disagrees``.
    """
    if len(encoded) * 64 <= budget:
        return
    unpacked, offset, limit = 0, _RLE_HEADER, 2 * frame_bytes
    while offset < len(encoded):
        control = encoded[offset]
        if control < 128:
            unpacked += control + 1
            offset += control + 2
        elif control > 128:
            unpacked += 257 - control
            offset += 2
        else:
            offset += 1
        if unpacked > limit:
            raise Rejected("frame_size_disagrees", "an RLE frame unpacks to more than rows and columns state")
