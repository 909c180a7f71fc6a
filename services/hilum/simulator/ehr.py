"""An electronic health record: a FHIR R4 endpoint over HTTP (R4 3.1.0)."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hilum.simulator.ehr_store import Refused, ResourceStore, Stored
from hilum.simulator.orders import Order
from hilum.simulator.receipts import Receipts
from hilum.simulator.script import Act, Script, Step

Json = dict[str, Any]
_LARGEST = 16 * 1024 * 1024
_MEDIA_TYPE = "application/fhir+json"
_WRITTEN = ("Patient", "ImagingStudy", "Observation", "DiagnosticReport", "Device", "Provenance", "ServiceRequest")


class Ehr:
    """Listens on loopback; ``url`` is known after `start`. ``script`` applies to what would write."""

    def __init__(
        self,
        *,
        receipts: Path | None = None,
        script: Script | None = None,
        kept: Path | None = None,
        patient_system: str = "urn:hilum:patient",
    ) -> None:
        """``kept`` is a folder for each transaction bundle as it came."""
        self.receipts = Receipts("ehr", receipts)
        self.resources = ResourceStore(self.receipts)
        self.script = script or Script()
        self._kept = kept
        self._patient_system = patient_system
        self._server: _Server | None = None
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        assert self._socket is not None
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/fhir"

    def add_patient(self, order: Order) -> None:
        """Register the patient of ``order``, as an admission did."""
        family, _, given = order.patient_name.partition("^")
        patient = {
            "resourceType": "Patient",
            "identifier": [{"system": self._patient_system, "value": order.patient_id}],
            "name": [{"family": family, "given": [given]}],
            "gender": {"F": "female", "M": "male"}.get(order.sex, "unknown"),
            "birthDate": order.birth_date.isoformat(),
        }
        if not self.resources.search("Patient", [("identifier", f"{self._patient_system}|{order.patient_id}")]):
            self.resources.seed(patient)

    async def start(self, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen()  # from now on a caller waits for the server instead of being turned away
        application = Starlette(
            routes=[
                Route("/fhir", self._transaction, methods=["POST"]),
                Route("/fhir/metadata", _metadata),
                Route("/fhir/{kind}", self._search, methods=["GET"]),
                Route("/fhir/{kind}", self._write, methods=["POST", "PUT"]),
                Route("/fhir/{kind}/{id}", self._read, methods=["GET"]),
                Route("/fhir/{kind}/{id}", self._write, methods=["PUT"]),
                Route("/fhir/{kind}/{id}/_history/{version}", self._read, methods=["GET"]),
            ],
            exception_handlers={Refused: _refusal},
        )
        configuration = uvicorn.Config(application, log_level="error", lifespan="off", timeout_graceful_shutdown=2)
        self._server = _Server(configuration)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="simulated EHR")

    async def stop(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
        if self._socket is not None:
            self._socket.close()

    async def _transaction(self, request: Request) -> Response:
        content, bundle = await _read_json(request)
        if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "transaction":
            raise Refused(400, "invalid", "only transactions are served here")
        step = await self._scripted()
        if step.act is Act.DROP_BEFORE:
            return _Dropped()
        request_id = request.headers.get("X-Request-Id", "")
        stored = self.resources.transaction(bundle, request_id)
        if self._kept is not None:
            name = request_id or f"bundle-{stored[0].location if stored else 'empty'}"
            (self._kept / f"{name.replace('/', '_')}.json").write_bytes(content)
        entries = [
            {"response": {"status": _line(one.status), "location": one.location, "etag": f'W/"{one.version}"'}}
            for one in stored
        ]
        answer = _fhir({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})
        return await _answered(step, answer)

    async def _write(self, request: Request) -> Response:
        _, resource = await _read_json(request)
        step = await self._scripted()
        if step.act is Act.DROP_BEFORE:
            return _Dropped()
        path = "/".join(str(part) for part in request.path_params.values())
        asked = {
            "method": request.method,
            "url": f"{path}?{request.url.query}" if request.url.query else path,
            "ifNoneExist": request.headers.get("If-None-Exist", ""),
            "ifMatch": request.headers.get("If-Match", ""),
        }
        stored = self.resources.write(asked, resource, request.headers.get("X-Request-Id", ""))
        return await _answered(step, _of(stored, request, stored.status))

    async def _search(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        paging = ("_count", "_sort", "_summary", "_elements", "_format")
        parameters = [(name, value) for name, value in request.query_params.multi_items() if name not in paging]
        found = self.resources.search(kind, parameters)
        entries = [{"resource": resource, "search": {"mode": "match"}} for resource in found]
        bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(found)}
        return _fhir({**bundle, "entry": entries} if entries else bundle)

    async def _read(self, request: Request) -> Response:
        asked = request.path_params
        return _of(Stored(200, self.resources.read(asked["kind"], asked["id"], asked.get("version", ""))), request, 200)

    async def _scripted(self) -> Step:
        step = self.script.next()
        await asyncio.sleep(step.delay_seconds)
        if step.act is Act.REFUSE:
            raise Refused(int(step.code or "503"), "transient", "refused by script")
        return step


class _Server(uvicorn.Server):
    """Leaves signals to the process that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Dropped(Response):
    """Closes the connection without an answer: the body falls short of its announced length."""

    def __init__(self) -> None:
        super().__init__(b"", headers={"Content-Length": "1", "Connection": "close"})


async def _answered(step: Step, answer: Response) -> Response:
    if step.act is Act.SILENT:
        await asyncio.Event().wait()
    return _Dropped() if step.act is Act.DROP_AFTER else answer


async def _read_json(request: Request) -> tuple[bytes, Json]:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > _LARGEST:
            raise Refused(413, "too-long", f"more than {_LARGEST} bytes")
    try:
        document = json.loads(content)
    except ValueError as error:
        raise Refused(400, "structure", "the body is no JSON") from error
    if not isinstance(document, dict):
        raise Refused(400, "structure", "the body is no resource")
    return bytes(content), document


def _of(stored: Stored, request: Request, status: int) -> Response:
    location = f"{request.base_url}fhir/{stored.location}"
    return _fhir(stored.resource, status, {"ETag": f'W/"{stored.version}"', "Location": location})


def _fhir(document: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(document, status, headers=headers, media_type=_MEDIA_TYPE)


async def _refusal(_: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    issue = {"severity": "error", "code": refused.code, "diagnostics": refused.text}
    return _fhir({"resourceType": "OperationOutcome", "issue": [issue]}, refused.status)


async def _metadata(_: Request) -> Response:
    resource = {
        "interaction": [{"code": code} for code in ("read", "vread", "create", "update", "search-type")],
        "versioning": "versioned-update",
        "conditionalCreate": True,
        "conditionalUpdate": True,
    }
    return _fhir(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-01-01",
            "kind": "instance",
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "implementation": {"description": "Simulated EHR"},
            "rest": [
                {
                    "mode": "server",
                    "resource": [{"type": kind, **resource} for kind in _WRITTEN],
                    "interaction": [{"code": "transaction"}],
                }
            ],
        }
    )


def _line(status: int) -> str:
    return "201 Created" if status == 201 else "200 OK"
