"""Permuting arrivals ends in the same case state (a property of the real book on the real store)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from hilum.store.sql import SqlStore, open_sqlite
from hilum.workflow.adapters.tables import METADATA
from scenes.workflow import Hospital, Said, adt, hospital, image, order, patient, report

# Few values, so that messages meet: the same numbers with and without authority, studies shared and not.
PERSONS = st.sampled_from(["", "A", "A^H", "B^H", "C^H", "D"])
PLACERS = st.sampled_from(["", "P1", "P2", "P1^X"])
FILLERS = st.sampled_from(["", "F1", "F2", "F1^X"])
ACCESSIONS = st.sampled_from(["", "A1", "A2", "A1^X", "A1^Y"])
STUDIES = st.sampled_from(["1.1", "1.2"])
MINUTES = st.integers(0, 3)


@st.composite
def orders(draw: st.DrawFn) -> dict[str, Any]:
    person = draw(PERSONS)
    return {
        "make": order,
        "minute": draw(MINUTES),
        "control": draw(st.sampled_from(["NW", "NW", "XO", "SC", "CA"])),
        "status": draw(st.sampled_from(["", "", "CM"])),
        "placer": draw(PLACERS),
        "filler": draw(FILLERS),
        "accession": draw(ACCESSIONS),
        "study": draw(st.sampled_from(["", "", "1.1", "1.2"])),
        "person": patient(person) if person else None,
        "modality": draw(st.sampled_from(["", "DX", "CT"])),
        "priority": draw(st.sampled_from(["", "S", "R"])),
        "control_id": draw(st.sampled_from(["9", "10", "X"])),
    }


@st.composite
def images(draw: st.DrawFn) -> dict[str, Any]:
    person, study = draw(PERSONS), draw(STUDIES)
    return {
        "make": image,
        "sop": f"{study}.1.{draw(st.integers(1, 3))}",
        "study": study,
        "accession": draw(ACCESSIONS),
        "person": patient(person) if person else None,
        "second": draw(st.integers(0, 5)),
        "expected": draw(st.sampled_from([0, 0, 2])),
        "reason": draw(st.sampled_from(["", "", "", "quarantined"])),
        "date": draw(st.sampled_from(["20260714", ""])),
        "Modality": draw(st.sampled_from(["DX", "DX", "SR"])),
    }


@st.composite
def reports(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "make": report,
        "minute": draw(MINUTES),
        "status": draw(st.sampled_from(["P", "F", "C"])),
        "accession": draw(ACCESSIONS),
        "filler": draw(FILLERS),
        "study": draw(st.sampled_from(["", "1.1", "1.2"])),
    }


@st.composite
def merges(draw: st.DrawFn) -> dict[str, Any]:
    person = draw(PERSONS.filter(bool))
    retired = draw(st.sampled_from([[], ["A^H"], ["B^H"], ["C^H"], ["D"], ["A"]]))
    return {
        "make": adt,
        "minute": draw(MINUTES),
        "trigger": "A40" if retired else "A08",
        "person": patient(person, name=draw(st.sampled_from(["DOE", "ROE"]))),
        "merged": retired,
    }


def _said(told: list[dict[str, Any]]) -> list[Said]:
    """Another data set under a known SOP Instance UID is quarantined, as imaging does it."""
    said: list[Said] = []
    known: dict[str, dict[str, Any]] = {}
    for number, each in enumerate(told):
        values = dict(each)
        make = values.pop("make")
        if make is not image:
            said.append(make(**values, message_id=f"message-{number}"))
            continue
        if known.setdefault(values["sop"], each) != each:
            values |= {"reason": "duplicate_uid", "sha256": str(number).encode()}
        said.append(make(**values))
    return said


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    folder: Path = tmp_path_factory.mktemp("arrivals")
    store = open_sqlite(folder / "workflow.db", METADATA)
    yield store
    store.close()


def outcome(here: Hospital) -> list[dict[str, Any]]:
    """Every live case, but for what may depend on history: its own identity, versions, times, evidence, revisions."""
    found = []
    for state in here.cases.values():
        (algorithm,) = state.algorithms
        if algorithm.disposition == "superseded":
            continue
        found.append(
            {
                "study": state.study_instance_uid,
                "orders": sorted((told.message_id, told.order_control, told.priority) for told in state.orders),
                "patient": state.patient.SerializeToString(deterministic=True),
                "accession": state.accession_number.SerializeToString(),
                "modality": state.modality,
                "images": state.instance_count,
                "conflict": state.conflict,
                "cancelled": state.cancelled,
                "complete": state.completeness.complete,
                "report": state.report_status,
                "study_time": state.study_time.ToMicroseconds() if state.instance_count else None,
                "disposition": algorithm.disposition,
                "inputs": algorithm.content_hash if algorithm.disposition == "tasked" else "",
                "rules": [(rule.rule, rule.outcome, rule.seen) for rule in algorithm.rules],
            }
        )
    return sorted(found, key=lambda case: (case["study"], case["orders"]))


def settled(store: SqlStore, said: list[Said], pauses: list[float]) -> list[dict[str, Any]]:
    with hospital(store) as here:
        for message, pause in zip(said, pauses, strict=True):
            here.hear(message)
            here.wait(seconds=pause)
        here.wait(days=3)
        return outcome(here)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[int], list[float]]:
    """What was said, another order of saying it with repetitions, and how long each was waited for."""
    told = draw(
        st.lists(st.one_of(orders(), orders(), images(), images(), reports(), merges()), min_size=1, max_size=9)
    )
    places = list(range(len(told)))
    repeated = draw(st.lists(st.sampled_from(places), max_size=3))
    another = draw(st.permutations([*places, *repeated]))
    pauses = draw(
        st.lists(st.sampled_from([0.0, 0.2, 40.0, 4000.0, 90_000.0]), min_size=len(another), max_size=len(another))
    )
    return told, another, pauses


@settings(
    max_examples=int(os.environ.get("HILUM_EXAMPLES", "60")),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(stories())
def test_permuted_and_repeated_arrivals_end_in_the_same_case_state(
    shared_store: SqlStore, story: tuple[list[dict[str, Any]], list[int], list[float]]
) -> None:
    told, another, pauses = story
    said = _said(told)
    expected = settled(shared_store, said, [0.0] * len(said))
    note(f"{another} {pauses}")
    assert settled(shared_store, [said[place] for place in another], pauses) == expected
