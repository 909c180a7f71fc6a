"""What is expected, counted from orders and images alone; and how it is matched with the cases."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.ledger.domain.facts import Key, OrderFact, StudyFact
from hilum.ledger.domain.identity import Unit, units
from hilum.ledger.domain.orders import order_groups

AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def order(
    number: int,
    *,
    placer: str = "",
    filler: str = "",
    accession: str = "",
    study: str = "",
    authority: str = "",
    minute: int | None = None,
) -> OrderFact:
    named = {"placer": placer, "filler": filler, "accession": accession}
    keys = tuple(Key(kind, value, authority) for kind, value in named.items() if value)
    at = AT + timedelta(minutes=number if minute is None else minute)
    return OrderFact(f"e{number}", f"m{number}", 0, at, at, "ORM^O01", "NW", "SC", "R", study, keys)


def study(uid: str, accession: str = "") -> StudyFact:
    keys = (Key("accession", accession),) if accession else ()
    return StudyFact(uid, AT, AT, 1, {}, keys)


def counted(orders: list[OrderFact], studies: list[StudyFact]) -> list[str]:
    """What is expected: the study, or the first message of an order without one."""
    found = units(orders, studies)
    return sorted(unit.study_instance_uid or min(message for message, _ in unit.messages) for unit in found)


def test_an_order_and_its_study_are_one() -> None:
    assert counted([order(1, placer="P", accession="A")], [study("1.2", "A")]) == ["1.2"]


def test_an_order_without_images_and_images_without_an_order_are_two() -> None:
    assert counted([order(1, placer="P", accession="A")], [study("1.2", "B")]) == ["1.2", "m1"]


def test_one_accession_number_may_hold_several_studies() -> None:
    assert counted([order(1, accession="A")], [study("1.2", "A"), study("1.3", "A")]) == ["1.2", "1.3"]


def test_one_study_may_answer_several_orders() -> None:
    orders = [order(1, placer="P1", accession="A"), order(2, placer="P2", accession="A")]

    assert counted(orders, [study("1.2", "A")]) == ["1.2"]


def test_a_study_that_an_order_announces_is_expected() -> None:
    assert counted([order(1, accession="A", study="1.2")], []) == ["1.2"]


def test_an_order_that_names_two_studies_is_expected_for_each() -> None:
    orders = [order(1, placer="P", study="1.2"), order(2, placer="P", study="1.3")]

    assert counted(orders, []) == ["1.2", "1.3"]


def test_one_placer_order_that_two_fillers_take_is_two() -> None:
    orders = [order(1, placer="P"), order(2, placer="P", filler="F1"), order(3, placer="P", filler="F2")]

    found = units(orders, [])
    assert [sorted(message for message, _ in unit.messages) for unit in found] == [["m1", "m2"], ["m1", "m3"]]
    assert [unit.filler for unit in found] == ["F1", "F2"]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ({"placer": "P"}, {"placer": "P"}, True),
        ({"filler": "F"}, {"placer": "P", "filler": "F"}, True),
        ({"placer": "P"}, {"filler": "P"}, False),
        ({"accession": "A"}, {"accession": "A"}, True),
        ({"placer": "P1", "accession": "A"}, {"placer": "P2", "accession": "A"}, False),
        ({"placer": "P", "authority": "X"}, {"placer": "P", "authority": "Y"}, False),
        ({"placer": "P", "authority": "X"}, {"placer": "P"}, True),
    ],
)
def test_when_two_messages_speak_of_one_order(one: dict[str, str], other: dict[str, str], together: bool) -> None:
    groups = order_groups([order(1, **one), order(2, **other)])  # type: ignore[arg-type]

    assert (len(groups) == 1) is together


NUMBERS = st.sampled_from(["", "1", "2"])
ORDERS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["", "1.2", "1.3"])), max_size=6)
STUDIES = st.dictionaries(st.sampled_from(["1.2", "1.3", "1.4"]), NUMBERS, max_size=3)


@given(ORDERS, STUDIES, st.randoms(use_true_random=False))
def test_the_order_of_arrival_is_of_no_account(told, shown, random) -> None:
    orders = [
        order(number, placer=placer, filler=filler, accession=accession, study=uid)
        for number, (placer, filler, accession, uid) in enumerate(told)
    ]
    studies = [study(uid, accession) for uid, accession in shown.items()]
    mixed = list(orders)
    random.shuffle(mixed)

    def told_of(found: tuple[Unit, ...]) -> set[tuple[str, frozenset[tuple[str, int]], bool]]:
        return {(unit.study_instance_uid, unit.messages, unit.filler) for unit in found}

    assert told_of(units(orders, studies)) == told_of(units(mixed, studies[::-1]))


@given(ORDERS, STUDIES)
def test_every_order_and_every_study_is_in_some_unit(told, shown) -> None:
    orders = [
        order(number, placer=placer, filler=filler, accession=accession, study=uid)
        for number, (placer, filler, accession, uid) in enumerate(told)
    ]
    found = units(orders, [study(uid, accession) for uid, accession in shown.items()])

    assert {message for unit in found for message in unit.messages} == {(one.message_id, 0) for one in orders}
    assert set(shown) <= {unit.study_instance_uid for unit in found}
