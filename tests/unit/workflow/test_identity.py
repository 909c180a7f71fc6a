"""Who: any disagreement parks the case, and nothing is guessed."""

import pytest

from hilum.workflow.domain.facts import Identifier
from hilum.workflow.domain.identity import Persons
from scenes.workflow import Hospital, adt, image, order, patient


def ids(*texts: str) -> tuple[Identifier, ...]:
    return tuple(Identifier(*text.split("^")) for text in texts)


def persons(*edges: str) -> Persons:
    return Persons([(Identifier(*old.split("^")), Identifier(*new.split("^"))) for old, new in map(str.split, edges)])


def same(known: Persons, one: str, other: str) -> bool:
    return known.same(Identifier(*one.split("^")), Identifier(*other.split("^")))


def test_one_number_of_two_authorities_is_two_persons() -> None:
    assert not same(persons(), "1^A", "1^B")
    assert same(persons(), "1^A", "1")


@pytest.mark.parametrize("edges", [["1^A 2^A", "2^A 3^A"], ["2^A 3^A", "1^A 2^A"], ["1^A 3^A", "2^A 3^A"]])
def test_merges_chain_in_any_order(edges: list[str]) -> None:
    known = persons(*edges)
    assert same(known, "1^A", "3^A")
    assert same(known, "3^A", "2^A")
    assert not same(known, "1^A", "4^A")


def test_two_chains_that_meet_later_are_one_person() -> None:
    known = persons("1^A 2^A", "3^A 4^A", "2^A 3^A")
    assert all(same(known, one, other) for one in ("1^A", "2^A") for other in ("3^A", "4^A"))


def test_a_cycle_of_merges_ends() -> None:
    known = persons("1^A 2^A", "2^A 1^A")
    assert same(known, "1^A", "2^A")


def test_an_unknown_authority_joins_no_two_persons() -> None:
    """7 agrees with 7 of A and with 7 of B; that must not make the two one."""
    known = persons("7^A 1^A", "7^B 2^B", "7 3^A")
    assert not same(known, "1^A", "2^B")
    assert not same(known, "1^A", "3^A")
    assert not same(known, "7", "1^A")


def test_an_unknown_authority_is_completed_where_only_one_uses_the_number() -> None:
    known = persons("7^A 1^A", "1 2^A")
    assert same(known, "7^A", "2^A")
    assert same(known, "7", "2")


# On the book.


def test_an_order_and_an_image_of_two_patients_are_a_conflict(here: Hospital) -> None:
    here.hear(order("o", accession="A1", person=patient("1^H")), image("1", accession="A1", person=patient("2^H")))
    here.wait(minutes=2)
    assert here.case().conflict == "conflict:identity:patient"
    assert here.disposition() == "conflict:identity"
    assert here.tasks == []


def test_a_source_that_names_no_patient_contradicts_none(here: Hospital) -> None:
    here.hear(order("o", accession="A1", person=patient("1^H")), image("1", accession="A1"))
    here.wait(minutes=2)
    assert here.disposition() == "tasked"


def test_one_common_identifier_of_several_is_agreement(here: Hospital) -> None:
    here.hear(order("o", accession="A1", person=patient("1^H", "9^N")))
    here.hear(image("1", accession="A1", person=patient("9^N", "4^X")))
    here.wait(minutes=2)
    assert here.disposition() == "tasked"


def test_two_images_of_two_patients_in_one_study_are_a_conflict(here: Hospital) -> None:
    here.hear(order("o", accession="A1"))
    here.hear(image("1", accession="A1", person=patient("1^H")), image("2", accession="A1", person=patient("2^H")))
    here.wait(minutes=2)
    assert here.disposition() == "conflict:identity"


def test_a_procedure_update_must_not_change_the_patient(here: Hospital) -> None:
    """RAD-13: patient data change through ADT alone; another PID in an update parks the case."""
    here.hear(order("new", 0, filler="F1", accession="A1", person=patient("1^H")))
    here.hear(order("update", 1, control="XO", filler="F1", accession="A1", person=patient("2^H")))
    here.hear(image("1", accession="A1", person=patient("2^H")))
    here.wait(minutes=2)
    assert here.disposition() == "conflict:identity"


def test_a_cancelled_order_contradicts_none(here: Hospital) -> None:
    here.hear(order("wrong", 0, filler="F1", accession="A1", person=patient("2^H")))
    here.hear(order("cancel", 1, control="CA", filler="F1", accession="A1"))
    here.hear(order("right", 2, filler="F2", accession="A1", person=patient("1^H")))
    here.hear(image("1", accession="A1", person=patient("1^H")))
    here.wait(minutes=2)
    assert here.disposition() == "tasked"


@pytest.mark.parametrize("first", [True, False], ids=["A40 before A01", "A40 after the conflict"])
def test_a_merge_reconciles_the_case_whenever_it_comes(here: Hospital, first: bool) -> None:
    merge = adt("a40", 5, "A40", patient("1^H"), merged=["2^H"])
    if first:
        here.hear(merge)
    here.hear(order("o", accession="A1", person=patient("1^H")), image("1", accession="A1", person=patient("2^H")))
    here.wait(minutes=2)
    if not first:
        assert here.disposition() == "conflict:identity"
        here.hear(merge)
    here.hear(adt("a01", 6, "A01", patient("1^H", name="ROE")))
    here.wait(minutes=2)
    assert here.disposition() == "tasked"
    assert here.case().patient.family_name == "ROE"


