"""An association's PDUs under drawn streams: cut at any place they come to the same."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from fuzz.drawing import drawn
from fuzz.fuzz_transfer import check, outcome
from fuzz.seeds import SEEDS

_WHOLE = list(SEEDS["transfer"]())
headers = st.builds(
    lambda kind, size: struct.pack(">BxI", kind, size), st.integers(0, 8), st.integers(0, 40) | st.just(2**32 - 1)
)


@drawn
@given(st.lists(headers | st.binary(max_size=12), max_size=8).map(b"".join))
def test_a_stream_of_anything_is_answered_or_aborted(stream: bytes) -> None:
    check(b"\0" + stream)


@drawn
@given(st.sampled_from(_WHOLE), st.data())
def test_so_is_a_conversation_that_is_cut_or_spoiled(whole: bytes, data: st.DataObject) -> None:
    spoiled = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 3))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(spoiled[: data.draw(st.integers(1, len(spoiled)))]))


def test_every_request_of_a_conversation_is_answered() -> None:
    sent, files = outcome(_WHOLE[1][1:], 5, 0x40)
    assert [file[-3:] for file in files] == [b"set", b"bbb"]
    assert sent.endswith(struct.pack(">BxI", 6, 4) + bytes(4))
