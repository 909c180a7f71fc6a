"""`hilum serve` as a process of its own, on ports that stay the same when it is started again."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from peers.ports import take_free_port

_DIRECT = build_opener(ProxyHandler({}))
_SECONDS = 120.0


@dataclass
class HilumProcess:
    """Started, killed and started again over one state folder."""

    state: Path
    site: Path
    log: Path
    mllp_port: int = field(default_factory=take_free_port)
    dicom_port: int = field(default_factory=take_free_port)
    grpc_port: int = field(default_factory=take_free_port)
    http_port: int = field(default_factory=take_free_port)
    environment: dict[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ("all",)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    _process: asyncio.subprocess.Process | None = None

    def __post_init__(self) -> None:
        self.environment["HILUM_TEST_MARK"] = self.mark
        self.environment.setdefault("PYTHONFAULTHANDLER", "1")  # SIGABRT tells where every thread stands
        for service in ("INFERENCE", "LEDGER", "OVERSIGHT"):
            self.environment.setdefault(f"HILUM_{service}__GRPC_PORT", str(take_free_port()))

    @property
    def ledger_grpc_port(self) -> int:
        return int(self.environment["HILUM_LEDGER__GRPC_PORT"])

    async def start(self) -> None:
        """Return once /readyz says so; raise RuntimeError with the end of the log when it does not."""
        ports = {name: getattr(self, f"{name}_port") for name in ("mllp", "dicom", "grpc", "http")}
        options = [text for name, port in ports.items() for text in (f"--{name}-port", str(port))]
        hilum = Path(sys.executable).parent / "hilum"
        with self.log.open("ab") as printed:
            self._process = await asyncio.create_subprocess_exec(
                *(hilum, "serve", *self.services, "--state", self.state, "--config", self.site, *options),
                stdout=printed,
                stderr=printed,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        until = time.monotonic() + _SECONDS
        while not await asyncio.to_thread(self._ready):
            if self._process.returncode is not None or time.monotonic() > until:
                raise RuntimeError(f"hilum did not become ready:\n{self.log.read_text(errors='replace')[-4000:]}")
            await asyncio.sleep(0.05)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self, module: str) -> list[int]:
        """Living children of the process that run the Python module ``module``."""
        needle = module.encode()
        return [pid for pid in _children(self.pid) if needle in _content(Path(f"/proc/{pid}/cmdline"))]

    async def kill(self) -> None:
        """SIGKILL to the process itself, as a power cut would; its children must notice by themselves."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM, and the exit status once it has drained."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        try:
            return await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            self._process.send_signal(signal.SIGABRT)
            await self._process.wait()
            told = self.log.read_text(errors="replace")[-8000:]
            raise TimeoutError(f"hilum did not drain in {seconds} s; its threads stand at:\n{told}") from None

    async def exited(self, seconds: float = 20.0) -> int:
        """The exit status of a process that ends by itself."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), seconds)

    def survivors(self) -> list[int]:
        """Processes that still run of those started here, their children and whatever these started."""
        needle = f"HILUM_TEST_MARK={self.mark}".encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if needle in _content(path)]

    def end(self) -> None:
        """End whatever is left, by force."""
        for pid in self.survivors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Status and content of /readyz. Blocks; raises OSError when nobody answers."""
        try:
            with _DIRECT.open(f"http://127.0.0.1:{self.http_port}/readyz", timeout=2.0) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    async def until_ready(self, ready: bool, seconds: float = 15.0) -> dict[str, Any]:
        """What /readyz says once it is so; raises AssertionError when it is not in time."""
        until = time.monotonic() + seconds
        while True:
            status, told = await asyncio.to_thread(self.readiness)
            if (status == 200) is ready:
                return told
            assert time.monotonic() < until, told
            await asyncio.sleep(0.1)

    def _ready(self) -> bool:
        try:
            return self.readiness()[0] == 200
        except OSError:
            return False


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        after_name = _content(path).rpartition(b") ")[2].split()  # state, parent, ...
        if len(after_name) > 1 and int(after_name[1]) == parent:
            found.append(int(path.parent.name))
    return found


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # ended meanwhile, or another user's
        return b""
