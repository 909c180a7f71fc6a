"""Workflow's use cases: each fact is kept and its cases are marked; deciding is a step of its own.

Deciding apart from hearing means that a thousand images of one study cost a few decisions, and that
time (a quiet timer, a deadline) is a cause like any other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.ids import Ids
from hilum.workflow.domain.case import SiteRules
from hilum.workflow.domain.completeness import announced_by
from hilum.workflow.domain.decision import decide
from hilum.workflow.domain.facts import (
    CaseFacts,
    Identifier,
    InstanceFact,
    OrderFact,
    PatientFact,
    ReportFact,
    ResultFact,
)
from hilum.workflow.placing import Places
from hilum.workflow.ports import CaseBook, CaseRow, ReportKeys

# Images of a study that is being received: look a little later, once for many. Each look reads every image of the
# study, so that the larger it is already, the longer they are gathered.
GATHER = timedelta(milliseconds=150)
GATHER_AT_MOST = timedelta(seconds=2)
_MANY = 50

Cause = Mapping[str, str]


class Workflow:
    """Stateless: every call works on the book of one transaction."""

    def __init__(self, ids: Ids, rules: SiteRules) -> None:
        self._ids = ids
        self._rules = rules

    def hear_order(self, book: CaseBook, site: str, fact: OrderFact, cause: Cause, now: datetime) -> None:
        if book.add_order(site, fact):
            self._place(book, site, [fact], cause, now)

    def hear_instance(
        self, book: CaseBook, site: str, study_instance_uid: str, fact: InstanceFact, cause: Cause, now: datetime
    ) -> None:
        number = fact.accession_number
        news = number is not None and not book.study_carries(site, study_instance_uid, number)
        if not book.add_instance(site, study_instance_uid, fact):
            return
        if number is not None and news:  # the study may take orders over, and the case of one
            self._place(book, site, book.orders_with_accession(site, number), cause, now)
        case = book.case_of_study(site, study_instance_uid)
        if case is None:
            case = book.open_case(self._ids.new(), site, study_instance_uid, now)
        book.look_at(case.case_id, now + _gathering(book, site, study_instance_uid, fact), cause)

    def hear_report(
        self, book: CaseBook, site: str, fact: ReportFact, found_by: ReportKeys, cause: Cause, now: datetime
    ) -> None:
        if not book.add_report(site, fact, found_by):
            return
        studies = {found_by.study_instance_uid} - {""}
        if found_by.accession_number is not None:
            studies |= set(book.studies_with_accession(site, found_by.accession_number))
        places = Places(book, site, book.orders_with_report(site, found_by))
        self._look_around(book, site, places, studies, cause, now)

    def hear_patient(
        self, book: CaseBook, site: str, fact: PatientFact, merged: Sequence[Identifier], cause: Cause, now: datetime
    ) -> None:
        if book.add_patient(site, fact, merged):
            studies, orders = book.of_patient(site, (*fact.patient, *merged))
            self._look_around(book, site, Places(book, site, orders), studies, cause, now)

    def hear_result(self, book: CaseBook, case_id: str, fact: ResultFact, cause: Cause, at: datetime) -> None:
        """``at`` is when to look what it means for its case."""
        if book.add_result(case_id, fact):
            book.look_at(case_id, at, cause)

    def decide(self, book: CaseBook, case_id: str, now: datetime) -> None:
        """Look at one case whose time has come."""
        facts = self._facts(book, book.row(case_id))
        decision = decide(book.case(case_id), facts, book.algorithms(), self._rules, now)
        book.save(facts, decision, now)

    def _facts(self, book: CaseBook, row: CaseRow) -> CaseFacts:
        facts = CaseFacts(row.case_id, row.site, row.study_instance_uid, row.opened_at)
        if row.study_instance_uid:
            images = book.instances(row.site, row.study_instance_uid)
            messages = list(book.orders_with_study(row.site, row.study_instance_uid))
            for number in {image.accession_number for image in images if image.accession_number is not None}:
                messages += book.orders_with_accession(row.site, number)
            orders = Places(book, row.site, messages).orders_of_study(row.study_instance_uid)
            return book.completed(replace(facts, orders=orders, instances=tuple(images)))
        attached = book.attached_orders(row.case_id)
        places = Places(book, row.site, attached)
        mine = [order for order in places.orders if row in places.own_cases(order)]
        # None is: other cases hold every order that these messages speak of.
        for order in mine or [order for order in places.orders if set(order) & set(attached)]:
            studies = places.studies(order)
            heirs = [book.case_of_study(row.site, studies[0])] if studies else places.own_cases(order)
            heir = next(iter(heirs), None)
            if heir is not None and heir != row:
                return book.completed(replace(facts, orders=tuple(mine), superseded_by=heir.case_id))
        return book.completed(replace(facts, orders=tuple(mine)))

    def _place(self, book: CaseBook, site: str, messages: Iterable[OrderFact], cause: Cause, now: datetime) -> None:
        """Give every order around ``messages`` its case or cases, and look at all that may have changed."""
        places = Places(book, site, messages)
        for order in places.orders:
            studies, spare = places.studies(order), list(places.own_cases(order))
            for study_instance_uid in studies:
                if book.case_of_study(site, study_instance_uid) is not None:
                    continue
                if spare:
                    book.adopt_study(spare.pop(0).case_id, study_instance_uid)
                else:
                    book.open_case(self._ids.new(), site, study_instance_uid, now)
            if not studies:
                case = spare[0] if spare else book.open_case(self._ids.new(), site, "", now)
                book.attach_orders(case.case_id, places.loose_messages(order))
        self._look_around(book, site, places, (), cause, now)

    def _look_around(
        self, book: CaseBook, site: str, places: Places, studies: Iterable[str], cause: Cause, now: datetime
    ) -> None:
        """Mark the cases of ``studies`` and all that any of the orders' messages ever pointed at."""
        uids = {*studies, *places.all_studies()}
        found = [book.case_of_study(site, uid) for uid in sorted(uids)]
        found += book.cases_of_orders(places.messages)
        for case_id in dict.fromkeys(row.case_id for row in found if row is not None):
            book.look_at(case_id, now, cause)


def _gathering(book: CaseBook, site: str, study_instance_uid: str, image: InstanceFact) -> timedelta:
    """How long to wait for more images; not at all for more than were announced."""
    count = book.count_instances(site, study_instance_uid)
    if count == announced_by(image):
        return timedelta(0)
    return min(GATHER * (1 + count // _MANY), GATHER_AT_MOST)
