"""Which messages speak of one order (RAD TF-2 4.4), and what holds of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.workflow.adapters.events import order_fact
from hilum.workflow.domain.facts import OrderFact
from hilum.workflow.domain.orders import current, orders_of, study_of
from scenes.workflow import order, patient


def grouped(*messages: Order) -> list[list[str]]:
    facts = [order_fact(message) for message in messages]
    names = {order_fact(message).fact_id: message.message_id for message in messages}
    return [[names[fact.fact_id] for fact in found] for found in orders_of(facts)]


def now(*messages: Order) -> OrderFact:
    (found,) = orders_of([order_fact(message) for message in messages])
    return current(found)


def test_the_placers_order_and_the_fillers_answer_are_one() -> None:
    assert grouped(
        order("new", 0, placer="P1"),
        order("answer", 1, control="SN", placer="P1", filler="F1"),
        order("status", 2, control="SC", filler="F1"),
    ) == [["new", "answer", "status"]]


def test_two_filler_orders_of_one_placer_order_are_two_and_share_the_placers_word() -> None:
    assert grouped(
        order("new", 0, placer="P1"),
        order("one", 1, placer="P1", filler="F1"),
        order("two", 2, placer="P1", filler="F2"),
    ) == [["new", "one"], ["new", "two"]]


def test_two_studies_of_one_filler_order_are_two_orders() -> None:
    """One requested procedure each; a message that names neither speaks of both."""
    assert grouped(
        order("one", 0, filler="F1", study="1.1"),
        order("two", 1, filler="F1", study="1.2"),
        order("cancel", 2, filler="F1", control="CA"),
    ) == [["one", "cancel"], ["two", "cancel"]]


def test_two_orders_for_one_study_stay_two() -> None:
    assert grouped(order("one", 0, filler="F1", study="1.1"), order("two", 1, filler="F2", study="1.1")) == [
        ["one"],
        ["two"],
    ]


def test_the_accession_number_decides_only_where_no_number_can_be_compared() -> None:
    assert grouped(order("one", 0, accession="A1"), order("two", 1, accession="A1")) == [["one", "two"]]
    assert grouped(order("one", 0, placer="P1", accession="A1"), order("two", 1, filler="F1", accession="A1")) == [
        ["one", "two"]
    ]
    assert grouped(order("one", 0, placer="P1", accession="A1"), order("two", 1, placer="P2", accession="A1")) == [
        ["one"],
        ["two"],
    ]


def test_a_bare_accession_number_joins_an_order_that_any_of_its_messages_gave_it() -> None:
    assert grouped(
        order("new", 0, placer="P1", accession="A1"),
        order("bare", 1, accession="A1"),
        order("answer", 2, placer="P1", filler="F1"),
    ) == [["new", "bare", "answer"]]


def test_messages_without_any_number_are_orders_of_their_own() -> None:
    assert grouped(order("one", 0), order("two", 1)) == [["one"], ["two"]]


def test_an_unknown_authority_agrees_with_the_only_known_one() -> None:
    assert grouped(order("one", 0, filler="F1^X"), order("two", 1, filler="F1")) == [["one", "two"]]


def test_an_unknown_authority_makes_no_two_known_ones_one() -> None:
    assert grouped(order("one", 0, filler="F1^X"), order("two", 1, filler="F1^Y"), order("any", 2, filler="F1")) == [
        ["one"],
        ["two"],
        ["any"],
    ]


@pytest.mark.parametrize(("first", "second"), [("9", "10"), ("RIS9", "RIS10"), ("0099", "0100"), ("A2B9", "A2B10")])
def test_within_one_second_the_control_id_counts_as_a_number(first: str, second: str) -> None:
    """MSH-7 often tells whole seconds; a cancellation must not sort before the order that it cancels."""
    messages = [
        order("n", 0, filler="F1", control_id=first),
        order("c", 0, control="CA", filler="F1", control_id=second),
    ]
    assert now(*messages).cancelled
    assert now(*reversed(messages)).cancelled


@given(st.lists(st.text(max_size=8), min_size=2, max_size=6))
def test_any_control_ids_can_be_sorted(names: list[str]) -> None:
    facts = [order_fact(order(f"m{number}", 0, filler="F", control_id=name)) for number, name in enumerate(names)]
    assert orders_of(facts) == orders_of(facts[::-1])


def test_a_very_long_control_id_is_sorted_too() -> None:
    assert now(order("a", 0, filler="F", control_id="9" * 5000), order("b", 0, filler="F", control_id="1" * 5001))


def test_what_the_newest_message_leaves_out_still_holds() -> None:
    """A status update often carries ORC alone."""
    found = now(
        order("new", 0, placer="P1", filler="F1", accession="A1", priority="S", modality="CR", person=patient("1^H")),
        order("done", 1, control="SC", status="CM", filler="F1", modality="", priority=""),
    )
    assert (found.order_control, found.order_status) == ("SC", "CM")
    assert (found.modality, found.priority) == ("CR", "S")
    assert found.accession_number is not None
    assert found.placer_order_number is not None
    assert found.patient


def test_a_status_is_of_its_own_message_alone() -> None:
    """An order placed anew after a cancellation is not cancelled."""
    found = now(
        order("cancel", 0, control="CA", status="CA", filler="F1"), order("again", 1, control="NW", filler="F1")
    )
    assert not found.cancelled


@pytest.mark.parametrize("control", ["CA", "OC", "CR", "DC", "OD", "DR"])
def test_these_controls_cancel(control: str) -> None:
    """HL7 table 0119."""
    assert now(order("m", control=control, filler="F1")).cancelled


@pytest.mark.parametrize(
    ("status", "cancelled"), [("CA", True), ("DC", True), ("CM", False), ("IP", False), ("", False)]
)
def test_these_statuses_cancel(status: str, cancelled: bool) -> None:
    """HL7 table 0038."""
    assert now(order("m", control="SC", status=status, filler="F1")).cancelled is cancelled


def test_an_order_names_its_study_by_any_message() -> None:
    (found,) = orders_of([order_fact(order("a", 0, filler="F", study="1.1")), order_fact(order("b", 1, filler="F"))])
    assert study_of(found) == "1.1"
    assert current(found).study_instance_uid == "1.1"
