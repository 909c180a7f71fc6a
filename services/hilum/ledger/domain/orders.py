"""Which messages speak of one order, counted anew from the numbers that they carry (RAD TF-2 4.4).

The filler's number names an order; messages without one speak of every order of their placer's number, else of their
accession number. An order that names several studies is one order a study.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from hilum.ledger.domain.facts import Key, OrderFact

Group = list[OrderFact]


def order_groups(orders: Sequence[OrderFact]) -> list[Group]:
    """Every order with its messages; a message that does not say which order it means stands in several."""
    number = _numbers(orders)
    groups = _gather((number(order, "filler"), order) for order in orders if number(order, "filler"))
    placed = [order for order in orders if number(order, "placer") and not number(order, "filler")]
    groups += _gather((number(order, "placer"), order) for order in _join(placed, groups, number))
    bare = [order for order in orders if not number(order, "placer") and not number(order, "filler")]
    left = _join(bare, groups, number)
    groups += _gather((number(order, "accession"), order) for order in left if number(order, "accession"))
    nameless = (order for order in left if not number(order, "accession"))
    groups += _gather((order.study_instance_uid or order.event_id, order) for order in nameless)
    return [part for group in groups for part in _by_study(group)]


_Number = Callable[[OrderFact, str], Key | None]


def _numbers(orders: Iterable[OrderFact]) -> _Number:
    """A message's number of a kind; one without authority is completed when a single authority uses its value."""
    authorities: dict[tuple[str, str], set[str]] = defaultdict(set)
    for order in orders:
        for key in order.keys:
            if key.authority:
                authorities[key.kind, key.value].add(key.authority)

    def number(order: OrderFact, kind: str) -> Key | None:
        key = next((key for key in order.keys if key.kind == kind), None)
        used = authorities.get((key.kind, key.value), set()) if key else set()
        if key is None or key.authority or len(used) != 1:
            return key
        return Key(key.kind, key.value, next(iter(used)))

    return number


def _gather(named: Iterable[tuple[object, OrderFact]]) -> list[Group]:
    groups: dict[object, Group] = {}
    for name, order in named:
        groups.setdefault(name, []).append(order)
    return list(groups.values())


def _join(orders: Iterable[OrderFact], groups: Sequence[Group], number: _Number) -> list[OrderFact]:
    """Add each message to every group that it speaks of, by placer's number where both have one, else by accession
    number; return those that speak of none."""
    known = [
        (
            {number(order, "placer") for order in group} - {None},
            {number(order, "accession") for order in group} - {None},
        )
        for group in groups
    ]
    left: list[OrderFact] = []
    for order in orders:
        placer, accession = number(order, "placer"), number(order, "accession")
        joined = [
            group
            for group, (placers, accessions) in zip(groups, known, strict=True)
            if (placer in placers if placer and placers else accession in accessions)
        ]
        for group in joined:
            group.append(order)
        if not joined:
            left.append(order)
    return left


def _by_study(group: Group) -> list[Group]:
    studies = sorted({order.study_instance_uid for order in group if order.study_instance_uid})
    if len(studies) <= 1:
        return [group]
    return [[order for order in group if order.study_instance_uid in {"", study}] for study in studies]
