"""Who and what: which messages speak of one order, and whether all sources mean the same patient.

Any disagreement parks the case; nothing is guessed (IHE RAD PIR; HL7 v2.5.1 3.6.2 for merges).
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

from hilum.workflow.domain.facts import CaseFacts, Identifier, OrderFact


def same_order(one: OrderFact, other: OrderFact) -> bool:
    """Two messages speak of one order when the placer's or the filler's number agrees.

    Where neither message carries either number, the accession number decides.
    """
    pairs = (
        (one.placer_order_number, other.placer_order_number),
        (one.filler_order_number, other.filler_order_number),
    )
    if any(mine and theirs and mine.agrees(theirs) for mine, theirs in pairs):
        return True
    numbered = any((*pairs[0], *pairs[1]))
    if numbered or not (one.accession_number and other.accession_number):
        return False
    return one.accession_number.agrees(other.accession_number)


def orders_of(facts: Sequence[OrderFact]) -> tuple[tuple[OrderFact, ...], ...]:
    """The messages of each order, oldest first; orders by their first message."""
    groups: list[list[OrderFact]] = []
    for fact in sorted(facts, key=lambda fact: fact.stamp):
        joined = [group for group in groups if any(same_order(fact, member) for member in group)]
        merged = [*(member for group in joined for member in group), fact]
        groups = [group for group in groups if group not in joined]
        groups.append(sorted(merged, key=lambda member: member.stamp))
    return tuple(tuple(group) for group in sorted(groups, key=lambda group: group[0].stamp))


def latest_of_each_order(facts: Sequence[OrderFact]) -> tuple[OrderFact, ...]:
    """What holds now for each order: its newest message."""
    return tuple(group[-1] for group in orders_of(facts))


class Persons:
    """Which identifiers mean one person, after merges. Built per decision; a merge may come before its patient."""

    def __init__(self, merges: Iterable[tuple[Identifier, Identifier]]) -> None:
        self._classes: list[set[Identifier]] = []
        for retired, surviving in merges:
            joined = [
                group for group in self._classes if any(item.agrees(x) for item in group for x in (retired, surviving))
            ]
            merged = {retired, surviving}.union(*joined)
            self._classes = [group for group in self._classes if group not in joined] + [merged]

    def same(self, one: Identifier, other: Identifier) -> bool:
        return one.agrees(other) or any(
            any(one.agrees(item) for item in group) and any(other.agrees(item) for item in group)
            for group in self._classes
        )


def conflict(facts: CaseFacts) -> str:
    """The kind of disagreement that parks the case, `patient` or `accession_number`; or empty.

    Sources that name no patient contradict none.
    """
    persons = Persons(facts.merges)
    current = [order for order in latest_of_each_order(facts.orders) if not order.cancelled]
    named = {order.patient for order in current if order.patient}
    named |= {image.patient for image in facts.instances if image.patient}
    for one, other in combinations(named, 2):
        if not any(persons.same(mine, theirs) for mine in one for theirs in other):
            return "patient"
    orders_say = [order.accession_number for order in current if order.accession_number]
    images_say = {image.accession_number for image in facts.instances if image.accession_number}
    for said in images_say:
        if orders_say and not any(said.agrees(known) for known in orders_say):
            return "accession_number"
    return ""
