"""What the ledger reads: its own tables, as one consistent view, and the object store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hilum.ledger.domain.entry import CaseFile
from hilum.ledger.domain.facts import (
    AlarmFact,
    AlgorithmFact,
    CaseFact,
    DeadLetterFact,
    DeliveryFact,
    ImageFact,
    MessageFact,
    OrderFact,
    ResultFact,
    StudyFact,
    TaskFact,
)
from hilum.ledger.domain.reconcile import StoredImage


@dataclass(frozen=True, slots=True)
class Selection:
    """Which cases, oldest first; ``after`` is the place of the last case of the page before."""

    accession_number: str = ""
    study_instance_uid: str = ""
    unread: bool = False
    limit: int = 200
    after: tuple[datetime, str] | None = None


class LedgerView(Protocol):
    """Blocking reads, all of one moment."""

    def case_files(self, selection: Selection) -> Sequence[CaseFile]: ...

    def cases(self) -> Sequence[CaseFact]: ...

    def algorithms(self) -> Sequence[AlgorithmFact]: ...

    def messages(self) -> Sequence[MessageFact]: ...

    def orders(self) -> Sequence[OrderFact]: ...

    def studies(self) -> Sequence[StudyFact]: ...

    def images(self) -> Sequence[ImageFact]:
        """Every instance that imaging told of and whose bytes it keeps."""

    def tasks(self) -> Sequence[TaskFact]: ...

    def results(self) -> Sequence[ResultFact]: ...

    def deliveries(self) -> Sequence[DeliveryFact]: ...

    def open_alarms(self) -> set[tuple[str, str]]:
        """Case and algorithm of each alarm for overdue work that stands."""

    def alarms(self) -> Sequence[AlarmFact]:
        """Those that stand, oldest first."""

    def in_force_since(self) -> Mapping[str, datetime]:
        """Each algorithm for which a policy came, and when the first one did."""

    def dead_letters(self) -> Sequence[DeadLetterFact]:
        """Without their payload, oldest first."""

    def dead_letter(self, dead_letter_id: str) -> DeadLetterFact | None: ...

    def positions(self) -> Mapping[tuple[str, int], int]:
        """Topic and partition -> the next offset that the ledger will read."""


class Alarms(Protocol):
    """Where overdue work is written down, in one transaction."""

    def overdue(self, now: datetime) -> Sequence[AlgorithmFact]:
        """In progress, past its time, and without a standing alarm."""

    def settled(self) -> Sequence[tuple[str, str]]:
        """Case and algorithm of standing alarms whose case is no longer overdue in progress."""

    def raise_overdue(self, state: AlgorithmFact, now: datetime) -> None: ...

    def clear_overdue(self, case_id: str, algorithm: str, now: datetime) -> None: ...

    def stuck(self, unchanged_since: datetime) -> Sequence[DeliveryFact]:
        """Neither sent nor given up, unchanged for so long, and without a standing alarm."""

    def raise_stuck(self, delivery: DeliveryFact, now: datetime) -> None: ...


class Stored(Protocol):
    """What the object store holds. Blocking."""

    def images(self) -> Iterable[StoredImage]:
        """Every object that was under ``instances/`` when this was looked at, with the digest of its data set."""

    def image(self, object_key: str) -> StoredImage | None:
        """The same of one object, as it is now."""

    def rendered(self, object_key: str) -> bytes | None:
        """A delivery's bytes as they were sent; None when they are gone."""
