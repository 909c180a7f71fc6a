"""HL7 messages from bytes to facts, and the answer to each: it can always be read and names its message."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

from hilum.errors import Rejected
from hilum.hl7.acknowledgement import AcknowledgementConfig, acknowledge, read_acknowledgement
from hilum.hl7.charsets import UTF8_SIGNATURE
from hilum.hl7.escapes import read_delimiters
from hilum.hl7.judge import Verdict, judge
from hilum.hl7.message import header_line, parse, serialise
from hilum.ingest.adapters.contracts import fact_message
from hilum.ingest.domain.facts import Fact
from hilum.ingest.domain.feeds import FeedProfile, Feeds
from hilum.ingest.domain.normalise import Normaliser
from hilum.site import Site

AT = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
_SITE = Site(site="fuzz", timezone="Europe/Berlin")
_PROFILES = (
    FeedProfile("LAB", paths={"accession_number": ["OBR[4.1=X]-3[1].2", "ORC-3.1"]}),
    FeedProfile("OLD", "", "BIG-5"),
)
FEEDS = Feeds(_SITE.site, _SITE.zone, _PROFILES, identifier_authority="HOSPITAL")
_HEADER_BYTES = 4096


def check(data: bytes) -> None:
    """``data`` is one payload."""
    verdict = judge(data, FEEDS.rules)
    again = judge(data, FEEDS.rules)
    assert (verdict.outcome, verdict.header) == (again.outcome, again.header)
    check_answer(data, verdict)
    check_answer_as_read(data)
    if verdict.message is not None and not data.startswith(UTF8_SIGNATURE):
        assert serialisable(verdict)
    if verdict.outcome.code == "AA":
        stated = [fact_message(fact).SerializeToString(deterministic=True) for fact in facts(data, verdict)]
        assert stated == [fact_message(fact).SerializeToString(deterministic=True) for fact in facts(data, again)]


def facts(data: bytes, verdict: Verdict) -> Iterator[Fact]:
    """What an accepted message states."""
    if verdict.structure is None or verdict.message is None:
        return iter(())
    taken, feed = FEEDS.taken(verdict.header), FEEDS.key(verdict.header)
    return Normaliser(FEEDS).facts(data, verdict.message, verdict.structure, taken, feed, "fuzz", AT)


def check_answer(data: bytes, verdict: Verdict) -> None:
    """2.9.2: an answer is a message, with our code, and MSA-2 is the control ID as it came."""
    charset = FEEDS.rules(verdict.header).default_charset
    config, digest = AcknowledgementConfig(FEEDS.own_application), hashlib.sha256(data).digest()
    answer = acknowledge(verdict.header, digest, verdict.outcome, AT, config, charset)
    assert answer == acknowledge(verdict.header, digest, verdict.outcome, AT, config, charset)
    assert not {0x0B, 0x1C} & set(answer), "it could not be framed"
    read = parse(answer, charset)
    assert read.segments[0].name == "MSH"
    assert [segment.name for segment in read.segments[1:]] == (
        ["MSA"] if verdict.outcome.code == "AA" else ["MSA", "ERR"]
    )
    assert not read.malformed()
    assert read.get("MSA-1") == verdict.outcome.code
    expected = control_id(data, verdict)
    assert expected is None or read.raw("MSA-2") == expected


def check_answer_as_read(data: bytes) -> None:
    """Anything may come back from a peer."""
    try:
        read = read_acknowledgement(data)
    except Rejected:
        return
    assert read.code
    assert read.message_control_id


def control_id(data: bytes, verdict: Verdict) -> str | None:
    """What the answer must echo: MSH-10 as text, what cannot be printed as spaces; "" where no header can be read.

    None where there is no saying: bytes beyond ASCII in the header of what is no message, or too long a header.
    """
    if len(header_line(data)) > _HEADER_BYTES:
        return None
    if verdict.message is not None:
        text = verdict.message.segments[0].raw(10)
    else:
        line = header_line(data.removeprefix(UTF8_SIGNATURE))
        if not line.isascii():
            return None
        header = line.decode("ascii")
        if not header.startswith("MSH"):
            return ""
        try:
            separator = read_delimiters(header).field
        except Rejected:
            separator = "|"
        text = [*header.split(separator), *[""] * 10][9] if separator == header[3:4] else ""
    return "".join(mark if mark.isprintable() else " " for mark in text)


def serialisable(verdict: Verdict) -> bool:
    """A message written and read again is the same."""
    assert verdict.message is not None
    try:
        written = serialise(verdict.message)
    except Rejected as error:
        return error.code == "charset_unencodable"
    return parse(written, FEEDS.rules(verdict.header).default_charset).text == verdict.message.text
