"""Which orders belong to which cases: read anew from the facts each time, so that no arrival order shows through.

An order belongs to the study that it names; failing that, to every study whose images carry its
accession number; while there is none, to a case of its own.
"""

from collections import Counter
from collections.abc import Iterable

from hilum.workflow.domain.facts import Order, OrderFact
from hilum.workflow.domain.orders import orders_of, study_of
from hilum.workflow.ports import CaseBook, CaseRow


class Places:
    """The orders around some messages, and the place of each."""

    def __init__(self, book: CaseBook, site: str, messages: Iterable[OrderFact]) -> None:
        self._book = book
        self._site = site
        self.messages = tuple(book.related_orders(site, messages))
        self.orders = orders_of(self.messages)
        self._used_by = Counter(fact.fact_id for order in self.orders for fact in order)
        self._cases = self._assign()

    def studies(self, order: Order) -> list[str]:
        named = study_of(order)
        return [named] if named else sorted(self._studies_by_accession(order))

    def own_cases(self, order: Order) -> list[CaseRow]:
        """The cases that were opened for this order and have no study: one, but for histories that met later."""
        return self._cases[order]

    def own_messages(self, order: Order) -> list[OrderFact]:
        """Those that speak of this order alone; every order has one at least."""
        return [fact for fact in order if self._used_by[fact.fact_id] == 1]

    def loose_messages(self, order: Order) -> list[OrderFact]:
        """Its own messages that lead to none of its cases, because they are new or meant another order before."""
        held = set(self.own_cases(order))
        return [fact for fact in self.own_messages(order) if not held & set(self._book.cases_of_orders([fact]))]

    def all_studies(self) -> set[str]:
        """Every study that any of the messages ever pointed at."""
        named = {fact.study_instance_uid for fact in self.messages if fact.study_instance_uid}
        return named | self._studies_by_accession(self.messages)

    def orders_of_study(self, study_instance_uid: str) -> tuple[Order, ...]:
        return tuple(order for order in self.orders if study_instance_uid in self.studies(order))

    def _studies_by_accession(self, facts: Iterable[OrderFact]) -> set[str]:
        numbers = {fact.accession_number for fact in facts if fact.accession_number is not None}
        return {study for number in numbers for study in self._book.studies_with_accession(self._site, number)}

    def _assign(self) -> dict[Order, list[CaseRow]]:
        """No case to two orders: first by an order's own messages, then by those that it shares."""
        assigned: dict[Order, list[CaseRow]] = {order: [] for order in self.orders}
        taken: set[str] = set()
        for messages_of in (self.own_messages, list):
            for order in self.orders:
                if assigned[order]:
                    continue
                found = [
                    row
                    for row in self._book.cases_of_orders(messages_of(order))
                    if not row.study_instance_uid and row.case_id not in taken
                ]
                assigned[order] = found if messages_of is not list else found[:1]
                taken |= {row.case_id for row in assigned[order]}
        return assigned
