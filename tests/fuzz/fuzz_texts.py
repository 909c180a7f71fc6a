"""The grammar beneath a message: character sets, escapes and times, there and back."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from hilum.errors import Rejected
from hilum.hl7.charsets import codec_of, decode, encode, known_charsets
from hilum.hl7.compose import compose_field
from hilum.hl7.escapes import STANDARD, Delimiters, escape, read_delimiters, unescape
from hilum.hl7.timestamps import read_timestamp, write_timestamp

_ZONE = ZoneInfo("America/St_Johns")
_CHARSETS = known_charsets()
_DELIMITERS = (STANDARD, Delimiters("$", "%", "!", "?", "*", "#"), Delimiters("|", "^", "~", "", ""))


def check(data: bytes) -> None:
    """Byte 0 chooses the character set, byte 1 the delimiters; the text follows."""
    if len(data) < 2:
        return
    codec = codec_of([_CHARSETS[data[0] % len(_CHARSETS)]], "ASCII")
    try:
        text = decode(data[2:], codec)
    except Rejected as error:
        assert error.code == "charset_undecodable"
        text = data[2:].decode("latin_1")
    else:
        check_charset(text, codec)
    check_escapes(text, _DELIMITERS[data[1] % len(_DELIMITERS)], codec)
    check_timestamp(text)
    check_declared(text)


def check_charset(text: str, codec: str) -> None:
    text.encode("utf_8")  # the contracts are UTF-8: no half of a surrogate pair may come out
    try:
        written = encode(text, codec)
    except Rejected as error:
        assert error.code == "charset_unencodable"
        return
    assert decode(written, codec) == text


def check_escapes(text: str, delimiters: Delimiters, codec: str) -> None:
    assert len(unescape(text, delimiters, codec)) <= 20 * len(text), "a line command stands for 99 lines at most"
    unescape(text, delimiters, codec).encode("utf_8")
    try:
        escaped = escape(text, delimiters)
    except Rejected as error:
        assert (error.code, delimiters.escape) == ("unescapable", "")
        return
    assert not any(mark in escaped for mark in delimiters if mark and mark != delimiters.escape)
    assert not any(mark in escaped for mark in "\r\n\x0b\x1c")
    assert unescape(escaped, delimiters, codec) == text
    assert compose_field(text, delimiters) in (escaped, text)


def check_timestamp(text: str) -> None:
    instant = read_timestamp(text, _ZONE)
    if instant is not None:
        assert instant.utcoffset() == timedelta(0)
        assert read_timestamp(write_timestamp(instant), _ZONE) == instant.replace(microsecond=0)


def check_declared(text: str) -> None:
    try:
        delimiters = read_delimiters("MSH" + text)
    except Rejected as error:
        assert error.code == "delimiters_bad"
        return
    declared = [mark for mark in delimiters if mark]
    assert len(set(declared)) == len(declared)
    assert ("MSH" + text).startswith("MSH" + delimiters.field + delimiters.encoding_characters)