def test_a_merge_in_the_middle_of_a_chain_reaches_both_ends(here: Hospital) -> None:
    """Neither the order nor the image names an identifier of the merge that closes the chain."""
    here.hear(order("o", accession="A1", person=patient("1^H")), image("1", accession="A1", person=patient("4^H")))
    here.hear(adt("m1", 1, "A40", patient("2^H"), merged=["1^H"]), adt("m3", 1, "A40", patient("4^H"), merged=["3^H"]))
    here.wait(minutes=2)
    assert here.disposition() == "conflict:identity"
    here.hear(adt("m2", 2, "A40", patient("3^H"), merged=["2^H"]))
    here.wait(minutes=2)
    assert here.disposition() == "tasked"


def test_each_group_of_one_merge_message_counts(here: Hospital) -> None:
    """ADT^A40 repeats {PID MRG}; here both groups retire a number in favour of one patient."""
    here.hear(
        adt("a40", 1, "A40", patient("1^H"), merged=["2^H"], ordinal=0),
        adt("a40", 1, "A40", patient("1^H"), merged=["3^H"], ordinal=1),
    )
    here.hear(order("o", accession="A1", person=patient("2^H")), image("1", accession="A1", person=patient("3^H")))
    here.wait(minutes=2)
    assert here.disposition() == "tasked"


def test_a_merge_is_published_even_where_nobody_disagreed(here: Hospital) -> None:
    """FHIR references must be published again under the surviving patient."""
    here.hear(order("o", accession="A1", person=patient("2^H")), image("1", accession="A1", person=patient("2^H")))
    here.wait(minutes=2)
    before = here.case()
    here.hear(adt("a40", 5, "A40", patient("1^H", name="ROE"), merged=["2^H"]))
    here.wait(minutes=2)
    after = here.case()
    assert after.version > before.version
    assert [each.value for each in after.patient.identifiers] == ["1"]
    assert after.patient.family_name == "ROE"


def test_later_adt_of_the_retired_number_does_not_bring_it_back(here: Hospital) -> None:
    here.hear(order("o", accession="A1", person=patient("2^H")))
    here.hear(adt("a40", 5, "A40", patient("1^H", name="ROE"), merged=["2^H"]))
    here.hear(adt("a08", 9, "A08", patient("2^H", name="OLD")))
    here.wait(minutes=2)
    assert here.case().patient.family_name == "ROE"


def test_a_merge_that_lists_a_surviving_number_as_retired_keeps_it(here: Hospital) -> None:
    here.hear(order("o", accession="A1", person=patient("1^H")))
    here.hear(adt("a40", 5, "A40", patient("1^H", "9^N", name="ROE"), merged=["2^H", "9^N"]))
    here.wait(minutes=2)
    assert here.case().patient.family_name == "ROE"


def test_adt_of_another_authoritys_patient_is_never_used(here: Hospital) -> None:
    here.hear(order("o", accession="A1", person=patient("1^H", name="DOE")))
    here.hear(adt("other", 9, "A08", patient("1^OTHER", name="STRANGER")))
    here.hear(adt("merge", 9, "A40", patient("5^OTHER", name="STRANGER"), merged=["1^OTHER"]))
    here.wait(minutes=2)
    assert here.case().patient.family_name == "DOE"


def test_adt_of_two_patients_under_a_bare_number_is_not_used(here: Hospital) -> None:
    here.hear(order("o", accession="A1", person=patient("1", name="DOE")))
    here.hear(adt("one", 8, "A08", patient("1^H", name="ONE")), adt("two", 9, "A08", patient("1^I", name="TWO")))
    here.wait(minutes=2)
    assert here.case().patient.family_name == "DOE"


def test_patient_data_of_an_order_are_those_it_was_placed_with(here: Hospital) -> None:
    here.hear(order("new", 0, filler="F1", accession="A1", person=patient("1^H", name="DOE")))
    here.hear(order("update", 1, control="XO", filler="F1", accession="A1", person=patient("1^H", name="TYPO")))
    here.wait(minutes=2)
    assert here.case().patient.family_name == "DOE"


def test_an_accession_number_that_differs_between_order_and_image_is_a_conflict(here: Hospital) -> None:
    here.hear(order("o", accession="A1", study="1.2"), image("1", accession="A2"))
    here.wait(minutes=2)
    assert here.case().conflict == "conflict:identity:accession_number"


def test_an_accession_number_of_another_issuer_is_a_conflict(here: Hospital) -> None:
    here.hear(order("o", accession="A1^X", study="1.2"), image("1", accession="A1^Y"))
    here.wait(minutes=2)
    assert here.case().conflict == "conflict:identity:accession_number"


def test_a_corrected_accession_number_ends_the_conflict(here: Hospital) -> None:
    here.hear(order("o", 0, filler="F1", accession="A1", study="1.2"), image("1", accession="A2"))
    here.wait(minutes=2)
    here.hear(order("mended", 5, control="XO", filler="F1", accession="A2", study="1.2"))
    here.wait(minutes=2)
    assert here.disposition() == "tasked"
