"""Character sets, escapes, times and paths under drawn text, and what the search found in them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import fuzz_paths, fuzz_texts
from fuzz.drawing import drawn
from fuzz.limits import processor_seconds
from hilum.hl7.charsets import codec_of, known_charsets
from hilum.hl7.escapes import STANDARD, Delimiters, unescape
from hilum.hl7.timestamps import read_timestamp, write_timestamp

HANG_SECONDS = 20.0
SIZE = 256 * 1024

escapes = st.sampled_from(
    ["\\", "\\F\\", "\\X", "0D", "\\.br\\", "\\.sp99\\", "|", "^", "\n", "\r", "é", "功", "+", "A"]
)
times = st.from_regex(r"[0-9]{2,14}(\.[0-9]{1,7})?([+-][0-9]{4})?", fullmatch=True)


@drawn
@given(st.sampled_from(known_charsets()), st.text(max_size=30) | st.lists(escapes, max_size=12).map("".join))
def test_text_is_the_same_there_and_back(charset: str, text: str) -> None:
    codec = codec_of([charset], "ASCII")
    fuzz_texts.check_charset(text.encode(codec, "ignore").decode(codec), codec)
    for delimiters in (STANDARD, Delimiters("$", "%", "!", "?", "*", "#"), Delimiters("|", "^", "~", "", "")):
        fuzz_texts.check_escapes(text.encode(codec, "ignore").decode(codec), delimiters, codec)
    fuzz_texts.check_declared(text)


@drawn
@given(times)
def test_an_instant_is_the_same_there_and_back(text: str) -> None:
    fuzz_texts.check_timestamp(text)


def test_a_year_before_1000_is_written_with_four_digits() -> None:
    """Found by the target: it was written as it counts, and could not be read again."""
    at = datetime(30, 1, 1, tzinfo=UTC)
    assert write_timestamp(at) == "00300101000000+0000"
    assert read_timestamp(write_timestamp(at), UTC) == at


@drawn
@given(
    st.from_regex(r"[A-Z][A-Z0-9]{2}(\[[^\]]{1,6}\])?-[0-9]{1,3}(\[[^\]]{1,6}\])?(\.[0-9]{1,3}){0,2}", fullmatch=True)
)
def test_whatever_looks_like_a_path_is_read_or_refused(text: str) -> None:
    fuzz_paths.check(b"\0" + text.encode("utf-8", "replace"))


@pytest.mark.parametrize("piece", ["\\", "\\A", "\\X41", "\\.sp9", "\\.sp99\\", "\\F\\", "\\.br+", "A\\"])
def test_escapes_at_size_take_linear_time(piece: str) -> None:
    text = piece * (SIZE // len(piece))
    with processor_seconds(HANG_SECONDS):
        fuzz_texts.check_escapes(text, STANDARD, "utf_8")
    assert len(unescape(text, STANDARD)) <= 20 * len(text)
