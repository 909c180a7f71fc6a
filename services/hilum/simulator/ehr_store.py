"""The resources of a FHIR R4 server in memory: versions, searches, and transactions that hold whole or not at all."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from hilum.simulator.receipts import Outcome, Receipts

Json = dict[str, Any]


class Refused(Exception):
    """An exchange that ends in an OperationOutcome; ``code`` is of the value set issue-type (R4 2.36)."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(status, code, text)
        self.status = status
        self.code = code
        self.text = text


@dataclass(frozen=True)
class Stored:
    """What a write did: status 201 created, 200 otherwise."""

    status: int
    resource: Json

    @property
    def reference(self) -> str:
        return f"{self.resource['resourceType']}/{self.resource['id']}"

    @property
    def version(self) -> str:
        version: str = self.resource["meta"]["versionId"]
        return version

    @property
    def location(self) -> str:
        return f"{self.reference}/_history/{self.version}"


@dataclass
class ResourceStore:
    """Resources by type and id, every version kept. Nothing awaits inside: a call is atomic on one event loop."""

    receipts: Receipts
    _versions: dict[str, dict[str, list[Json]]] = field(default_factory=dict)
    _last_id: int = 0

    def read(self, kind: str, logical_id: str, version: str = "") -> Json:
        versions = self._versions.get(kind, {}).get(logical_id, [])
        for resource in reversed(versions):
            if version in ("", resource["meta"]["versionId"]):
                return resource
        raise Refused(404, "not-found", f"no such {kind}")

    def search(self, kind: str, parameters: list[tuple[str, str]]) -> list[Json]:
        """The current versions that match every parameter: ``_id``, ``_tag``, ``identifier``, references by name."""
        current = [versions[-1] for versions in self._versions.get(kind, {}).values()]
        for name, wanted in parameters:
            current = [resource for resource in current if _matches(resource, name, wanted)]
        return current

    def transaction(self, bundle: Json, request_id: str) -> list[Stored]:
        """R4 3.1.0.11: all entries or none; one `Stored` an entry, in the order sent."""
        entries = bundle.get("entry", [])
        before = {kind: {i: list(versions) for i, versions in held.items()} for kind, held in self._versions.items()}
        last_id = self._last_id
        try:
            return self._transact(entries, request_id)
        except Refused:
            self._versions, self._last_id = before, last_id
            raise

    def seed(self, resource: Json) -> Stored:
        """Put what the hospital itself had before: no receipt."""
        _check(resource["resourceType"], resource)
        return self._put(resource, _Target(self._new_id(), exists=False, keep=False))

    def write(self, request: Json, resource: Json, request_id: str = "") -> Stored:
        """One create or update outside a transaction; ``request`` is as in a bundle's entry."""
        return self.transaction({"entry": [{"resource": resource, "request": request}]}, request_id)[0]

    def _transact(self, entries: list[Json], request_id: str) -> list[Stored]:
        targets = [self._target(entry) for entry in entries]
        places = {
            entry["fullUrl"]: f"{entry['resource']['resourceType']}/{target.logical_id}"
            for entry, target in zip(entries, targets, strict=True)
            if "fullUrl" in entry
        }
        stored = []
        for entry, target in zip(entries, targets, strict=True):
            resource = self._resolved(deepcopy(entry["resource"]), places)
            stored.append(self._put(resource, target))
        for one, target in zip(stored, targets, strict=True):
            self._receive(one, target, request_id)
        return stored

    def _target(self, entry: Json) -> "_Target":
        request, resource = entry.get("request", {}), entry.get("resource", {})
        kind = str(resource.get("resourceType", ""))
        _check(kind, resource)
        method, _, query = str(request.get("method", "")), *str(request.get("url", "")).partition("?")[1:]
        path = str(request.get("url", "")).partition("?")[0].strip("/").split("/")
        condition = str(request.get("ifNoneExist", "")) if method == "POST" else query
        if method not in ("POST", "PUT") or path[0] != kind or (method == "PUT" and not query and len(path) != 2):
            raise Refused(400, "invalid", f"{method} {path[0]} is not served here")
        if not condition:
            exists = method == "PUT" and path[1] in self._versions.get(kind, {})
            logical_id = path[1] if method == "PUT" else self._new_id()
            return _Target(logical_id, exists, keep=False, if_match=str(request.get("ifMatch", "")))
        found = self.search(kind, parse_qsl(condition.replace("+", "%2B"), keep_blank_values=True))
        if len(found) > 1:
            raise Refused(412, "multiple-matches", f"{len(found)} {kind} match the condition")
        if not found:
            return _Target(self._new_id(), exists=False, keep=False)
        return _Target(found[0]["id"], exists=True, keep=method == "POST", if_match=str(request.get("ifMatch", "")))

    def _put(self, resource: Json, target: "_Target") -> Stored:
        kind = resource["resourceType"]
        versions = self._versions.setdefault(kind, {}).setdefault(target.logical_id, [])
        if target.if_match and versions and target.if_match != f'W/"{versions[-1]["meta"]["versionId"]}"':
            raise Refused(409, "conflict", "the resource has a newer version")  # as HAPI answers; R4 says 412
        if target.keep:
            return Stored(200, versions[-1])
        if versions and _content(versions[-1]) == _content({**resource, "id": target.logical_id}):
            return Stored(200, versions[-1])
        meta = {**resource.get("meta", {}), "versionId": str(len(versions) + 1), "lastUpdated": _now()}
        versions.append({**resource, "id": target.logical_id, "meta": meta})
        return Stored(200 if target.exists else 201, versions[-1])

    def _receive(self, stored: Stored, target: "_Target", request_id: str) -> None:
        """Note the effect under the resource's own identity; a second resource of one identity is a conflict."""
        kind, facts = stored.resource["resourceType"], {"location": stored.location, "request_id": request_id}
        identity = next(_identities(stored.resource), stored.reference)
        twins = [other for other in self.search(kind, []) if identity in _identities(other)]
        forced: Outcome | None = "found" if target.keep else None
        if len(twins) > 1 and not target.exists:
            forced = "conflict"
        content = _content(stored.resource)
        self.receipts.record("resource", f"{kind}?{identity}", content, facts, may_change=True, outcome=forced)

    def _resolved(self, node: Any, places: Mapping[str, str]) -> Any:
        if isinstance(node, list):
            return [self._resolved(item, places) for item in node]
        if not isinstance(node, dict):
            return node
        node = {name: self._resolved(value, places) for name, value in node.items()}
        reference = node.get("reference")
        if isinstance(reference, str):
            node["reference"] = self._place(reference, places)
        return node

    def _place(self, reference: str, places: Mapping[str, str]) -> str:
        if reference in places:
            return places[reference]
        kind, condition, query = reference.partition("?")
        if condition:
            found = self.search(kind, parse_qsl(query.replace("+", "%2B")))
            if len(found) != 1:
                raise Refused(412 if found else 404, "not-found", f"{len(found)} {kind} match a conditional reference")
            return f"{kind}/{found[0]['id']}"
        if reference.startswith("urn:uuid:"):
            raise Refused(400, "invalid", "a reference names no entry of the bundle")
        return reference

    def _new_id(self) -> str:
        self._last_id += 1
        return str(self._last_id)


