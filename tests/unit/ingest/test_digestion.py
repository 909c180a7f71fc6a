"""What becomes of a kept message: once each, refused ones rejected with their reason."""

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hilum.errors import Duplicate, Rejected
from hilum.hl7.header import read_header
from hilum.ingest.adapters.contracts import fact_message
from hilum.ingest.adapters.state import SqlSightings, forget_sightings
from hilum.ingest.adapters.tables import METADATA
from hilum.ingest.app import Digestion
from hilum.ingest.domain.facts import Fact
from hilum.ingest.domain.feeds import Feeds
from hilum.ingest.ports import KeptMessage
from hilum.store.sql import SqlStore, open_sqlite

Digest = Callable[[KeptMessage], Awaitable[list[Fact]]]
AT = datetime(2024, 1, 15, 12, tzinfo=UTC)


class Collected:
    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def publish(self, fact: Fact, at: datetime) -> None:
        fact_message(fact).SerializeToString()
        self.facts.append(fact)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_sqlite(tmp_path / "ingest.db", METADATA)
    yield store
    store.close()


def kept(raw: bytes, feeds: Feeds, code: str = "AA", reason: str = "", **changes: bool) -> KeptMessage:
    header = read_header(raw)
    digest = hashlib.sha256(raw).digest()
    return KeptMessage(
        "event", feeds.key(header), header.message_control_id, raw, digest, AT, "mllp", code, reason, **changes
    )


@pytest.fixture
def digest(store: SqlStore, feeds: Feeds) -> Digest:
    async def run(message: KeptMessage) -> list[Fact]:
        outlet = Collected()
        await store.transact(lambda tx: Digestion(feeds).digest(message, SqlSightings(tx), outlet))
        return outlet.facts

    return run


async def test_the_same_bytes_are_processed_once(digest: Digest, feeds: Feeds, corpus: dict[str, bytes]) -> None:
    message = kept(corpus["orm-o01-2.3.1.hl7"], feeds)
    assert len(await digest(message)) == 1
    with pytest.raises(Duplicate):
        await digest(message)


async def test_a_reused_control_id_with_other_bytes_is_a_new_message(
    digest: Digest, feeds: Feeds, corpus: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    raw = corpus["orm-o01-2.3.1.hl7"]
    await digest(kept(raw, feeds))
    assert len(await digest(kept(raw.replace(b"A3001", b"A3999"), feeds))) == 1
    assert "one control ID for two contents" in caplog.text
    assert "A3999" not in caplog.text


async def test_the_same_control_id_of_another_feed_is_another_message(
    digest: Digest, feeds: Feeds, corpus: dict[str, bytes]
) -> None:
    raw = corpus["adt-a01-2.3.hl7"]
    assert len(await digest(kept(raw, feeds))) == 1
    assert len(await digest(kept(raw.replace(b"RIS-A", b"RIS-C"), feeds))) == 1


async def test_a_refused_message_is_rejected_with_the_reason_its_sender_was_told(
    digest: Digest, feeds: Feeds, corpus: dict[str, bytes]
) -> None:
    with pytest.raises(Rejected, match="uid_malformed"):
        await digest(kept(corpus["bad-study-uid.hl7"], feeds, "AE", "uid_malformed"))


async def test_a_replayed_message_is_judged_afresh(digest: Digest, feeds: Feeds, corpus: dict[str, bytes]) -> None:
    """Mended configuration: what was refused then holds now."""
    assert len(await digest(kept(corpus["orm-o01-2.3.1.hl7"], feeds, "AE", "charset_unknown", replay=True))) == 1
    with pytest.raises(Rejected, match="uid_malformed"):
        await digest(kept(corpus["bad-study-uid.hl7"], feeds, "AE", "uid_malformed", replay=True))


async def test_an_acknowledgement_states_no_fact(digest: Digest, feeds: Feeds, corpus: dict[str, bytes]) -> None:
    assert await digest(kept(corpus["ack-aa-2.5.1.hl7"], feeds)) == []


async def test_repeats_are_forgotten_after_their_time(
    digest: Digest, store: SqlStore, feeds: Feeds, corpus: dict[str, bytes]
) -> None:
    message = kept(corpus["adt-a01-2.3.hl7"], feeds)
    await digest(message)
    assert await store.transact(lambda tx: forget_sightings(tx, AT)) == 0
    assert await store.transact(lambda tx: forget_sightings(tx, AT + timedelta(seconds=1))) == 1
    assert len(await digest(message)) == 1
