"""The FHIR client against scripted answers: each status has its remedy."""

import json
from datetime import UTC, datetime

import httpx
import pytest

from hilum.errors import Fault, HilumError, Rejected, Unavailable
from hilum.fhir import systems
from hilum.fhir.client import Busy, Capabilities, FhirClient, Written

BUNDLE = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [{"request": {}}]}).encode()


class StoppedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def client(answer: httpx.Response | Exception, seen: list[httpx.Request] | None = None) -> FhirClient:
    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return FhirClient("http://ehr.test/fhir/", httpx.AsyncClient(transport=httpx.MockTransport(handle)), StoppedClock())


async def test_a_transaction_reports_where_each_resource_is() -> None:
    seen: list[httpx.Request] = []
    response = {"status": "201 Created", "location": "http://ehr.test/fhir/Observation/9/_history/2", "etag": 'W/"2"'}
    answer = {"resourceType": "Bundle", "type": "transaction-response", "entry": [{"response": response}]}
    written = await client(httpx.Response(200, json=answer), seen).transaction(BUNDLE, "request-1")
    assert written == (Written(201, "Observation", "9", "2"),)
    assert seen[0].headers["X-Request-Id"] == "request-1"
    assert seen[0].content == BUNDLE


async def test_an_answer_with_another_number_of_entries_is_not_believed() -> None:
    answer = {"resourceType": "Bundle", "type": "transaction-response", "entry": []}
    with pytest.raises(Fault, match="fhir_bad_response"):
        await client(httpx.Response(200, json=answer)).transaction(BUNDLE, "r")


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, Rejected, "fhir_refused"),
        (401, Fault, "fhir_not_authorised"),
        (404, Rejected, "fhir_not_found"),
        (408, Busy, "fhir_busy"),
        (409, Unavailable, "fhir_conflict"),
        (412, Rejected, "fhir_ambiguous"),
        (422, Rejected, "fhir_unprocessable"),
        (429, Busy, "fhir_busy"),
        (500, Unavailable, "fhir_server_error"),
        (503, Busy, "fhir_busy"),
    ],
)
async def test_a_status_names_its_remedy(status: int, kind: type[HilumError], code: str) -> None:
    with pytest.raises(kind) as caught:
        await client(httpx.Response(status)).read("Patient", "1")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0), ("soon", None), ("", None)]
)
async def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    with pytest.raises(Busy) as caught:
        await client(httpx.Response(429, headers={"Retry-After": header})).read("Patient", "1")
    assert caught.value.retry_after == seconds


async def test_an_outcome_gives_its_codes_and_never_its_diagnostics() -> None:
    issue = {"severity": "error", "code": "invalid", "diagnostics": "Patient Ada Testperson"}
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    with pytest.raises(Rejected) as caught:
        await client(httpx.Response(422, json=outcome)).read("Patient", "1")
    assert "error:invalid" in str(caught.value)
    assert "Ada" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "code"),
    [(httpx.ReadTimeout("x"), "fhir_timeout"), (httpx.ConnectError("x"), "fhir_unreachable")],
)
async def test_silence_is_unavailable(error: Exception, code: str) -> None:
    with pytest.raises(Unavailable, match=code):
        await client(error).read("Patient", "1")


async def test_a_body_that_is_not_json_is_a_fault() -> None:
    with pytest.raises(Fault, match="fhir_bad_response"):
        await client(httpx.Response(200, text="<html>")).read("Patient", "1")


async def test_search_returns_matches_only() -> None:
    entry = [
        {"resource": {"resourceType": "Patient", "id": "1"}, "search": {"mode": "match"}},
        {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
    ]
    answer = {"resourceType": "Bundle", "type": "searchset", "entry": entry}
    found = await client(httpx.Response(200, json=answer)).search("Patient", {"identifier": "a|b"})
    assert [r["id"] for r in found] == ["1"]


async def test_a_next_link_to_another_host_is_not_followed() -> None:
    answer = {"resourceType": "Bundle", "link": [{"relation": "next", "url": "http://elsewhere.test/steal"}]}
    with pytest.raises(Fault, match="origin"):
        await client(httpx.Response(200, json=answer)).search("Patient", {})


async def test_capabilities_name_what_is_conditional() -> None:
    resource = [
        {"type": "Observation", "conditionalCreate": True, "conditionalUpdate": True},
        {"type": "Device", "conditionalCreate": True},
    ]
    rest = [{"mode": "server", "interaction": [{"code": "transaction"}], "resource": resource}]
    answer = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest}
    assert await client(httpx.Response(200, json=answer)).capabilities() == Capabilities(
        "4.0.1", True, frozenset({"Observation", "Device"}), frozenset({"Observation"})
    )


def test_search_values_are_escaped() -> None:
    assert systems.token("urn:x", "a|b,c$d\\e") == "urn:x|a\\|b\\,c\\$d\\\\e"


def test_our_systems_never_change() -> None:
    assert systems.RESULT_IDENTIFIER == "urn:oid:2.25.87706661718020431468118633507685983545"
