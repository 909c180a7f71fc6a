"""Ingest's ports on SQL and on the event log."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.dialects import sqlite

from hilum.clock import microseconds
from hilum.contracts import topics
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.eventlog.port import Event, EventLog, Record, event_of
from hilum.ids import event_id
from hilum.ingest.adapters.contracts import fact_message
from hilum.ingest.adapters.tables import SIGHTINGS
from hilum.ingest.domain.facts import Fact, OrderFact, ReportFact
from hilum.ingest.ports import KeptMessage, Sighting
from hilum.objects.port import Objects
from hilum.store.sql import SqlTransaction

_INLINE = 256 * 1024  # larger messages are kept as objects


class EventLogRaw:
    """`RawLog`: large bytes to the object store first, then the event."""

    def __init__(self, site: str, revision: str, log: EventLog, objects: Objects) -> None:
        self._site = site
        self._revision = revision
        self._log = log
        self._objects = objects

    async def keep(self, messages: Sequence[KeptMessage]) -> None:
        events = []
        for message in messages:
            object_key = ""
            if len(message.payload) > _INLINE:
                object_key = f"messages/{message.sha256.hex()}"
                await asyncio.to_thread(self._objects.put, object_key, message.payload)
            events.append(self._event(message, object_key))
        await self._log.append(events)

    def _event(self, message: KeptMessage, object_key: str) -> Event:
        seconds, rest = divmod(microseconds(message.received_at), 1_000_000)
        raw = RawMessage(
            site=self._site,
            feed=message.feed,
            message_control_id=message.message_control_id,
            received_at=Timestamp(seconds=seconds, nanos=rest * 1000),
            payload=b"" if object_key else message.payload,
            object_key=object_key,
            sha256=message.sha256,
            transport=message.transport,
            acknowledgement_code=message.acknowledgement_code,
            reason=message.reason,
            config_revision=self._revision,
        )
        value = raw.SerializeToString(deterministic=True)
        topic = topics.MESSAGES
        return Event(
            topic.name, message.feed, topic.type, value, message.event_id, message.received_at, message.headers
        )


def kept_message(record: Record, objects: Objects) -> KeptMessage:
    """The message of a record of topic `messages`. Raises what `Objects.get` raises."""
    raw = RawMessage.FromString(record.event.value)
    payload = objects.get(raw.object_key) if raw.object_key else raw.payload
    return KeptMessage(
        event_id=record.event.event_id,
        feed=raw.feed,
        message_control_id=raw.message_control_id,
        payload=payload,
        sha256=raw.sha256,
        received_at=record.event.time,
        transport=raw.transport,
        acknowledgement_code=raw.acknowledgement_code,
        reason=raw.reason,
        replay="hilum-replay-of" in record.event.headers,
    )


# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_NOTE = (
    sqlite.insert(SIGHTINGS)
    .values({name: sa.bindparam(name) for name in ("feed", "message_control_id", "sha256", "seen_us")})
    .on_conflict_do_nothing()
)
_CONTENTS = sa.select(sa.func.count()).where(
    SIGHTINGS.c.feed == sa.bindparam("feed"),
    SIGHTINGS.c.message_control_id == sa.bindparam("message_control_id"),
)


class SqlSightings:
    """`Sightings` in a table."""

    def __init__(self, transaction: SqlTransaction) -> None:
        self._connection = transaction.connection

    def note(self, feed: str, message_control_id: str, sha256: bytes, at: datetime) -> Sighting:
        seen = {"feed": feed, "message_control_id": message_control_id}
        if not self._connection.execute(_NOTE, {**seen, "sha256": sha256, "seen_us": microseconds(at)}).rowcount:
            return Sighting.SAME
        contents = self._connection.execute(_CONTENTS, seen).scalar_one()
        return Sighting.REUSED if contents > 1 else Sighting.FIRST


def forget_sightings(transaction: SqlTransaction, before: datetime) -> int:
    """Remove what was seen before that time; returns how many."""
    old = SIGHTINGS.c.seen_us < microseconds(before)
    return transaction.connection.execute(SIGHTINGS.delete().where(old)).rowcount


class OutboxOutlet:
    """`Outlet` through the transaction's outbox."""

    def __init__(self, transaction: SqlTransaction) -> None:
        self._transaction = transaction

    def publish(self, fact: Fact, at: datetime) -> None:
        if isinstance(fact, OrderFact):
            topic, kind = topics.ORDERS, "order"
        elif isinstance(fact, ReportFact):
            topic, kind = topics.REPORTS, "report"
        else:
            topic, kind = topics.PATIENTS, "patient"
        identity = event_id(fact.source.message_id, kind, fact.source.ordinal)
        self._transaction.publish(event_of(topic, fact.source.feed, fact_message(fact), identity, at))
