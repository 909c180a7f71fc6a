"""The dispatcher of one destination: claims what may go, hands it over, and settles what came of it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from opentelemetry import metrics
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from hilum import telemetry
from hilum.clock import Clock
from hilum.integration.adapters.documents import documented
from hilum.integration.app import claim, settle, withheld
from hilum.integration.domain.attempt import DeliveryRecord, Failed, Outcome, Persistence
from hilum.integration.domain.plan import Destination
from hilum.integration.ports import Assignment, Peer, State, Transactions

_LOG = logging.getLogger(__name__)
_LONGEST_WAIT = 1.0
_SHORTEST_WAIT = 0.01
_WITHHELD_WAIT = 0.1
_OUTCOMES = metrics.get_meter("hilum").create_counter(
    "hilum.deliveries", description="attempts at delivery by destination, kind and outcome"
)

_Claim = tuple[Sequence[Assignment], datetime | None]
"""What may go, and when nothing may, the time of what comes next."""


@dataclass(frozen=True)
class Route:
    """A destination, the peer behind it, and how patient we are with it."""

    destination: Destination
    peer: Peer
    persistence: Persistence


class Dispatcher:
    """Runs until cancelled; what it had claimed then is recovered at the next start."""

    def __init__(
        self,
        route: Route,
        transactions: Transactions,
        clock: Clock,
        fresh_at: Callable[[], datetime | None],
        holder: str,
    ) -> None:
        """``fresh_at`` tells when the projection was last known to hold every case change.

        ``holder`` is whose claims these are: this process's, and of no other.
        """
        self._route = route
        self._transactions = transactions
        self._clock = clock
        self._fresh_at = fresh_at
        self._holder = holder
        self._news = asyncio.Event()
        self._idle: asyncio.Future[_Claim | None] | None = None

    def wake(self) -> None:
        """Look again: something was planned or changed."""
        self._news.set()
        if self._idle is not None:
            _tell(self._idle, None)

    def claim_with(self, state: State, when_committed: Callable[[Callable[[], None]], None]) -> None:
        """Something was planned or changed: claim what may go in the same transaction, where nothing is in hand."""
        idle = self._idle
        if idle is None or idle.done():
            when_committed(self.wake)
        else:
            when_committed(partial(_tell, idle, self._claim(state)))

    async def run(self) -> None:
        try:
            found: _Claim | None = None
            while True:
                if found is None:
                    self._news.clear()
                    found = await self._transactions.transact(self._claim)
                assignments, due = found
                if assignments:
                    await self._deliver(assignments)
                    found = None
                else:
                    found = await self._wait(self._seconds_until(due))
        finally:
            await self._route.peer.close()

    async def _deliver(self, assignments: Sequence[Assignment]) -> None:
        spans = [_span(assignment.record, self._route.destination) for assignment in assignments]
        by_id = {assignment.record.id: span for assignment, span in zip(assignments, spans, strict=True)}
        try:
            for record, outcome in await self._delivered(assignments):
                await self._settle(record, outcome, by_id[record.id])
        finally:
            for span in spans:
                span.end()

    def _claim(self, state: State) -> _Claim:
        """What may go, and when nothing may, the time of what comes next: in one transaction."""
        destination = self._route.destination
        batch = self._route.peer.batch
        assignments = [
            self._documented(state, assignment)
            for assignment in claim(state, destination, self._clock.now(), self._fresh_at(), batch, self._holder)
        ]
        return assignments, None if assignments else state.next_at(destination.name)

    def _documented(self, state: State, assignment: Assignment) -> Assignment:
        """With the document that the state holds; where there is none, the one that is made in no time."""
        record = assignment.record
        if record.object_key:
            return replace(assignment, document=state.document(record.id))
        try:
            data = self._route.peer.render(assignment)
        except Exception:  # noqa: BLE001 - `deliver` finds the same, and says what becomes of it
            return assignment
        if data is None:
            return assignment
        record = documented(record, data)
        state.save(record)
        state.keep_document(record.id, data)
        return replace(assignment, record=record, document=data)

    async def _delivered(self, assignments: Sequence[Assignment]) -> Sequence[tuple[DeliveryRecord, Outcome]]:
        try:
            return await self._route.peer.deliver(assignments)
        except Exception as error:  # noqa: BLE001 - one that nobody foresaw must not stop the others
            _LOG.error("%s: a delivery failed with %s", self._route.destination.name, type(error).__name__)
            failed = Failed(f"unexpected_{type(error).__name__.lower()}", in_doubt=True)
            return [(assignment.record, failed) for assignment in assignments]

    async def _settle(self, record: DeliveryRecord, outcome: Outcome, span: Span) -> None:
        now = self._clock.now()
        persistence = self._route.persistence
        name = type(outcome).__name__.lower()
        span.set_attribute("hilum.outcome", name)
        if name != "landed":
            span.set_status(Status(StatusCode.ERROR, getattr(outcome, "reason", "")))
        kind = record.delivery.kind.value
        _OUTCOMES.add(1, {"destination": record.delivery.destination, "kind": kind, "outcome": name})
        await self._transactions.transact(lambda state: settle(state, [(record, outcome)], persistence, now))

    def _seconds_until(self, due: datetime | None) -> float:
        if due is None:
            return _LONGEST_WAIT
        now = self._clock.now()
        shortest = _WITHHELD_WAIT if withheld(now, self._fresh_at()) else _SHORTEST_WAIT
        return min(max((due - now).total_seconds(), shortest), _LONGEST_WAIT)

    async def _wait(self, seconds: float) -> _Claim | None:
        """Wait for news; what was claimed, where that came with them."""
        if self._news.is_set():
            return None
        idle: asyncio.Future[_Claim | None] = asyncio.get_running_loop().create_future()
        self._idle = idle
        try:
            async with asyncio.timeout(seconds):
                return await idle
        except TimeoutError:
            return None  # what was claimed at this very moment is its own, and given again
        finally:
            self._idle = None


def _tell(idle: asyncio.Future[_Claim | None], found: _Claim | None) -> None:
    if not idle.done():
        idle.set_result(found)


def _span(record: DeliveryRecord, destination: Destination) -> Span:
    return telemetry.TRACER.start_span(
        f"deliver {record.delivery.kind.value}",
        context=telemetry.context_of(record.headers) if record.headers else None,
        kind=SpanKind.CLIENT,
        attributes={
            "hilum.destination": destination.name,
            "hilum.delivery_id": record.id,
            "hilum.attempt": record.attempts + 1,
        },
    )
