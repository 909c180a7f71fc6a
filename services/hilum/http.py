"""The HTTP port of a process: /livez, /readyz and /metrics, for orchestrators and Prometheus."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hilum.errors import Unavailable
from hilum.hosting import Readiness


def application(readiness: Readiness) -> Starlette:
    """livez: the event loop turns. readyz: 200 once every service is ready, else 503 that tells why."""

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_request: Request) -> Response:
        waiting, troubles = readiness.waiting, readiness.troubles
        ready = not waiting and not troubles
        return JSONResponse({"ready": ready, "waiting": waiting, "troubles": troubles}, 200 if ready else 503)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the host's business: it drains every service, this server among them."""
        yield


class HttpService:
    """`hilum.hosting.Service`; ``port`` is the bound one after ready."""

    name = "http"

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._address = (host, port)
        self._server = _Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        self.port = port

    async def serve(self, ready: Callable[[], None]) -> None:
        """Raises Unavailable ``port_taken``."""
        try:
            listening = socket.create_server(self._address, backlog=128)
        except OSError as error:
            raise Unavailable("port_taken", f"the HTTP port {self._address[1]} cannot be bound") from error
        self.port = listening.getsockname()[1]
        # By itself the server would end the whole process when it cannot bind.
        task = asyncio.create_task(self._server.serve(sockets=[listening]))
        try:
            while not self._server.started and not task.done():  # noqa: ASYNC110 - the server has a flag, no event
                await asyncio.sleep(0.02)
            ready()
            await asyncio.shield(task)
        finally:
            self._server.should_exit = True
            await task
            listening.close()
