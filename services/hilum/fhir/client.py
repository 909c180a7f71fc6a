"""A FHIR R4 client of few exchanges: capabilities, transaction, search, read (R4 3.1.0 RESTful API).

Failures become `hilum.errors`; whether and when to try again is the caller's decision. Texts hold status, issue
codes and paths of the protocol only: an OperationOutcome's diagnostics may quote a patient and are left out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from hilum.clock import Clock
from hilum.errors import Fault, HilumError, Overloaded, Rejected, Unavailable

MEDIA_TYPE = "application/fhir+json"
_LARGEST = 16 * 1024 * 1024
_MOST_PAGES = 20

Json = dict[str, Any]


class Busy(Overloaded):
    """The server asks for time (408, 429, 503); ``retry_after`` is its wish in seconds, or None."""

    def __init__(self, code: str, text: str, retry_after: float | None) -> None:
        super().__init__(code, text)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Written:
    """What a transaction did with one entry: the status, and where the resource is now."""

    status: int
    resource_type: str
    id: str
    version: str


@dataclass(frozen=True)
class Capabilities:
    """What of a CapabilityStatement a writer has to know, by resource type."""

    fhir_version: str
    transaction: bool
    conditional_create: frozenset[str]
    conditional_update: frozenset[str]


class FhirClient:
    """One FHIR base URL. ``http`` carries authentication, TLS and timeouts; it is the caller's to close."""

    def __init__(self, base_url: str, http: httpx.AsyncClient, clock: Clock) -> None:
        self._base = base_url.rstrip("/")
        self._http = http
        self._clock = clock

    async def capabilities(self) -> Capabilities:
        """GET [base]/metadata. Raises Unavailable, Overloaded, Rejected or Fault."""
        statement = await self._exchange("GET", "/metadata")
        rests = [rest for rest in statement.get("rest", []) if rest.get("mode") == "server"]
        resources = [resource for rest in rests for resource in rest.get("resource", [])]
        return Capabilities(
            fhir_version=str(statement.get("fhirVersion", "")),
            transaction=any(i.get("code") == "transaction" for rest in rests for i in rest.get("interaction", [])),
            conditional_create=frozenset(r["type"] for r in resources if r.get("conditionalCreate")),
            conditional_update=frozenset(r["type"] for r in resources if r.get("conditionalUpdate")),
        )

    async def transaction(self, bundle: bytes, request_id: str) -> tuple[Written, ...]:
        """POST [base] (R4 3.1.0.11): all or nothing; one `Written` an entry, in the order sent."""
        headers = {"X-Request-Id": request_id, "Prefer": "return=minimal"}
        answer = await self._exchange("POST", "", content=bundle, headers=headers)
        entries = answer.get("entry", [])
        sent = len(json.loads(bundle)["entry"])
        if answer.get("type") != "transaction-response" or len(entries) != sent:
            raise Fault("fhir_bad_response", f"{sent} entries were sent, {len(entries)} answered")
        return tuple(_written(entry.get("response", {})) for entry in entries)

    async def search(self, resource_type: str, parameters: Mapping[str, str], limit: int = 100) -> list[Json]:
        """GET [base]/type?parameters, following next links, at most ``limit`` matches."""
        found: list[Json] = []
        bundle = await self._exchange("GET", f"/{resource_type}", parameters=parameters)
        for _ in range(_MOST_PAGES):
            found.extend(_matches(bundle))
            following = next((link["url"] for link in bundle.get("link", []) if link.get("relation") == "next"), None)
            if following is None or len(found) >= limit:
                break
            bundle = await self._exchange("GET", self._same_origin(following))
        return found[:limit]

    async def read(self, resource_type: str, logical_id: str) -> Json:
        """GET [base]/type/id; Rejected with ``fhir_not_found`` where there is none."""
        return await self._exchange("GET", f"/{resource_type}/{logical_id}")

    def _same_origin(self, url: str) -> str:
        """A next link may not lead to another host: it would carry our credentials there."""
        if not url.startswith("http"):
            return "/" + url.lstrip("/")
        if urlsplit(url)[:2] != urlsplit(self._base)[:2]:
            raise Fault("fhir_bad_response", "a next link leads to another origin")
        return url

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        url = path if path.startswith("http") else self._base + path
        sent = {"Accept": MEDIA_TYPE, **(headers or {})}
        if content is not None:
            sent["Content-Type"] = MEDIA_TYPE
        try:
            async with self._http.stream(method, url, content=content, params=parameters, headers=sent) as response:
                body = await _bounded(response)
        except httpx.TimeoutException as error:
            raise Unavailable("fhir_timeout", f"no answer in time ({type(error).__name__})") from None
        except httpx.HTTPError as error:
            raise Unavailable("fhir_unreachable", type(error).__name__) from None
        answer = _parsed(body)
        if not response.is_success:
            raise _failure(response, answer, self._clock)
        if answer is None:
            raise Fault("fhir_bad_response", "the body is not a JSON object")
        return answer


def _matches(bundle: Json) -> list[Json]:
    """The matches of a searchset; what was included and outcomes are left aside (R4 3.1.1.1.2)."""
    entries = bundle.get("entry", [])
    return [e["resource"] for e in entries if e.get("search", {}).get("mode", "match") == "match" and "resource" in e]


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _LARGEST:
            raise Fault("fhir_bad_response", f"the answer is larger than {_LARGEST} bytes")
    return bytes(body)


def _parsed(body: bytes) -> Json | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _failure(response: httpx.Response, outcome: Json | None, clock: Clock) -> HilumError:
    """The remedy that a status calls for (R4 3.1.0.1.9): only 408, 429 and 5xx are worth sending again."""
    status = response.status_code
    text = f"HTTP {status}{_issues(outcome)}"
    if status in (408, 429, 503):
        return Busy("fhir_busy", text, _retry_after(response, clock))
    if status >= 500:
        return Unavailable("fhir_server_error", text)
    if status == 409:
        return Unavailable("fhir_conflict", text)
    if status in (401, 403):
        return Fault("fhir_not_authorised", text)
    codes = {404: "fhir_not_found", 412: "fhir_ambiguous", 422: "fhir_unprocessable"}
    return Rejected(codes.get(status, "fhir_refused"), text)


def _issues(outcome: Json | None) -> str:
    if outcome is None or outcome.get("resourceType") != "OperationOutcome":
        return ""
    codes = [f"{issue.get('severity', '?')}:{issue.get('code', '?')}" for issue in outcome.get("issue", [])[:5]]
    return " " + ", ".join(codes) if codes else ""


def _retry_after(response: httpx.Response, clock: Clock) -> float | None:
    """RFC 9110, 10.2.3: seconds, or an HTTP date."""
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - clock.now()).total_seconds())
    except (TypeError, ValueError):
        return None


def _written(response: Json) -> Written:
    status = str(response.get("status", ""))[:3]
    parts = urlsplit(str(response.get("location", ""))).path.strip("/").split("/")
    version = str(response.get("etag", "")).removeprefix("W/").strip('"')
    if "_history" in parts:
        at = parts.index("_history")
        version = version or parts[at + 1] if at + 1 < len(parts) else version
        parts = parts[:at]
    resource_type, logical_id = (parts[-2], parts[-1]) if len(parts) >= 2 else ("", "")
    return Written(int(status) if status.isdigit() else 0, resource_type, logical_id, version)
