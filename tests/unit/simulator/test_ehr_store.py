"""The simulated EHR's resources: transactions hold whole or not at all, conditions find what they name."""

from typing import Any

import pytest

from hilum.simulator.ehr_store import Refused, ResourceStore
from hilum.simulator.receipts import Receipts

SYSTEM = "urn:test"


@pytest.fixture
def store() -> ResourceStore:
    return ResourceStore(Receipts("ehr"))


def patient(value: str = "P1", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": value}], **more}


def observation(reference: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "identifier": [{"system": SYSTEM, "value": "O1"}],
        "status": "preliminary",
        "code": {"text": "finding"},
        "subject": {"reference": reference},
    }


def create(resource: dict[str, Any], condition: str = "") -> dict[str, Any]:
    request = {"method": "POST", "url": resource["resourceType"], "ifNoneExist": condition}
    return {"resource": resource, "request": request, "fullUrl": "urn:uuid:" + resource["identifier"][0]["value"]}


def put(resource: dict[str, Any], **request: str) -> dict[str, Any]:
    value = resource["identifier"][0]["value"]
    where = f"{resource['resourceType']}?identifier={SYSTEM}|{value}"
    return {"resource": resource, "request": {"method": "PUT", "url": where, **request}}


def test_references_inside_a_bundle_lead_to_what_was_stored(store: ResourceStore) -> None:
    made, found = store.transaction({"entry": [create(patient()), create(observation("urn:uuid:P1"))]}, "R1")
    assert found.resource["subject"]["reference"] == made.reference
    assert (made.status, found.status) == (201, 201)


def test_a_conditional_create_keeps_what_is_there(store: ResourceStore) -> None:
    condition = f"identifier={SYSTEM}|P1"
    first = store.transaction({"entry": [create(patient(gender="female"), condition)]}, "R1")[0]
    second = store.transaction({"entry": [create(patient(gender="male"), condition)]}, "R2")[0]
    assert second.location == first.location
    assert second.status == 200
    assert second.resource["gender"] == "female"
    assert [receipt.outcome for receipt in store.receipts] == ["effect", "found"]


def test_a_conditional_update_makes_a_version_only_when_something_changed(store: ResourceStore) -> None:
    results = [store.transaction({"entry": [put(patient(gender=gender))]}, "R") for gender in ("male", "male", "other")]
    assert [result[0].version for result in results] == ["1", "1", "2"]
    assert [receipt.outcome for receipt in store.receipts] == ["effect", "repeat", "update"]


def test_more_than_one_match_is_412(store: ResourceStore) -> None:
    store.transaction({"entry": [create(patient()), create(patient())]}, "R")
    with pytest.raises(Refused) as refused:
        store.transaction({"entry": [put(patient())]}, "R")
    assert refused.value.status == 412


def test_a_second_resource_of_one_identity_is_noted_as_a_conflict(store: ResourceStore) -> None:
    store.transaction({"entry": [create(patient())]}, "R")
    store.transaction({"entry": [create(patient())]}, "R")
    assert [receipt.outcome for receipt in store.receipts] == ["effect", "conflict"]


def test_an_unmatched_conditional_reference_rolls_the_whole_back(store: ResourceStore) -> None:
    wrong = observation(f"Patient?identifier={SYSTEM}|unknown")
    with pytest.raises(Refused) as refused:
        store.transaction({"entry": [create(patient()), create(wrong)]}, "R")
    assert refused.value.status == 404
    assert store.search("Patient", []) == []
    assert list(store.receipts) == []


def test_a_resource_that_is_none_is_422(store: ResourceStore) -> None:
    with pytest.raises(Refused) as refused:
        store.transaction({"entry": [create({**observation("Patient/1"), "status": ["x"]})]}, "R")
    assert refused.value.status == 422


def test_a_stale_version_is_refused(store: ResourceStore) -> None:
    store.transaction({"entry": [put(patient())]}, "R")
    store.transaction({"entry": [put(patient(gender="male"), ifMatch='W/"1"')]}, "R")
    with pytest.raises(Refused) as refused:
        store.transaction({"entry": [put(patient(gender="other"), ifMatch='W/"1"')]}, "R")
    assert refused.value.status == 409


@pytest.mark.parametrize("wanted", [f"{SYSTEM}|P\\|1", "P\\|1", f"{SYSTEM}%7CP%5C%7C1"])
def test_a_token_search_knows_the_escapes(store: ResourceStore, wanted: str) -> None:
    store.transaction({"entry": [create(patient("P|1"))]}, "R")
    assert len(store.search("Patient", [("identifier", wanted)])) == 1


def test_a_parameter_that_is_not_served_is_an_error(store: ResourceStore) -> None:
    store.transaction({"entry": [create(patient())]}, "R")
    with pytest.raises(Refused):
        store.search("Patient", [("imaging-study", "x")])
