"""Feeds: how each sender is taken; every fault of the site's profiles at once."""

from zoneinfo import ZoneInfo

import pytest

from hilum.errors import Rejected
from hilum.hl7.header import Header
from hilum.ingest.domain.feeds import FeedProfile, Feeds

UTC = ZoneInfo("UTC")


def test_a_sender_is_found_by_application_and_facility_then_by_application() -> None:
    feeds = Feeds(
        "north",
        UTC,
        [FeedProfile("RIS", "A", "8859/2", "AUTH-A"), FeedProfile("RIS", "", "8859/7")],
        identifier_authority="SITE",
    )
    taken = [feeds.taken(Header("RIS", "A")), feeds.taken(Header("RIS", "B")), feeds.taken(Header("LAB", "A"))]
    assert [each.rules.default_charset for each in taken] == ["8859/2", "8859/7", "8859/1"]
    assert [each.identifier_authority for each in taken] == ["AUTH-A", "SITE", "SITE"]


def test_the_key_names_site_application_and_facility() -> None:
    assert Feeds("north", UTC, []).key(Header("RIS", "A", "1")) == "north|RIS|A"
    assert Feeds("north", UTC, []).key(Header()) == "north||"


def test_every_fault_of_every_feed_is_listed() -> None:
    profiles = [
        FeedProfile("RIS", paths={"accession_number": ["OBR-"], "colour": ["PID-3"]}),
        FeedProfile("LAB", "X", default_charset="EBCDIC"),
    ]
    with pytest.raises(Rejected) as caught:
        Feeds("north", UTC, profiles)
    assert caught.value.code == "feeds_bad"
    for fault in ("feed RIS: paths.", "OBR-", "colour", "feed LAB|X: default_charset 'EBCDIC'"):
        assert fault in caught.value.text
