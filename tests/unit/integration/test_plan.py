"""From a result to its deliveries, each due, held or suppressed by a coded rule."""

from collections.abc import Mapping

from hilum.integration.domain.case import CaseState
from hilum.integration.domain.plan import Delivery, Destination, Kind, Peer, Release, Standing, Strategy, plan
from hilum.integration.domain.priority import Ratchet
from hilum.integration.domain.result import AlgorithmResult, Output, Use
from scenes.results import NOW, make_absent, make_algorithm, make_case, make_finding, make_result

SITE = (Destination("pacs", Peer.PACS), Destination("ehr", Peer.EHR), Destination("ris", Peer.RIS))


def planned(
    result: AlgorithmResult | None = None,
    case: CaseState | None = None,
    destinations: tuple[Destination, ...] = SITE,
    ratchets: Mapping[str, Ratchet] | None = None,
) -> dict[Kind, Delivery]:
    rows = plan(result or make_result(), case or make_case(), destinations, ratchets or {}, NOW)
    return {row.kind: row for row in rows}


def codes(rows: Mapping[Kind, Delivery]) -> dict[Kind, str | None]:
    return {kind: row.rule.code if row.rule else None for kind, row in rows.items()}


def test_a_positive_goes_everywhere_and_the_priority_first() -> None:
    rows = plan(make_result(), make_case(), SITE, {}, NOW)
    assert [row.kind for row in rows] == [
        Kind.PRIORITY,
        Kind.DIAGNOSTIC_REPORT,
        Kind.STRUCTURED_REPORT,
        Kind.SECONDARY_CAPTURE,
    ]
    assert {row.standing for row in rows} == {Standing.DUE}


def test_a_final_report_suppresses_the_priority_never_the_finding() -> None:
    rows = planned(case=make_case(report_status="F"))
    assert codes(rows)[Kind.PRIORITY] == "report_final"
    assert rows[Kind.DIAGNOSTIC_REPORT].standing is Standing.DUE
    assert rows[Kind.STRUCTURED_REPORT].standing is Standing.DUE


def test_a_negative_is_stated_but_neither_raised_nor_drawn() -> None:
    rows = planned(make_result(make_absent()))
    assert codes(rows) == {
        Kind.PRIORITY: "nothing_to_raise",
        Kind.DIAGNOSTIC_REPORT: None,
        Kind.STRUCTURED_REPORT: None,
        Kind.SECONDARY_CAPTURE: "no_image_marked",
    }


def test_triage_only_raises() -> None:
    rows = planned(make_result(algorithm=make_algorithm(Use.TRIAGE)))
    assert codes(rows) == {
        Kind.PRIORITY: None,
        Kind.DIAGNOSTIC_REPORT: "use_forbids_finding",
        Kind.STRUCTURED_REPORT: "use_forbids_finding",
        Kind.SECONDARY_CAPTURE: "use_forbids_finding",
    }


def test_a_negative_is_not_stated_where_absent_is_not_declared() -> None:
    algorithm = make_algorithm(outputs=frozenset(Output) - {Output.ABSENT})
    assert codes(planned(make_result(make_absent(), algorithm=algorithm)))[Kind.DIAGNOSTIC_REPORT] == "nothing_to_state"


def test_nothing_is_drawn_without_leave_for_marks() -> None:
    algorithm = make_algorithm(outputs=frozenset(Output) - {Output.LOCALISATION})
    rows = planned(make_result(algorithm=algorithm))
    assert codes(rows)[Kind.SECONDARY_CAPTURE] == "use_forbids_localisation"
    assert rows[Kind.STRUCTURED_REPORT].standing is Standing.DUE


def test_no_priority_without_leave_for_it() -> None:
    algorithm = make_algorithm(outputs=frozenset(Output) - {Output.PRIORITY})
    assert codes(planned(make_result(algorithm=algorithm)))[Kind.PRIORITY] == "use_forbids_priority"


def test_a_silent_algorithm_sends_nothing() -> None:
    assert set(codes(planned(make_result(silent=True))).values()) == {"algorithm_silent"}


def test_a_conflict_of_identity_holds_everything() -> None:
    rows = planned(case=make_case(conflict="patient"))
    assert {row.standing for row in rows.values()} == {Standing.HELD}
    assert set(codes(rows).values()) == {"identity_conflict"}


def test_a_destination_may_wait_for_acceptance() -> None:
    rows = planned(destinations=(Destination("ehr", Peer.EHR, release=Release.ON_ACCEPTANCE),))
    assert rows[Kind.DIAGNOSTIC_REPORT].standing is Standing.HELD


def test_an_order_message_needs_an_order() -> None:
    destination = Destination("ris", Peer.RIS, Strategy.ORM)
    assert codes(planned(case=make_case(orders=()), destinations=(destination,)))[Kind.PRIORITY] == "no_order"


def test_the_ratchet_is_the_destination_s_own() -> None:
    sent = Ratchet((("S", "other", "1.0.0"),))
    assert codes(planned(ratchets={"ris": sent}))[Kind.PRIORITY] == "already_as_high"
    assert codes(planned(ratchets={"elsewhere": sent}))[Kind.PRIORITY] is None


def test_identities_differ_by_every_part_of_the_key() -> None:
    results = [make_result(), make_result(revision=2), make_result(algorithm=make_algorithm(version="1.0.1"))]
    rows = [row for result in results for row in plan(result, make_case(), SITE, {}, NOW)]
    assert len({row.id for row in rows}) == len(rows)
    assert rows[0].id == plan(make_result(make_finding()), make_case(), SITE, {}, NOW)[0].id
