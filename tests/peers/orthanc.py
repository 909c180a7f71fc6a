"""Orthanc, an archive: in a network namespace of its own, because it listens on every interface it sees."""

import asyncio
import json
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from peers import relay
from peers.child import required, running
from peers.ports import take_free_port

_DICOM, _HTTP = 4242, 8042  # inside its namespace
_SECONDS = 30.0


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc, reached through relays on loopback."""

    ae_title: str
    dicom_port: int
    http_port: int
    log: Path

    def get(self, path: str) -> bytes:
        """The body that the REST interface answers to GET ``path``, as in ``/instances``."""
        with urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10.0) as answer:
            body: bytes = answer.read()
            return body

    def tags(self) -> list[dict[str, str]]:
        """The main DICOM tags of every instance held, simplified by Orthanc to keyword and text."""
        names = json.loads(self.get("/instances"))
        return [json.loads(self.get(f"/instances/{name}/simplified-tags")) for name in names]


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc a session, empty at its start; it takes C-STORE from any AE title."""
    program, unshare = required("Orthanc", "orthanc"), required("unshare", "util-linux")
    folder = tmp_path_factory.mktemp("orthanc")
    configuration = {
        "Name": "TEST",
        "DicomAet": "ORTHANC",
        "DicomPort": _DICOM,
        "HttpPort": _HTTP,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": True,
        "DicomCheckCalledAet": False,
        "UnknownSopClassAccepted": True,
        "OverwriteInstances": False,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    sockets = {_DICOM: folder / "dicom.sock", _HTTP: folder / "http.sock"}
    inside = shlex.join([sys.executable, relay.__file__, *(f"{path}={port}" for port, path in sockets.items())])
    server_command = shlex.join([program, str(folder / "orthanc.json")])
    script = f"ip link set lo up && {{ {inside} & }} && exec {server_command}"
    log = folder / "log"
    with ExitStack() as stack:
        arguments = [unshare, "--map-root-user", "--net", "sh", "-c", script]
        process = stack.enter_context(running(arguments, log, environment={"TCP_NODELAY": "1"}))
        server = Orthanc("ORTHANC", take_free_port(), take_free_port(), log)
        ports = {server.dicom_port: sockets[_DICOM], server.http_port: sockets[_HTTP]}
        stack.enter_context(_relays(ports))
        until = time.monotonic() + _SECONDS
        while process.poll() is None and time.monotonic() < until:
            try:
                server.get("/system")
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError(f"Orthanc did not start:\n{log.read_text()[-2000:]}")
        yield server


@contextmanager
def _relays(ports: dict[int, Path]) -> Iterator[None]:
    """Listen on loopback and carry each port's connections to its UNIX socket, in a thread with its own loop."""
    loop = asyncio.new_event_loop()
    stop, listening = asyncio.Event(), threading.Event()

    async def serve() -> None:
        servers = [
            await asyncio.start_server(
                relay.relay_to(lambda path=path: asyncio.open_unix_connection(str(path))), "127.0.0.1", port
            )
            for port, path in ports.items()
        ]
        listening.set()
        await stop.wait()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert listening.wait(5.0)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5.0)
        loop.close()
