"""Framing (MLLP release 1): whatever the pieces, the same frames; nothing is held without a limit."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hilum.hl7.mllp import Frame, FrameDecoder, FramingFault, encode

payloads = st.lists(st.binary(max_size=40).map(lambda raw: raw.translate(None, b"\x0b\x1c")), max_size=6)


def feed_all(decoder: FrameDecoder, pieces: list[bytes]) -> list[Frame | FramingFault]:
    return [item for piece in pieces for item in decoder.feed(piece)]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(payloads, st.lists(st.integers(0, 400), max_size=8))
def test_split_and_glued_frames_come_out_whole(messages: list[bytes], places: list[int]) -> None:
    stream = b"".join(encode(message) for message in messages)
    assert feed_all(FrameDecoder(1000), cut(stream, places)) == [Frame(message) for message in messages]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_cuts_never_change_the_frames_and_every_byte_is_accounted_for(stream: bytes, places: list[int]) -> None:
    whole, pieces = FrameDecoder(1000), FrameDecoder(1000)
    expected = [item.payload for item in whole.feed(stream) if isinstance(item, Frame)]
    found = [item.payload for item in feed_all(pieces, cut(stream, places)) if isinstance(item, Frame)]
    assert found == expected
    assert (whole.discarded, whole.pending) == (pieces.discarded, pieces.pending) or b"\x0b" in stream


def test_bytes_before_a_block_are_discarded_and_counted() -> None:
    decoder = FrameDecoder(100)
    assert decoder.feed(b"noise" + encode(b"MSH|1") + b"\r\n" + encode(b"MSH|2")) == [Frame(b"MSH|1"), Frame(b"MSH|2")]
    assert decoder.discarded == 7


def test_a_start_character_inside_a_block_resynchronises_with_a_fault() -> None:
    found = FrameDecoder(100).feed(b"\x0bMSH|lost" + encode(b"MSH|kept"))
    assert [type(item) for item in found] == [FramingFault, Frame]
    assert found[0].payload == b"MSH|lost"
    assert found[1].payload == b"MSH|kept"
    assert isinstance(found[0], FramingFault)
    assert found[0].code == "block_interrupted"


def test_a_storm_of_start_characters_costs_one_fault_a_piece() -> None:
    decoder = FrameDecoder(100)
    assert decoder.feed(b"\x0b" * 10_000) == []
    assert decoder.discarded == 9_999
    assert len(decoder.feed(b"\x0ba" * 10_000)) == 1


def test_a_block_over_the_limit_is_given_up_at_once_and_the_next_one_is_read() -> None:
    decoder = FrameDecoder(10)
    found = decoder.feed(b"\x0b" + b"MSH|" + b"x" * 50)
    assert [item.code for item in found if isinstance(item, FramingFault)] == ["block_too_large"]
    assert found[0].payload == b"MSH|xxxxxx"
    assert decoder.pending == 0
    assert decoder.in_block
    assert decoder.feed(b"x" * 1000 + b"\x1c") == []
    assert decoder.feed(b"\x0d" + encode(b"next")) == [Frame(b"next")]


def test_a_whole_block_over_the_limit_in_one_piece_does_not_swallow_the_next() -> None:
    found = FrameDecoder(10).feed(encode(b"x" * 50) + encode(b"next"))
    assert [type(item) for item in found] == [FramingFault, Frame]


def test_a_missing_end_is_a_fault_when_the_stream_ends() -> None:
    decoder = FrameDecoder(100)
    assert decoder.feed(b"\x0bMSH|half\x1c") == []
    fault = decoder.finish()
    assert fault is not None
    assert (fault.code, fault.payload) == ("block_unfinished", b"MSH|half\x1c")
    assert decoder.finish() is None


def test_an_end_character_without_carriage_return_stays_in_the_payload() -> None:
    assert FrameDecoder(100).feed(b"\x0ba\x1cb\x1c\x0d") == [Frame(b"a\x1cb")]


def test_an_empty_block_is_a_frame() -> None:
    assert FrameDecoder(100).feed(encode(b"")) == [Frame(b"")]


def test_sixteen_mebibytes_in_small_pieces_take_linear_time() -> None:
    payload = b"x" * (16 << 20)
    stream = encode(payload)
    decoder = FrameDecoder(20 << 20)
    found = [item for at in range(0, len(stream), 65_536) for item in decoder.feed(stream[at : at + 65_536])]
    assert [item.payload == payload for item in found] == [True]
