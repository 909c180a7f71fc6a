"""The two halves of ingest: `Intake` keeps and answers, `Digestion` turns what was kept into facts.

Between them lies the log. The answer needs no database: it is a pure function of bytes and configuration, and it is
given only after the append.
"""

import asyncio
import hashlib
import logging
from typing import NamedTuple

from opentelemetry import metrics
from opentelemetry.trace import SpanKind

from hilum.clock import Clock
from hilum.errors import Duplicate, Rejected, Unavailable
from hilum.hl7.acknowledgement import AcknowledgementConfig, acknowledge
from hilum.hl7.header import read_header
from hilum.hl7.judge import Outcome, Verdict, judge
from hilum.hl7.mllp import FramingFault
from hilum.ids import Ids
from hilum.ingest.domain.feeds import Feeds
from hilum.ingest.domain.normalise import Normaliser
from hilum.ingest.ports import KeptMessage, Outlet, RawLog, Sighting, Sightings
from hilum.telemetry import Tally, span

_LOG = logging.getLogger(__name__)
_MESSAGES = Tally("hilum.ingest.messages", ("transport", "code", "reason"), "messages answered")
_REPEATS = metrics.get_meter("hilum").create_counter("hilum.ingest.repeats", description="control IDs seen again")
LARGE = 64 * 1024
"""Bytes from which judging a message leaves the event loop."""


class Receipt(NamedTuple):
    """What the sender is told; ``kept`` is False when the message could not be made durable."""

    acknowledgement: bytes
    outcome: Outcome
    message_control_id: str
    event_id: str
    kept: bool = True


class Intake:
    """Raw first: every message is kept, then acknowledged. One core behind every transport."""

    def __init__(self, feeds: Feeds, log: RawLog, clock: Clock, ids: Ids, processing_id: str = "P") -> None:
        self._feeds = feeds
        self._log = log
        self._clock = clock
        self._ids = ids
        self._config = AcknowledgementConfig(feeds.own_application, processing_id=processing_id)

    async def receive(self, raw: bytes, transport: str) -> Receipt:
        """Judge, keep, answer. Never raises for what ``raw`` holds; a log that does not keep it is answered AR."""
        with span(f"ingest receives {transport}", SpanKind.SERVER) as current:
            large = len(raw) > LARGE
            verdict, digest = await asyncio.to_thread(self._judge, raw) if large else self._judge(raw)
            receipt = await self._keep(raw, digest, verdict, transport)
            current.set_attribute("hl7.acknowledgement_code", receipt.outcome.code)
            if receipt.outcome.reason:
                current.set_attribute("hilum.reason", receipt.outcome.reason)
            return receipt

    async def refuse(self, fault: FramingFault, transport: str) -> Receipt:
        """Keep what came of a block that was never whole, so that a person can look; the answer is AE."""
        with span(f"ingest refuses {transport}", SpanKind.SERVER, attributes={"hilum.reason": fault.code}):
            outcome, raw = Outcome("AE", "207", fault.code, fault.text), fault.payload
            digest = await asyncio.to_thread(_digest, raw) if len(raw) > LARGE else _digest(raw)
            return await self._keep(raw, digest, Verdict(outcome, read_header(raw)), transport)

    def _judge(self, raw: bytes) -> tuple[Verdict, bytes]:
        return judge(raw, self._feeds.rules), _digest(raw)

    async def _keep(self, raw: bytes, digest: bytes, verdict: Verdict, transport: str) -> Receipt:
        outcome, header = verdict.outcome, verdict.header
        event_id, received_at, kept = self._ids.new(), self._clock.now(), True
        message = KeptMessage(
            event_id,
            self._feeds.key(header),
            header.message_control_id,
            raw,
            digest,
            received_at,
            transport,
            outcome.code,
            outcome.reason,
        )
        try:
            await self._log.keep(message)
        except Unavailable as error:
            _LOG.error("a message could not be kept: %s; its sender was told to send it again", error.code)
            outcome = Outcome("AR", "207", error.code, "the message could not be stored: send it again")
            event_id, kept = "", False
        _MESSAGES.add(transport, outcome.code, outcome.reason)
        # Where MSH-18 is empty the answer is read in the sender's own character set, too: it must echo what was sent.
        charset = self._feeds.rules(header).default_charset
        told_at = received_at.astimezone(self._feeds.zone)
        answer = acknowledge(header, digest, outcome, told_at, self._config, charset)
        return Receipt(answer, outcome, header.message_control_id, event_id, kept)


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


class Digestion:
    """Consumes what was kept: each message once, refused ones to the dead letters with their reason."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds
        self._normaliser = Normaliser(feeds)

    def digest(self, message: KeptMessage, sightings: Sightings, outlet: Outlet) -> None:
        """Publish the facts of ``message``.

        Raises Rejected with the reason that its sender was told (a replayed one is judged afresh, under the present
        configuration), Duplicate when the same bytes were processed before.
        """
        if message.acknowledgement_code != "AA" and not message.replay:
            raise Rejected(message.reason or "refused", f"answered {message.acknowledgement_code} when it was received")
        verdict = judge(message.payload, self._feeds.rules)
        if verdict.outcome.code != "AA":
            raise Rejected(verdict.outcome.reason, verdict.outcome.text)
        sighting = sightings.note(message.feed, message.message_control_id, message.sha256, message.received_at)
        if sighting is not Sighting.FIRST:
            _REPEATS.add(1, {"kind": sighting.value})
        if sighting is Sighting.SAME:
            raise Duplicate("message_repeated", "the same bytes were processed before")
        if sighting is Sighting.REUSED:
            _LOG.warning("a sender used one control ID for two contents; both are processed (%s)", message.event_id)
        if verdict.structure is None or verdict.message is None:
            return  # an acknowledgement: kept, and states no fact of its own
        taken = self._feeds.taken(verdict.header)
        facts = self._normaliser.facts(
            message.payload,
            verdict.message,
            verdict.structure,
            taken,
            message.feed,
            message.event_id,
            message.received_at,
        )
        for fact in facts:
            outlet.publish(fact, message.received_at)
