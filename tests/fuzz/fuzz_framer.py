"""The MLLP framer: the same frames however the stream is cut, every byte accounted for, memory bounded."""

import random
import re

from hilum.hl7.mllp import Frame, FrameDecoder, FramingFault

_BLOCK = re.compile(rb"\x0b([^\x0b]*?)\x1c\x0d")
_LIMITS = (4, 16, 64, 1 << 20)


def check(data: bytes) -> None:
    """Byte 0 chooses the limit, byte 1 the cuts; the stream follows."""
    if len(data) < 2:
        return
    check_stream(data[2:], _LIMITS[data[0] % len(_LIMITS)], data[1])


def check_stream(stream: bytes, limit: int, cuts: int) -> None:
    expected = [block for block in _BLOCK.findall(stream) if len(block) <= limit]
    for pieces in (cut(stream, cuts), [stream]):
        decoder = FrameDecoder(limit)
        found: list[Frame | FramingFault] = []
        for piece in pieces:
            found += decoder.feed(piece)
            assert decoder.pending <= limit + 1  # and the first byte of an end sequence
        last = decoder.finish()
        assert (decoder.pending, decoder.in_block) == (0, False)
        frames = [item.payload for item in found if isinstance(item, Frame)]
        faults = [item for item in (*found, last) if isinstance(item, FramingFault)]
        assert frames == expected
        assert all(fault.lost <= limit for fault in faults)
        framed = sum(len(frame) + 3 for frame in frames)
        faulty = sum(fault.lost + 1 for fault in faults)
        if len(stream) <= limit:  # nothing was cut short
            assert framed + faulty + decoder.discarded == len(stream)
        else:
            assert framed + faulty + decoder.discarded <= len(stream)


def cut(stream: bytes, how: int) -> list[bytes]:
    """The stream in pieces: 0 is byte by byte, 1 to 15 that long, above at places drawn from ``how``."""
    if how < 16:
        size = how or 1
        return [stream[at : at + size] for at in range(0, len(stream), size)]
    drawn = random.Random(how)
    places = sorted(drawn.randrange(len(stream) + 1) for _ in range(how % 7 + 1))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
