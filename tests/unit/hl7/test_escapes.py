"""Delimiters as declared and escape sequences (2.5.4, 2.7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import Rejected
from hilum.hl7.escapes import STANDARD, Delimiters, escape, read_delimiters, unescape

ODD = Delimiters("@", "!", "%", "*", "#")
TRUNCATING = Delimiters("|", "^", "~", "\\", "&", "#")


@given(st.text(), st.sampled_from([STANDARD, ODD, TRUNCATING]))
def test_what_is_escaped_comes_back(text: str, delimiters: Delimiters) -> None:
    escaped = escape(text, delimiters)
    assert unescape(escaped, delimiters) == text
    assert not set(escaped) & {delimiters.field, delimiters.component, delimiters.repetition, "\r", "\n", "\x0b"}


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f"),
        (r"one\.br\two\.sp2\three", "one\ntwo\n\nthree"),
        (r"\H\bold\N\ \.in+3\indented", "bold indented"),
        (r"caf\XC3A9\ \X0D\end", "café \rend"),
        (r"\Z01\ \C2842\ \M242242\ \Q\ \X0\ \XFF\ ", r"\Z01\ \C2842\ \M242242\ \Q\ \X0\ \XFF\ "),
        (r"C:\temp\new", r"C:\temp\new"),
        ("trailing\\", "trailing\\"),
        (r"\E\F\E\ ", r"\F\ "),
    ],
)
def test_known_sequences_resolve_once_and_unknown_ones_stay(escaped: str, text: str) -> None:
    assert unescape(escaped, STANDARD) == text


def test_sequences_stand_for_the_delimiters_that_were_declared() -> None:
    assert unescape("*F* *S* *T* *R* *E*", ODD) == "@ ! # % *"
    assert unescape(r"\P\ ", TRUNCATING) == "# "
    assert unescape(r"\P\ ", STANDARD) == r"\P\ "


@pytest.mark.parametrize("header", [r"MSH|^~\&|", "MSH@!%*#@", r"MSH|^~\&#|", "MSH|^~|", "MSH|^~&|"])
def test_two_to_five_encoding_characters_are_read(header: str) -> None:
    delimiters = read_delimiters(header)
    assert header == f"MSH{delimiters.field}{delimiters.encoding_characters}{delimiters.field}"


@pytest.mark.parametrize(
    "header", ["MSH", "MSH|", "MSH||", "MSH|^|", "MSH|^^~|", r"MSH|^~\&#$|", "MSHA^~&A", 'MSH|^~"&|']
)
def test_unusable_delimiters_are_refused(header: str) -> None:
    with pytest.raises(Rejected, match="delimiters_bad"):
        read_delimiters(header)


def test_without_an_escape_character_a_delimiter_cannot_be_sent() -> None:
    with pytest.raises(Rejected, match="unescapable"):
        escape("a|b", Delimiters("|", "^", "~", "", ""))
