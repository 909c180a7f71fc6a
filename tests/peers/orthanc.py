"""Orthanc, an archive: in a network namespace of its own, because it listens on every interface it sees."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from peers import relay
from peers.child import required, running
from peers.ports import take_free_port

_DICOM, _HTTP = 4242, 8042  # inside its namespace
_PROMPT = {"TCP_NODELAY": "1"}
_DIRECT = build_opener(ProxyHandler({}))  # loopback is never behind a proxy
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
        with _DIRECT.open(f"http://127.0.0.1:{self.http_port}{path}", timeout=10.0) as answer:
            body: bytes = answer.read()
            return body

    def tags(self) -> list[dict[str, str]]:
        """The main DICOM tags of every instance held, simplified by Orthanc to keyword and text."""
        names = json.loads(self.get("/instances"))
        return [json.loads(self.get(f"/instances/{name}/simplified-tags")) for name in names]


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc a session, empty at its start; it takes C-STORE from any AE title."""
    program, namespace = required("Orthanc", "orthanc"), _network_namespace()
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
    dicom, http = folder / "dicom.sock", folder / "http.sock"
    inside = shlex.join([sys.executable, relay.__file__, f"{dicom}={_DICOM}", f"{http}={_HTTP}"])
    server_command = shlex.join([program, str(folder / "orthanc.json")])
    script = f"ip link set lo up && {{ {inside} & }} && exec {server_command}"
    server = Orthanc("ORTHANC", take_free_port(), take_free_port(), folder / "log")
    outside = [sys.executable, relay.__file__, f"{server.dicom_port}={dicom}", f"{server.http_port}={http}"]
    with (
        running([*namespace, "sh", "-c", script], server.log, environment=_PROMPT) as process,
        running(outside, server.log),
    ):
        until = time.monotonic() + _SECONDS
        while process.poll() is None and time.monotonic() < until:
            try:
                server.get("/system")
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError(f"Orthanc did not start:\n{server.log.read_text()[-2000:]}")
        yield server


def _network_namespace() -> list[str]:
    """The command that runs another in a network namespace; the test skips where the kernel allows none."""
    unshare = required("unshare", "util-linux")
    for options in ("--net",), ("--map-root-user", "--net"):
        if subprocess.run([unshare, *options, "true"], capture_output=True, timeout=10.0, check=False).returncode == 0:
            return [unshare, *options]
    pytest.skip("Orthanc needs a network namespace, and this machine allows none")
