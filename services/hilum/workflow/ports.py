"""What workflow needs of the world: a book of facts and cases inside one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hilum.workflow.domain.case import Algorithm, Case, Decision
from hilum.workflow.domain.facts import (
    CaseFacts,
    Identifier,
    InstanceFact,
    OrderFact,
    PatientFact,
    ReportFact,
    ResultFact,
)


@dataclass(frozen=True, slots=True)
class CaseRow:
    """Where a case stands in the book."""

    case_id: str
    site: str
    study_instance_uid: str
    opened_at: datetime


class CaseBook(Protocol):
    """Facts by the identifiers that they carry, and the cases made of them. One transaction."""

    # Facts. Each `add_` returns False when the fact was there already.

    def add_order(self, site: str, fact: OrderFact) -> bool: ...

    def add_instance(self, site: str, study_instance_uid: str, fact: InstanceFact) -> bool: ...

    def add_report(self, site: str, fact: ReportFact, found_by: "ReportKeys") -> bool: ...

    def add_patient(self, site: str, fact: PatientFact, merged: Sequence[Identifier]) -> bool: ...

    def add_result(self, case_id: str, fact: ResultFact) -> bool: ...

    def related_orders(self, site: str, facts: Iterable[OrderFact]) -> Sequence[OrderFact]:
        """``facts`` and every order message that shares a number with one of them, over any number of steps.

        More than one order may be among them (`hilum.workflow.domain.orders.orders_of` parts them).
        """

    def orders_with_accession(self, site: str, accession_number: Identifier) -> Sequence[OrderFact]: ...

    def orders_with_study(self, site: str, study_instance_uid: str) -> Sequence[OrderFact]:
        """The messages that name the study."""

    def orders_with_report(self, site: str, found_by: "ReportKeys") -> Sequence[OrderFact]:
        """The messages that carry a number which the report carries."""

    def studies_with_accession(self, site: str, accession_number: Identifier) -> Sequence[str]:
        """The studies with an image that carries it."""

    def study_carries(self, site: str, study_instance_uid: str, accession_number: Identifier) -> bool:
        """Whether an image of the study carried exactly this accession number before."""

    def of_patient(self, site: str, identifiers: Iterable[Identifier]) -> tuple[Sequence[str], Sequence[OrderFact]]:
        """The studies and the orders of everybody whom ``identifiers`` mean, after merges."""

    def instances(self, site: str, study_instance_uid: str) -> Sequence[InstanceFact]: ...

    def count_instances(self, site: str, study_instance_uid: str) -> int:
        """How many images of the study were told of; one that came with two contents counts twice."""

    def completed(self, facts: CaseFacts) -> CaseFacts:
        """``facts`` of orders and images with the reports, merges, patients and results that belong to them."""

    # Cases.

    def case_of_study(self, site: str, study_instance_uid: str) -> CaseRow | None: ...

    def cases_of_orders(self, facts: Iterable[OrderFact]) -> Sequence[CaseRow]:
        """The cases that were opened for these messages before a study was known; the oldest first."""

    def row(self, case_id: str) -> CaseRow: ...

    def attached_orders(self, case_id: str) -> Sequence[OrderFact]: ...

    def open_case(self, case_id: str, site: str, study_instance_uid: str, at: datetime) -> CaseRow: ...

    def attach_orders(self, case_id: str, facts: Iterable[OrderFact]) -> None:
        """Find the case by these messages from now on; another case loses them."""

    def adopt_study(self, case_id: str, study_instance_uid: str) -> None:
        """The case of an order becomes the case of its study."""

    def look_at(self, case_id: str, at: datetime, cause: Mapping[str, str]) -> None:
        """Decide on the case at ``at`` or earlier; ``cause``: the trace context of what made it necessary."""

    def look_at_open_cases(self, at: datetime) -> None: ...

    def postpone(self, case_id: str, until: datetime) -> None:
        """Look at the case again, but not before ``until``."""

    def due(self, now: datetime, limit: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        """Cases whose time has come, with the cause; the youngest case first.

        A new policy makes every case due: today's studies must not stand behind last year's.
        """

    def next_look(self) -> datetime | None: ...

    def case(self, case_id: str) -> Case | None:
        """What was decided last."""

    def save(self, facts: CaseFacts, decision: Decision, now: datetime) -> None:
        """Store the decision, publish the case state and its tasks when it changed, and note when to look again."""

    # Policies.

    def algorithms(self) -> tuple[Algorithm, ...]:
        """The installed packages under the policies in force."""


@dataclass(frozen=True, slots=True)
class ReportKeys:
    """By what a report says which study it is about."""

    study_instance_uid: str
    accession_number: Identifier | None
    filler_order_number: Identifier | None
    placer_order_number: Identifier | None
