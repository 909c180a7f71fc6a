"""A study is complete by evidence, best first: the order's status, an announced count, a quiet timer."""

from datetime import timedelta

import pytest

from hilum.site import Site
from hilum.store.sql import SqlStore
from scenes.workflow import NOON, SITE, Hospital, hospital, image, order


def ordered(status: str = "") -> object:
    return order("o", 0, control="SC" if status else "NW", status=status, filler="F1", accession="A1")


def test_the_orders_status_completes_after_the_images_have_settled(here: Hospital) -> None:
    here.hear(ordered("CM"), image("1", accession="A1", second=10))
    here.wait(seconds=10.9)
    assert here.disposition() == "waiting"
    here.wait(seconds=0.2)
    assert here.disposition() == "tasked"
    assert (here.case().completeness.evidence, here.case().completeness.detail) == ("order_status", "CM")


def test_every_live_order_must_be_completed(here: Hospital) -> None:
    here.hear(ordered("CM"), order("o2", filler="F2", accession="A1"), image("1", accession="A1"))
    here.wait(seconds=20)
    assert here.disposition() == "waiting"
    here.hear(order("o3", 1, control="SC", status="CM", filler="F2"))
    here.wait(seconds=1)
    assert here.case().completeness.detail == "CM+CM"


def test_a_cancelled_order_is_not_waited_for(here: Hospital) -> None:
    here.hear(ordered("CM"), order("o2", control="CA", filler="F2", accession="A1"), image("1", accession="A1"))
    here.wait(seconds=2)
    assert here.case().completeness.evidence == "order_status"


def test_which_statuses_complete_is_the_sites_word(store: SqlStore) -> None:
    site = SITE.model_copy(
        update={"completeness": SITE.completeness.model_copy(update={"complete_order_statuses": ["IP"]})}
    )
    with hospital(store, site) as here:
        here.hear(ordered("IP"), image("1", accession="A1"))
        here.wait(seconds=2)
        assert here.case().completeness.detail == "IP"


def test_an_announced_count_completes(here: Hospital) -> None:
    here.hear(ordered(), image("1", accession="A1", expected=2))
    here.wait(seconds=5)
    assert not here.case().completeness.complete
    assert here.case().completeness.detail == "1 of 2"
    here.hear(image("2", accession="A1", expected=2, second=5))
    here.wait(seconds=2)
    assert (here.case().completeness.evidence, here.case().completeness.detail) == ("expected_count", "2 of 2")


def test_a_status_does_not_complete_fewer_than_announced(here: Hospital) -> None:
    here.hear(ordered("CM"), image("1", accession="A1", expected=2))
    here.wait(seconds=5)
    assert here.disposition() == "waiting"


def test_quiet_with_fewer_than_announced_is_incomplete(here: Hospital) -> None:
    here.hear(ordered(), image("1", accession="A1", expected=2))
    here.wait(seconds=31)
    assert here.disposition() == "incomplete"
    here.hear(image("2", accession="A1", expected=2, second=40))
    here.wait(seconds=60)
    assert here.disposition() == "tasked"


def test_a_second_data_set_under_one_uid_does_not_count(here: Hospital) -> None:
    here.hear(ordered(), image("1", accession="A1", expected=2))
    here.hear(image("1", accession="A1", expected=2, sha256=b"other", reason="duplicate_uid"))
    here.wait(seconds=5)
    assert here.case().completeness.detail == "1 of 2"
    assert here.case().instance_count == 1


def test_without_other_evidence_quiet_completes(here: Hospital) -> None:
    here.hear(ordered(), image("1", accession="A1"), image("2", accession="A1", second=20))
    here.wait(seconds=49.9)
    assert here.disposition() == "waiting"
    here.wait(seconds=0.2)
    assert (here.case().completeness.evidence, here.case().completeness.detail) == ("quiet_timer", "30 s")


@pytest.mark.parametrize("count", ["", "0", "-1", "two", "2.0", "9" * 30, "\u0662"])
def test_a_count_that_is_no_number_announces_nothing(here: Hospital, count: str) -> None:
    here.hear(ordered(), image("1", accession="A1", NumberOfStudyRelatedInstances=count))
    here.wait(seconds=31)
    assert here.case().completeness.evidence == "quiet_timer"


def test_complete_stays_complete_until_another_image_comes(here: Hospital) -> None:
    """A later order update without a status takes no evidence back, and no task is issued twice."""
    here.hear(ordered("CM"), image("1", accession="A1"))
    here.wait(seconds=2)
    decided = here.case().completeness.decided_at
    here.hear(order("later", 5, control="XO", filler="F1", accession="A1"))
    here.wait(seconds=10)
    assert here.disposition() == "tasked"
    assert here.case().completeness.decided_at == decided
    assert len(here.tasks) == 1
    here.hear(image("2", accession="A1", second=15))
    here.wait(seconds=2)
    assert here.disposition() == "waiting"


def test_the_first_evidence_stays_on_record(here: Hospital) -> None:
    here.hear(ordered(), image("1", accession="A1"))
    here.wait(seconds=31)
    here.hear(order("done", 1, control="SC", status="CM", filler="F1"))
    here.wait(minutes=1)
    assert here.case().completeness.evidence == "quiet_timer"
    assert here.case().completeness.decided_at.ToDatetime(NOON.tzinfo) == NOON + timedelta(seconds=30)


def test_a_settle_time_of_nothing_completes_at_once(store: SqlStore) -> None:
    site = Site.model_validate({"site": "site", "completeness": {"settle_seconds": 0}})
    with hospital(store, site) as here:
        here.hear(ordered("CM"), image("1", accession="A1"))
        here.wait(seconds=0.2)
        assert here.disposition() == "tasked"


def test_the_last_announced_image_is_not_gathered_but_decided_at_once(store: SqlStore) -> None:
    site = Site.model_validate({"site": "site", "completeness": {"settle_seconds": 0}})
    with hospital(store, site) as here:
        here.hear(ordered(), image("1", accession="A1", expected=2))
        here.wait(seconds=1)
        here.hear(image("2", accession="A1", expected=2, second=1))
        here.decide()
        assert here.disposition() == "tasked"


def test_the_larger_a_study_is_the_longer_its_images_are_gathered(here: Hospital) -> None:
    """Each look reads them all: 2,000 images that come over a minute cost some thirty looks and not four hundred."""
    here.hear(ordered())
    here.decide()
    for number in range(2000):
        here.hear(image(f"1.{number}", accession="A1", expected=2001, second=number * 0.03))
        here.wait(seconds=0.03)
    looks = len(here.states)
    assert 20 < looks < 60
    here.hear(image("1.last", accession="A1", expected=2001, second=60))
    here.wait(seconds=2)
    assert here.disposition() == "tasked"
