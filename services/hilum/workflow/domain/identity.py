"""Who: whether all sources mean the same patient and accession number, and whose data the case carries.

Any disagreement parks the case; nothing is guessed (IHE RAD PIR; HL7 v2.5.1 3.6.2 for merges).
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

from hilum.workflow.domain.facts import CaseFacts, Identifier, Order, OrderFact, PatientFact, by_stamp
from hilum.workflow.domain.orders import current, one_authority

Merge = tuple[Identifier, Identifier]  # retired, surviving


class Persons:
    """Which identifiers mean one person, after merges. Built per decision; a merge may come before its patient."""

    def __init__(self, merges: Iterable[Merge]) -> None:
        self._person: dict[Identifier, int] = {}
        edges = tuple(merges)
        complete = one_authority(identifier for edge in edges for identifier in edge)
        for number, edge in enumerate(edges):
            retired, surviving = map(complete, edge)
            joined = {self._person[each] for each in (retired, surviving) if each in self._person}
            self._person |= {each: number for each, person in self._person.items() if person in joined}
            self._person |= {retired: number, surviving: number}

    def same(self, one: Identifier, other: Identifier) -> bool:
        if one.agrees(other):
            return True
        mine, theirs = self._of(one), self._of(other)
        return len(mine) == 1 and mine == theirs

    def _of(self, identifier: Identifier) -> set[int]:
        """The persons that it may mean; more than one when its authority is unknown and several use the value."""
        return {person for known, person in self._person.items() if known.agrees(identifier)}

    def meet(self, some: Iterable[Identifier], others: Sequence[Identifier]) -> bool:
        return any(self.same(one, other) for one in some for other in others)


def conflict(facts: CaseFacts) -> str:
    """The kind of disagreement that parks the case, `patient` or `accession_number`; or empty.

    Every message of an order counts: a procedure update (RAD-13) must not change the patient.
    Sources that name no patient contradict none; neither do cancelled orders.
    """
    persons = Persons(facts.merges)
    live = [order for order in facts.orders if not current(order).cancelled]
    for one, other in combinations(_named(facts, live), 2):
        if not persons.meet(one, other):
            return "patient"
    orders_say = [order.accession_number for order in map(current, live) if order.accession_number]
    images_say = {image.accession_number for image in facts.instances if image.accession_number}
    for said in images_say:
        if orders_say and not any(said.agrees(known) for known in orders_say):
            return "accession_number"
    return ""


def patient(facts: CaseFacts) -> bytes:
    """Who it is, as the contract carries it: ADT's newest word on the surviving identifier, else the order's
    first message (only ADT updates patient data: RAD TF-2 4.13), else the images'.
    """
    told = _adt(facts)
    if told is not None:
        return told.person
    order = _leading(facts.orders)
    if order is not None:
        return order.person
    return next((image.person for image in facts.instances if image.patient), b"") or next(
        (image.person for image in facts.instances), b""
    )


def _named(facts: CaseFacts, orders: Iterable[Order]) -> list[tuple[Identifier, ...]]:
    """The different sets of patient identifiers that orders and images carry."""
    named = {message.patient: None for order in orders for message in order if message.patient}
    named |= {image.patient: None for image in facts.instances if image.patient}
    return list(named)


def _adt(facts: CaseFacts) -> PatientFact | None:
    persons = Persons(facts.merges)
    named = _named(facts, facts.orders)
    about = [fact for fact in facts.patients if any(persons.meet(fact.patient, one) for one in named)]
    if any(not persons.meet(one.patient, other.patient) for one, other in combinations(about, 2)):
        return None  # one number, two patients: an unknown authority must not pick the wrong one
    retired = {retired for retired, _surviving in facts.merges}
    surviving = [fact for fact in about if not any(old.agrees(mine) for old in retired for mine in fact.patient)]
    return max(surviving or about, key=by_stamp, default=None)


def _leading(orders: Sequence[Order]) -> OrderFact | None:
    """The first message that names a patient, of the newest order that is not cancelled."""
    with_patient = [order for order in orders if any(message.patient for message in order)]
    live = [order for order in with_patient if not current(order).cancelled] or with_patient
    newest = max(live, key=lambda order: by_stamp(order[0]), default=())
    return next((message for message in newest if message.patient), None)
