"""Character sets by MSH-18 (HL7 v2.5.1 2.15.9.18, table 0211).

What is declared is believed: bytes that do not decode are refused, never guessed at.
"""

from hilum.errors import Rejected

_CODECS: dict[str, str] = {
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    "8859/1": "iso8859_1",
    "8859/2": "iso8859_2",
    "8859/3": "iso8859_3",
    "8859/4": "iso8859_4",
    "8859/5": "iso8859_5",
    "8859/6": "iso8859_6",
    "8859/7": "iso8859_7",
    "8859/8": "iso8859_8",
    "8859/9": "iso8859_9",
    "8859/15": "iso8859_15",
    "UNICODE UTF-8": "utf_8",
    "UTF-8": "utf_8",  # not in the table, frequent in the field, and it can mean nothing else
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
}
_SWITCHING: dict[str, str] = {"ISO IR87": "iso2022_jp", "ISO IR159": "iso2022_jp_1"}
UTF8_SIGNATURE = b"\xef\xbb\xbf"


def known_charsets() -> tuple[str, ...]:
    """Every value of MSH-18 that is understood."""
    return (*_CODECS, *_SWITCHING)


def codec_of(declared: list[str], default_charset: str) -> str:
    """The Python codec for the repetitions of MSH-18; ``default_charset`` stands in where it is empty.

    Raises Rejected ``charset_unknown``.
    """
    names = [name.strip() for name in declared if name.strip()] or [default_charset]
    for name in reversed(names):  # the richest of the Japanese sets contains the others (ISO 2022)
        if name in _SWITCHING:
            return _SWITCHING[name]
    codec = _CODECS.get(names[0])
    if codec is None:
        raise Rejected("charset_unknown", "the character set declared in MSH-18 is not supported")
    return codec


def declared_codec(declared: str, repetition: str, default_charset: str) -> tuple[str, bool]:
    """The codec for MSH-18 as ``declared``, and whether it names several sets. Raises as `codec_of`."""
    codec = _CODECS.get(declared or default_charset)
    if codec is not None:
        return codec, False
    names = declared.split(repetition)
    return codec_of(names, default_charset), len(names) > 1


def decode(raw: bytes, codec: str, several: bool = False) -> str:
    """``raw`` as text. Raises Rejected ``charset_undecodable`` when the bytes are not of that character set."""
    if several and b"\x1b" in raw and not codec.startswith("iso2022"):
        raise Rejected("charset_switch", "switching between these character sets (MSH-20) is not supported")
    # ISO 2022 is of 7 bits; the library's decoder lets others by behind an escape that it does not know.
    if codec.startswith("iso2022") and not raw.isascii():
        raise Rejected("charset_undecodable", "the bytes are not of the character set declared in MSH-18")
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        raise Rejected("charset_undecodable", "the bytes are not of the character set declared in MSH-18") from None


def encode(text: str, codec: str) -> bytes:
    """``text`` in ``codec``. Raises Rejected ``charset_unencodable`` when a character has no place in it."""
    try:
        return text.encode(codec)
    except UnicodeEncodeError:
        raise Rejected("charset_unencodable", "a character has no place in the character set of this link") from None