@dataclass(frozen=True)
class _Target:
    logical_id: str
    exists: bool
    keep: bool  # a conditional create that found its match: nothing is written
    if_match: str = ""


def _check(kind: str, resource: Json) -> None:
    try:
        get_fhir_model_class(kind).model_validate(resource)
    except KeyError as error:
        raise Refused(400, "invalid", "no resource of R4") from error
    except ValidationError as error:
        places = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors()[:5])
        raise Refused(422, "structure", f"{kind}: {places}") from error


def _matches(resource: Json, name: str, wanted: str) -> bool:
    if name == "_id":
        return bool(resource["id"] == wanted)
    if name == "_tag":
        return _has_token(resource.get("meta", {}).get("tag", []), "code", wanted)
    if name == "identifier":
        return _has_token(resource.get("identifier", []), "value", wanted)
    element = "".join(part.capitalize() if at else part for at, part in enumerate(name.split("-")))
    if element == "patient":
        element = "subject"
    targets = resource.get(element, [])
    if name.startswith("_") or (element not in resource and element not in ("subject", "target", "result", "basedOn")):
        raise Refused(400, "not-supported", "a search parameter that is not served here")
    return any(target.get("reference") == wanted for target in (targets if isinstance(targets, list) else [targets]))


def _has_token(items: Any, member: str, wanted: str) -> bool:
    """A token search: ``system|value``, ``|value`` without a system, ``value`` of any system (R4 3.1.1.4.10)."""
    system, bar, value = _unescaped(wanted)
    for item in items if isinstance(items, list) else [items]:
        if item.get(member) == value and (not bar or item.get("system", "") == system):
            return True
    return False


def _unescaped(wanted: str) -> tuple[str, str, str]:
    placeholder = "\0"
    system, bar, value = unquote(wanted).replace("\\|", placeholder).partition("|")
    if not bar:
        system, value = "", system
    parts = [text.replace(placeholder, "|").replace("\\$", "$").replace("\\,", ",") for text in (system, value)]
    return parts[0].replace("\\\\", "\\"), bar, parts[1].replace("\\\\", "\\")


def _identities(resource: Json) -> Iterator[str]:
    """``system|value`` of each business identifier, or of the tag where a resource has none (Provenance)."""
    items = resource.get("identifier", [])
    for item in items if isinstance(items, list) else [items]:
        yield f"{item.get('system', '')}|{item.get('value', '')}"
    if not items:
        for tag in resource.get("meta", {}).get("tag", []):
            yield f"{tag.get('system', '')}|{tag.get('code', '')}"


def _content(resource: Json) -> bytes:
    """What a resource says, apart from what the server added."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    return json.dumps({**resource, "meta": meta}, sort_keys=True).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat()
