"""Which messages speak of one order, and what holds of it now.

A filler's number is the most exact name of an order, then the placer's, then the accession number
(RAD TF-2 4.4). One placer order may be filled by several filler orders, and one filler order may ask
for several studies (one requested procedure each): those are parted, and a message that does not
say which one it means speaks of all of them.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from hilum.workflow.domain.facts import Identifier, Order, OrderFact, by_stamp


def orders_of(facts: Iterable[OrderFact]) -> tuple[Order, ...]:
    """The messages of each order, oldest first; orders by their first message."""
    known = sorted({fact.fact_id: fact for fact in facts}.values(), key=by_stamp)
    orders = [order for family in _families(known) for order in _by_study(family)]
    return tuple(sorted(orders, key=lambda order: [by_stamp(fact) for fact in order]))


def study_of(order: Order) -> str:
    """The study that the order names; empty while none of its messages does."""
    return next((fact.study_instance_uid for fact in order if fact.study_instance_uid), "")


def current(order: Order) -> OrderFact:
    """What holds now: the newest message, and from earlier ones what it leaves out (but for status and control)."""
    newest_first = order[::-1]
    return replace(
        newest_first[0],
        placer_order_number=_first(fact.placer_order_number for fact in newest_first),
        filler_order_number=_first(fact.filler_order_number for fact in newest_first),
        accession_number=_first(fact.accession_number for fact in newest_first),
        study_instance_uid=study_of(order),
        modality=next((fact.modality for fact in newest_first if fact.modality), ""),
        procedure_code=next((fact.procedure_code for fact in newest_first if fact.procedure_code), ""),
        priority=next((fact.priority for fact in newest_first if fact.priority), ""),
        patient=next((fact.patient for fact in newest_first if fact.patient), ()),
        documents=tuple(document for fact in newest_first for document in fact.documents),
    )


def one_authority(identifiers: Iterable[Identifier]) -> Callable[[Identifier], Identifier]:
    """Completes an identifier without authority when exactly one authority is known to use its value.

    "Agrees with an unknown authority" is no equivalence: 7 agrees with 7 of A and with 7 of B, and
    must not make those two one. Where several use the value, it stays apart from all of them.
    """
    authorities: dict[str, set[str]] = {}
    for identifier in identifiers:
        if identifier.authority:
            authorities.setdefault(identifier.value, set()).add(identifier.authority)

    def complete(identifier: Identifier) -> Identifier:
        used = authorities.get(identifier.value, set())
        if identifier.authority or len(used) != 1:
            return identifier
        return Identifier(identifier.value, next(iter(used)))

    return complete


class _Message(NamedTuple):
    """A message with its numbers as they compare: completed where that is certain."""

    fact: OrderFact
    placer: Identifier | None
    filler: Identifier | None
    accession: Identifier | None


_Family = list[_Message]


def _families(facts: Sequence[OrderFact]) -> list[_Family]:
    """Messages by filler number; those without one join by placer number, else by accession number."""
    messages = _messages(facts)
    by_filler = _gather((message.filler, message) for message in messages if message.filler)
    left = _join([message for message in messages if message.placer and not message.filler], by_filler)
    by_placer = _gather((message.placer, message) for message in left)
    bare = [message for message in messages if not message.filler and not message.placer]
    left = _join(bare, [*by_filler, *by_placer])
    by_accession = _gather((message.accession, message) for message in left if message.accession)
    nameless = [message for message in left if not message.accession]
    by_study = _gather((message.fact.study_instance_uid or message.fact.fact_id, message) for message in nameless)
    return [*by_filler, *by_placer, *by_accession, *by_study]


def _gather(named: Iterable[tuple[Hashable, _Message]]) -> list[_Family]:
    families: dict[Hashable, _Family] = {}
    for name, message in named:
        families.setdefault(name, []).append(message)
    return list(families.values())


def _join(messages: Iterable[_Message], families: Sequence[_Family]) -> list[_Message]:
    """Add each message to every family that it speaks of; return those that speak of none."""
    placers = [{message.placer for message in family if message.placer} for family in families]
    accessions = [{message.accession for message in family if message.accession} for family in families]
    left: list[_Message] = []
    for message in messages:
        joined = [
            family
            for family, its_placers, its_accessions in zip(families, placers, accessions, strict=True)
            if (
                message.placer in its_placers if message.placer and its_placers else message.accession in its_accessions
            )
        ]
        for family in joined:
            family.append(message)
        if not joined:
            left.append(message)
    return left


def _by_study(family: _Family) -> list[Order]:
    facts = sorted((message.fact for message in family), key=by_stamp)
    studies = sorted({fact.study_instance_uid for fact in facts if fact.study_instance_uid})
    if len(studies) <= 1:
        return [tuple(facts)]
    return [tuple(fact for fact in facts if fact.study_instance_uid in {"", study}) for study in studies]


def _messages(facts: Sequence[OrderFact]) -> list[_Message]:
    placer = one_authority(fact.placer_order_number for fact in facts if fact.placer_order_number)
    filler = one_authority(fact.filler_order_number for fact in facts if fact.filler_order_number)
    accession = one_authority(fact.accession_number for fact in facts if fact.accession_number)
    return [
        _Message(
            fact,
            placer(fact.placer_order_number) if fact.placer_order_number else None,
            filler(fact.filler_order_number) if fact.filler_order_number else None,
            accession(fact.accession_number) if fact.accession_number else None,
        )
        for fact in facts
    ]


def _first(found: Iterable[Identifier | None]) -> Identifier | None:
    return next((identifier for identifier in found if identifier is not None), None)
