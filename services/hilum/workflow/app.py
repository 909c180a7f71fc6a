"""Workflow's use cases: each fact is kept and its cases are marked; deciding is a step of its own.

Deciding apart from hearing means that a thousand images of one study cost one decision, and that
time (a quiet timer, a deadline) is a cause like any other.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from hilum.ids import Ids
from hilum.workflow.domain.case import SiteRules, decide
from hilum.workflow.domain.facts import (
    Identifier,
    InstanceFact,
    OrderFact,
    PatientFact,
    ReportFact,
    ResultFact,
)
from hilum.workflow.ports import CaseBook, CaseRow, ReportKeys

# Images of a study that is being received: look a little later, once for many.
GATHER = timedelta(milliseconds=150)

Cause = Mapping[str, str]


class Workflow:
    """Stateless: every call works on the book of one transaction."""

    def __init__(self, ids: Ids, rules: SiteRules) -> None:
        self._ids = ids
        self._rules = rules

    def hear_order(self, book: CaseBook, site: str, fact: OrderFact, cause: Cause, now: datetime) -> None:
        if not book.add_order(site, fact):
            return
        orders = book.orders_sharing(site, [fact])
        own = book.case_of_orders(orders)
        studies = self._studies(book, site, orders)
        if not studies:
            case = own or book.open_case(self._ids.new(), site, "", now)
            book.attach_orders(case.case_id, [fact])
            book.look_at(case.case_id, now, cause)
            return
        for study_instance_uid in studies:
            case, own = self._join(book, site, study_instance_uid, own, now)
            book.look_at(case.case_id, now, cause)
        if own is not None:
            book.supersede(own.case_id, case.case_id)
            book.look_at(own.case_id, now, cause)

    def hear_instance(
        self, book: CaseBook, site: str, study_instance_uid: str, fact: InstanceFact, cause: Cause, now: datetime
    ) -> None:
        if not book.add_instance(site, study_instance_uid, fact):
            return
        case = book.case_of_study(site, study_instance_uid)
        if case is not None:
            book.look_at(case.case_id, now + GATHER, cause)
        if fact.accession_number is None and case is not None:
            return
        own = self._waiting_order(book, site, study_instance_uid, fact)
        joined, left = self._join(book, site, study_instance_uid, own, now)
        book.look_at(joined.case_id, now + GATHER, cause)
        if left is not None:
            book.supersede(left.case_id, joined.case_id)
            book.look_at(left.case_id, now, cause)

    def hear_report(
        self, book: CaseBook, site: str, fact: ReportFact, found_by: ReportKeys, cause: Cause, now: datetime
    ) -> None:
        if book.add_report(site, fact, found_by):
            for case_id in book.cases_of_report(site, found_by):
                book.look_at(case_id, now, cause)

    def hear_patient(
        self, book: CaseBook, site: str, fact: PatientFact, merged: Sequence[Identifier], cause: Cause, now: datetime
    ) -> None:
        if book.add_patient(site, fact, merged):
            for case_id in book.cases_of_patient(site, (*fact.patient, *merged)):
                book.look_at(case_id, now, cause)

    def hear_result(self, book: CaseBook, case_id: str, fact: ResultFact, cause: Cause, now: datetime) -> None:
        if book.add_result(case_id, fact):
            book.look_at(case_id, now, cause)

    def decide(self, book: CaseBook, case_id: str, now: datetime) -> None:
        """Look at one case whose time has come."""
        facts = book.facts(case_id)
        decision = decide(book.case(case_id), facts, book.algorithms(), self._rules, now)
        book.save(facts, decision, now)

    def _studies(self, book: CaseBook, site: str, orders: Sequence[OrderFact]) -> list[str]:
        """The studies of an order: the UID it names; failing that, those whose images carry its accession number."""
        named = [order.study_instance_uid for order in sorted(orders, key=lambda order: order.stamp)]
        told = [uid for uid in named if uid]
        if told:
            return told[-1:]
        found: dict[str, None] = {}
        for order in orders:
            if order.accession_number is not None:
                found |= dict.fromkeys(book.studies_with_accession(site, order.accession_number))
        return list(found)

    def _waiting_order(self, book: CaseBook, site: str, study_instance_uid: str, fact: InstanceFact) -> CaseRow | None:
        """The case that an order opened and that this image now gives its study."""
        if fact.accession_number is None:
            return None
        orders = book.orders_with_accession(site, fact.accession_number)
        for order in orders:
            related = book.orders_sharing(site, [order])
            if self._studies(book, site, related) in ([], [study_instance_uid]):
                own = book.case_of_orders(related)
                if own is not None:
                    return own
        return None

    def _join(
        self, book: CaseBook, site: str, study_instance_uid: str, own: CaseRow | None, now: datetime
    ) -> tuple[CaseRow, CaseRow | None]:
        """The study's case; and the order's own case when that one is now left without a purpose."""
        case = book.case_of_study(site, study_instance_uid)
        if case is None and own is not None and not own.study_instance_uid:
            book.adopt_study(own.case_id, study_instance_uid)
            return own, None
        if case is None:
            return book.open_case(self._ids.new(), site, study_instance_uid, now), None
        if own is None or own.case_id == case.case_id or own.study_instance_uid:
            return case, None
        return case, own
