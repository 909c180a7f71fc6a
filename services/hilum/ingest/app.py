"""The two halves of ingest: `Intake` keeps and answers, `Digestion` turns what was kept into facts.

Between them lies the log. The answer needs no database: it is a pure function of bytes and configuration, and it is
given only after the append.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import NamedTuple

from opentelemetry import metrics
from opentelemetry.trace import Span, SpanKind

from hilum.clock import Clock
from hilum.errors import Duplicate, Fault, Rejected, Unavailable
from hilum.hl7.acknowledgement import AcknowledgementConfig, acknowledge
from hilum.hl7.header import Header, read_header
from hilum.hl7.judge import Outcome, judge
from hilum.hl7.mllp import FramingFault
from hilum.ids import Ids
from hilum.ingest.domain.feeds import Feeds
from hilum.ingest.domain.normalise import Normaliser
from hilum.ingest.ports import KeptMessage, Outlet, RawLog, Sighting, Sightings
from hilum.telemetry import Tally, root

_LOG = logging.getLogger(__name__)
_MESSAGES = Tally("hilum.ingest.messages", ("transport", "code", "reason"), "messages answered")
_REPEATS = metrics.get_meter("hilum").create_counter("hilum.ingest.repeats", description="control IDs seen again")
LARGE = 64 * 1024
"""Bytes from which judging a message leaves the event loop."""
_TURNS = 3  # of the event loop, in which they are read
_TOGETHER = 128  # messages handled in one go; keeps the event loop responsive


class Receipt(NamedTuple):
    """What the sender is told; ``kept`` is False when the message could not be made durable."""

    acknowledgement: bytes
    outcome: Outcome
    message_control_id: str
    event_id: str
    kept: bool = True


Answer = Callable[[Receipt | None], None]
"""Called once with what the sender is told; with None for a defect of ours. Must not raise."""


# Tuples without names: several are made for each message.
_Arrival = tuple[bytes, str, Answer, FramingFault | None]
"""Bytes that wait to be judged, their transport, who waits for the answer, and why they are no whole block."""
_InHand = tuple[KeptMessage, Outcome, Header, Span, Answer]
"""A message between its verdict and its answer."""


class Intake:
    """Raw first: every message is kept, then acknowledged. One core behind every transport.

    What arrives in one turn of the event loop is handled together, one step after another for all of it: one task, one
    append and one sync, and the processor's caches hold one step at a time.
    """

    def __init__(
        self,
        feeds: Feeds,
        log: RawLog,
        clock: Clock,
        ids: Ids,
        processing_id: str = "P",
        in_hand: AbstractContextManager[None] | None = None,
    ) -> None:
        """``in_hand`` is entered while there are messages to answer."""
        self._feeds = feeds
        self._log = log
        self._in_hand = in_hand or nullcontext()
        self._clock = clock
        self._ids = ids
        self._config = AcknowledgementConfig(feeds.own_application, processing_id=processing_id)
        self._arrived: list[_Arrival] = []
        self._handling: set[asyncio.Task[None]] = set()
        self._working: asyncio.Task[None] | None = None

    def take(self, raw: bytes, transport: str, answer: Answer) -> None:
        """Judge, keep, answer. A log that does not keep it is answered AR."""
        self._take((raw, transport, answer, None))

    def take_fault(self, fault: FramingFault, transport: str, answer: Answer) -> None:
        """Keep what came of a block that was never whole, so that a person can look; the answer is AE."""
        self._take((fault.payload, transport, answer, fault))

    async def receive(self, raw: bytes, transport: str) -> Receipt:
        """As `take`, for who can wait. Raises Fault ``defect``."""
        return await _answered(lambda answer: self.take(raw, transport, answer))

    async def refuse(self, fault: FramingFault, transport: str) -> Receipt:
        """As `take_fault`, for who can wait. Raises Fault ``defect``."""
        return await _answered(lambda answer: self.take_fault(fault, transport, answer))

    def _take(self, arrival: _Arrival) -> None:
        if len(arrival[0]) > LARGE:
            # Judged beside the event loop; and alone, since what it needs of the object store concerns no other.
            self._start(self._handle_large(arrival))
            return
        self._arrived.append(arrival)
        if self._working is None:
            self._working = self._start(self._work())

    async def _work(self) -> None:
        """One batch at a time: what arrived in this turn of the event loop, then what arrives while the log syncs."""
        # Side by side, the threads of event loop and log would take the interpreter's lock from each other.
        try:
            with self._in_hand:
                while self._arrived:
                    batch = self._arrived[:_TOGETHER]
                    del self._arrived[:_TOGETHER]
                    await self._handle(batch)
                    if self._arrived:  # they are many: those who were answered just now will send again at once
                        for _ in range(_TURNS):
                            await self._clock.sleep(0)
        finally:
            self._working = None

    def _start(self, handling: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(handling)
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)
        return task

    async def _handle_large(self, arrival: _Arrival) -> None:
        received_at = self._clock.now()
        with self._in_hand:
            judged = await asyncio.to_thread(self._judge, arrival, received_at)
            await self._finish([arrival], [judged], received_at)

    async def _handle(self, arrived: Sequence[_Arrival]) -> None:
        received_at = self._clock.now()
        await self._finish(arrived, [self._judge(each, received_at) for each in arrived], received_at)

    async def _finish(
        self, arrived: Sequence[_Arrival], judged: Sequence[_InHand | None], received_at: datetime
    ) -> None:
        for (_, _, answer, _), message in zip(arrived, judged, strict=True):
            if message is None:
                answer(None)
        await self._keep([message for message in judged if message is not None], received_at)

    def _judge(self, arrival: _Arrival, received_at: datetime) -> _InHand | None:
        """None for a defect of ours."""
        try:
            return self._judged(arrival, received_at)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns one message and no other
            _LOG.error("a message was not judged for a defect of ours: %s", type(error).__name__)
            return None

    def _judged(self, arrival: _Arrival, received_at: datetime) -> _InHand:
        raw, transport, answer, fault = arrival
        if fault is None:
            begun = root(f"ingest receives {transport}", SpanKind.SERVER)
            outcome, header, _, _ = judge(raw, self._feeds.rules)
        else:
            begun = root(f"ingest refuses {transport}", SpanKind.SERVER)
            outcome, header = Outcome("AE", "207", fault.code, fault.text), read_header(raw)
        message = KeptMessage(
            self._ids.new(),
            self._feeds.key(header),
            header.message_control_id,
            raw,
            hashlib.sha256(raw).digest(),
            received_at,
            transport,
            outcome.code,
            outcome.reason,
            headers=begun.headers,
        )
        return message, outcome, header, begun.span, answer

    async def _keep(self, messages: Sequence[_InHand], received_at: datetime) -> None:
        lost: Unavailable | None = None
        try:
            await self._log.keep([message for message, *_ in messages])
        except Unavailable as error:
            lost = error
            text = "%d messages could not be kept: %s; their senders were told to send them again"
            _LOG.error(text, len(messages), error.code)
        except Exception as error:  # noqa: BLE001 - one that no log takes is answered alone
            if len(messages) > 1:
                for each in messages:
                    await self._keep([each], received_at)
                return
            _LOG.error("a message was not kept for a defect of ours: %s", type(error).__name__)
            ((_, _, _, begun, answer),) = messages
            begun.end()
            answer(None)
            return
        told_at = received_at.astimezone(self._feeds.zone)
        receipts = [self._receipt(each, told_at, lost) for each in messages]
        for (_, _, _, _, answer), receipt in zip(messages, receipts, strict=True):
            answer(receipt)

    def _receipt(self, each: _InHand, told_at: datetime, lost: Unavailable | None) -> Receipt | None:
        """None for a defect of ours: the message is kept, and its sender will send it again."""
        try:
            return self._told(each, told_at, lost)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns one message and no other
            _LOG.error("a message was not answered for a defect of ours: %s", type(error).__name__)
            return None

    def _told(self, each: _InHand, told_at: datetime, lost: Unavailable | None) -> Receipt:
        message, outcome, header, begun, _ = each
        event_id = message.event_id
        if lost is not None:
            outcome = Outcome("AR", "207", lost.code, "the message could not be stored: send it again")
            event_id = ""
        _MESSAGES.add(message.transport, outcome.code, outcome.reason)
        if begun.is_recording():
            begun.set_attribute("hl7.acknowledgement_code", outcome.code)
            if outcome.reason:
                begun.set_attribute("hilum.reason", outcome.reason)
            begun.end()
        # Where MSH-18 is empty the answer is read in the sender's own character set, too: it must echo what was sent.
        charset = self._feeds.rules(header).default_charset
        told = acknowledge(header, message.sha256, outcome, told_at, self._config, charset)
        return Receipt(told, outcome, message.message_control_id, event_id, lost is None)


async def _answered(take: Callable[[Answer], None]) -> Receipt:
    """What ``take`` answers. Raises Fault ``defect``."""
    told: asyncio.Future[Receipt | None] = asyncio.get_running_loop().create_future()
    take(lambda receipt: None if told.done() else told.set_result(receipt))
    receipt = await told
    if receipt is None:
        raise Fault("defect", "the message was not kept for a defect of ours")
    return receipt


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
