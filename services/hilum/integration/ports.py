"""What integration asks of the outside: its state, its renderings, and the peers that it delivers to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from hilum.integration.domain.attempt import DeliveryRecord, Outcome
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.result import AlgorithmResult

T = TypeVar("T")


@dataclass(frozen=True)
class KnownResult:
    """A result as it arrived, and the trace that it belongs to."""

    result: AlgorithmResult
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Assignment:
    """One delivery that was claimed, with what it is about, and its document where the state holds that."""

    record: DeliveryRecord
    result: AlgorithmResult
    case: CaseState
    document: bytes | None = None


@dataclass(frozen=True)
class Rendered:
    """Bytes that are stored: what is sent, however often."""

    data: bytes
    sha256: bytes
    object_key: str


class State(Protocol):
    """The projection and the deliveries, within one transaction."""

    def case(self, case_id: str) -> CaseState | None:
        """The newest known state of a case."""

    def result(self, result_id: str) -> KnownResult | None: ...

    def unplanned(self, case_id: str) -> Sequence[KnownResult]:
        """Results of a case that were not planned yet."""

    def planned(self, result_id: str) -> None:
        """Mark a result as planned."""

    def add(self, record: DeliveryRecord) -> bool:
        """Insert a delivery; False where its key is known."""

    def save(self, record: DeliveryRecord) -> None: ...

    def record(self, delivery_id: str) -> DeliveryRecord | None: ...

    def of_case(self, case_id: str) -> Sequence[DeliveryRecord]:
        """Every delivery of a case."""

    def due(self, destination: str, now: datetime, limit: int) -> Sequence[DeliveryRecord]:
        """Planned deliveries whose time has come, and held ones that may be asked about again: most urgent first."""

    def held_by(self, destination: str, holder: str) -> Sequence[DeliveryRecord]:
        """What ``holder`` has claimed and not settled."""

    def next_at(self, destination: str) -> datetime | None:
        """When the next planned delivery of a destination is due."""

    def document(self, delivery_id: str) -> bytes | None:
        """The document that was rendered with a claim; None for one that is in the object store alone."""

    def keep_document(self, delivery_id: str, data: bytes) -> None: ...

    def forget_document(self, delivery_id: str) -> None: ...

    def publish(self, record: DeliveryRecord, now: datetime) -> None:
        """State on the topic `deliveries` what has become of a delivery."""


class Transactions(Protocol):
    async def transact(self, work: Callable[[State], T]) -> T:
        """Run ``work`` in one transaction."""


class Peer(Protocol):
    """One destination: takes what was claimed for it, renders what is not rendered yet, and sends."""

    batch: int
    """How many deliveries it takes at once."""

    def render(self, assignment: Assignment) -> bytes | None:
        """A document that is made in no time: it is kept in the transaction that claims its delivery.

        None where `deliver` renders. Raises HilumError, as `deliver` would find.
        """

    async def deliver(self, assignments: Sequence[Assignment]) -> Sequence[tuple[DeliveryRecord, Outcome]]:
        """What became of each, in order; the record carries the stored bytes. Raises nothing but cancellation."""

    async def close(self) -> None: ...


class Recorder(Protocol):
    """Writes down that a delivery was rendered, before it is sent."""

    async def rendered(self, record: DeliveryRecord) -> bool:
        """False, and nothing is written, where the delivery is no longer in the hand of the record's holder."""
