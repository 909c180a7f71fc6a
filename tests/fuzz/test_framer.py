"""The MLLP framer under drawn streams, and what the search found in it."""

from hypothesis import given
from hypothesis import strategies as st

from fuzz.drawing import drawn
from fuzz.fuzz_framer import check_stream
from fuzz.limits import allocated_bytes
from hilum.hl7.mllp import END, START, Frame, FrameDecoder, encode

streams = st.lists(st.sampled_from([b"\x0b", b"\x1c", b"\x0d", b"\x1c\x0d", b"A", b"BCD", b"E" * 17]), max_size=60).map(
    b"".join
)


@drawn
@given(streams, st.sampled_from([1, 4, 16, 64, 1 << 20]), st.integers(0, 255))
def test_cuts_never_change_the_frames(stream: bytes, limit: int, cuts: int) -> None:
    check_stream(stream, limit, cuts)


def test_a_block_of_just_the_limit_is_read_when_its_end_sequence_comes_in_two_pieces() -> None:
    """Found by the target: the first byte of the end sequence was counted as content, and the block given up."""
    decoder = FrameDecoder(10)
    assert decoder.feed(START + b"A" * 10 + END[:1]) == []
    assert decoder.feed(END[1:]) == [Frame(b"A" * 10)]


def test_one_byte_more_than_the_limit_is_too_large_wherever_it_is_cut() -> None:
    whole = encode(b"A" * 11)
    for place in range(len(whole) + 1):
        decoder = FrameDecoder(10)
        found = decoder.feed(whole[:place]) + decoder.feed(whole[place:])
        assert [type(item).__name__ for item in found] == ["FramingFault"]
        assert found[0].payload == b"A" * 10


def test_a_stream_without_an_end_holds_no_more_than_the_limit() -> None:
    decoder, limit = FrameDecoder(1 << 16), 1 << 16
    with allocated_bytes(8 * limit):
        for piece in (START, *[b"A" * 4096] * (64 * limit // 4096)):
            decoder.feed(piece)
            assert decoder.pending <= limit + 1
