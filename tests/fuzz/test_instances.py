"""Data sets under drawn elements and hostile encodings, and what the search found in their reading."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import fuzz_instances, fuzz_outline, fuzz_pixels
from fuzz.drawing import drawn
from fuzz.limits import allocated_bytes, processor_seconds
from fuzz.seeds import SEEDS

SIZE = 256 * 1024
HANG_SECONDS = 20.0
EXPLICIT, IMPLICIT, DEFLATED = b"\x01", b"\x00", b"\x03"
_UNDEFINED = 0xFFFFFFFF
_LONG = {b"OB", b"OW", b"SQ", b"UN", b"UC", b"UR", b"UT", b"OD", b"OF", b"OL", b"OV", b"SV", b"UV"}
_WHOLE = [data for data in SEEDS["instances"]() if data[:1] == EXPLICIT]


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """In explicit VR little endian (PS3.5 7.1.2), with a ``length`` that may lie."""
    size = len(value) if length is None else length
    if vr in _LONG:
        return struct.pack("<HH2sHI", group, number, vr, 0, size & _UNDEFINED) + value
    return struct.pack("<HH2sH", group, number, vr, size & 0xFFFF) + value


UIDS = (
    element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.1\0")
    + element(8, 0x18, b"UI", b"1.2.3.3\0")
    + element(0x20, 0x0D, b"UI", b"1.2.3.1\0")
    + element(0x20, 0x0E, b"UI", b"1.2.3.2\0")
)
vrs = st.sampled_from(
    [b"PN", b"LO", b"SQ", b"UN", b"US", b"DS", b"IS", b"AT", b"OB", b"OW", b"FD", b"UI", b"XX", b"U\x11", b"AS"]
)
tags = st.sampled_from(
    [(8, 5), (8, 0x16), (8, 0x18), (8, 0x50), (8, 0x60), (8, 0x51), (8, 0x1030), (0x10, 0x10), (0x10, 0x20)]
) | st.sampled_from(
    [(0x10, 0x1010), (0x18, 0x1164), (0x20, 0x13), (0x28, 2), (0x28, 8), (0x28, 0x10), (0x28, 0x11), (0x28, 0x100)]
)
odd_tags = st.sampled_from(
    [
        (0x28, 0x1050),
        (0x28, 0x3006),
        (0x7FE0, 0x10),
        (0x7FE0, 1),
        (9, 0x10),
        (0xFFFE, 0xE000),
        (0xFFFE, 0xE0DD),
        (2, 0x10),
    ]
)
values = st.binary(max_size=24) | st.sampled_from(
    [
        b"ISO_IR 192",
        b"\\ISO 2022 IR 87",
        b"1.2.3.3\0",
        b"018M",
        b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
        b"1e99",
        b"-1\\2",
        b"\xff\xff",
        b"inf",
    ]
)


@st.composite
def data_sets(draw: st.DrawFn) -> bytes:
    """Elements in any order, some of which lie about their length or nest."""
    inner = b""
    for _ in range(draw(st.integers(0, 3))):
        inner += element(*draw(tags | odd_tags), draw(vrs), draw(values))
    lies = st.none() | st.sampled_from([0, 1, 7, 0xFFFE, 0x7FFFFFFF, _UNDEFINED])
    whole = UIDS if draw(st.booleans()) else UIDS[:-8]
    for _ in range(draw(st.integers(1, 5))):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, draw(st.sampled_from([len(inner), _UNDEFINED, 3]))) + inner
        whole += element(*draw(tags | odd_tags), draw(vrs), draw(st.sampled_from([inner, item]) | values), draw(lies))
    return whole


@drawn
@given(data_sets(), st.sampled_from([EXPLICIT, IMPLICIT, b"\x02", b"\x04", b"\x07"]))
def test_whatever_the_elements_are_the_data_set_is_taken_or_refused(whole: bytes, syntax: bytes) -> None:
    fuzz_instances.check(syntax + whole)
    fuzz_outline.check(syntax + whole)
    fuzz_pixels.check(syntax + b"\0" + whole)


@drawn
@given(st.sampled_from(_WHOLE), st.data())
def test_so_is_one_that_is_cut_or_spoiled(whole: bytes, data: st.DataObject) -> None:
    spoiled = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4))):
        spoiled[data.draw(st.integers(1, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(spoiled[: data.draw(st.integers(1, len(spoiled)))])
    fuzz_instances.check(cut)
    fuzz_outline.check(cut)


def nested(depth: int, *, defined: bool) -> bytes:
    """Sequences within sequences (PS3.5 7.5)."""
    if not defined:
        opened = element(8, 0x1140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, _UNDEFINED), _UNDEFINED)
        closed = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
        return opened * depth + closed * depth
    inner = b""
    for _ in range(depth):
        inner = element(8, 0x1140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner)
    return inner


_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
HOSTILE = {
    "sequences-without-end": EXPLICIT + UIDS + nested(SIZE // 20, defined=False)[: SIZE],
    "sequences-within-sequences": EXPLICIT + UIDS + nested(8_000, defined=True),
    "issuers-within-issuers": EXPLICIT + UIDS + nested(8_000, defined=True).replace(b"\x08\0\x40\x11", b"\x10\0\x24\0"),
    "empty-items": EXPLICIT + UIDS + element(8, 0x1140, b"SQ", _ITEM * (SIZE // 8)),
    "empty-items-without-length": EXPLICIT + UIDS + element(8, 0x1140, b"SQ", _ITEM * (SIZE // 8), _UNDEFINED),
    "fragments": EXPLICIT + UIDS + element(0x7FE0, 0x10, b"OB", _ITEM * (SIZE // 8), _UNDEFINED),
    "encapsulated-fragments": b"\x07" + UIDS + element(0x7FE0, 0x10, b"OB", _ITEM * (SIZE // 8), _UNDEFINED),
    "undefined-within-undefined": EXPLICIT + UIDS + element(9, 0x1001, b"UN", b"", _UNDEFINED) * (SIZE // 12),
    "empty-elements": EXPLICIT + b"".join(element(8 + 2 * (n >> 16), n & 0xFFFF, b"LO", b"") for n in range(SIZE // 8)),
    "one-element-again-and-again": EXPLICIT + UIDS + element(0x10, 0x10, b"PN", b"A^B ") * (SIZE // 12),
    "a-value-of-backslashes": EXPLICIT + UIDS + element(8, 8, b"UC", b"\\" * SIZE),
    "names-of-escapes": EXPLICIT
    + element(8, 5, b"CS", b"\\ISO 2022 IR 87")
    + UIDS
    + element(0x10, 0x10, b"UC", b"\x1b$B" * (SIZE // 3)),
    "charsets-without-end": EXPLICIT + element(8, 5, b"UC", b"ISO 2022 IR 87\\" * (SIZE // 15)) + UIDS,
    "integers-without-end": EXPLICIT + UIDS + element(0x28, 8, b"UC", b"9" * SIZE),
    "private-blocks": EXPLICIT + UIDS + b"".join(element(9, 0x10 + n % 240, b"LO", b"X") for n in range(SIZE // 10)),
    "implicit-tags": IMPLICIT + b"".join(struct.pack("<HHI", 8, n & 0xFFFF, 0) for n in range(SIZE // 8)),
    "deflated-zeros": DEFLATED + zlib.compress(bytes(256 << 20), 9, -15),
    "deflated-items": DEFLATED + zlib.compress(UIDS + element(8, 0x1140, b"SQ", _ITEM * (SIZE // 8)), 9, -15),
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_encodings_take_little_time(data: bytes) -> None:
    with processor_seconds(HANG_SECONDS):
        fuzz_instances.check(data)
        fuzz_outline.check(data)


@pytest.mark.parametrize(
    "name", ["sequences-without-end", "fragments", "deflated-zeros", "one-element-again-and-again"]
)
def test_a_data_set_holds_a_bounded_multiple_of_its_size(name: str) -> None:
    with allocated_bytes(64 << 20):
        fuzz_instances.check(HOSTILE[name])


@pytest.mark.parametrize("vr", [b"UT", b"UC", b"UN", b"LO", b"DS", b"SQ"])
def test_a_long_value_is_read_as_the_parser_reads_it(vr: bytes) -> None:
    """Found beside the parser: long texts were lent to the library as memory, which it cannot decode."""
    value = struct.pack("<HHI", 0xFFFE, 0xE000, 4992) + element(8, 0x104, b"LO", b"1" * 4984)
    fuzz_outline.check(EXPLICIT + UIDS + element(0x28, 0x1050, vr, value if vr == b"SQ" else b"1\\" * 2500))


def test_a_byte_between_two_segments_of_a_jpeg_is_found_before_the_codec_meets_it() -> None:
    """Found by the target: GDCM ended its process over it; inference and rendering lost a worker to each such image."""
    whole = next(data for data in SEEDS["instances"]() if data[:1] == b"\x04")
    scan = whole.index(b"\xff\xda")
    fuzz_pixels.check(whole[:1] + b"\0" + whole[1:])
    fuzz_pixels.check(whole[:1] + b"\0" + whole[1:scan] + b"\x20" + whole[scan:])
