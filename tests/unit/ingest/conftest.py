"""The corpus of our own messages, and the feeds of one site."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hilum.ingest.domain.feeds import FeedProfile, Feeds

CORPUS = Path(__file__).resolve().parents[2] / "corpus" / "hl7"


@pytest.fixture(scope="session")
def corpus() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(CORPUS.glob("*.hl7"))}


@pytest.fixture(scope="session")
def feeds() -> Feeds:
    profiles = [FeedProfile("RIS-B", "", "8859/1", "SOUTH", {"accession_number": ["ORC-3"]})]
    return Feeds("north", ZoneInfo("Europe/Berlin"), profiles, identifier_authority="NORTH")
