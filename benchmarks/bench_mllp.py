"""How many orders a second the MLLP listener acknowledges after its sync, beside others in the same run.

Usage: bench_mllp.py [ROUNDS] [SECONDS]. `hilum serve ingest` runs as it always does: parsing, tracing (to a collector
that forgets), digestion in the same process. Beside it run an asyncio server that only answers, HAPI's HL7Service,
without its checks and with those of its defaults, and python-hl7's server. Hilum shares one sync among what arrives
together; HAPI syncs each message by itself, its connections side by side, python-hl7 one by one in its event loop. So
what they cost depends on the disk: where strace is installed, those that sync run a second time with each sync
lengthened by 4 ms, which is what one costs on a disk that does not answer from a cache.
The load comes from a process of its own (`mllp_load`), takes the servers in turn, and waits in between until what Hilum
kept is digested. Figures are medians over the rounds; processor time is the server's alone, from /proc.
"""

import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from floors import Floors
from served import machine

# isort: split
# What follows is found once `served` has made the tests' folder known.
from hilum.contracts.topics import MESSAGES
from peers import hapi_v2
from peers.child import running

_HERE = Path(__file__).parent
_MANY = 64
_TICKS = os.sysconf("SC_CLK_TCK")
_FLOORS = (  # what, of what, floor, aim
    ("hilum", "echo", 0.18, 0.4),
    ("hilum", "HAPI", 8.0, None),
    ("hilum", "python-hl7", 25.0, None),
    ("hilum, one connection", "write + fdatasync", 0.25, 0.9),
)
_SYNC_SECONDS = 0.004
_SLOWLY = (
    *("strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=fdatasync,fsync"),
    *("-e", f"inject=fdatasync,fsync:delay_exit={_SYNC_SECONDS * 1e6:.0f}"),
)


@dataclass
class Server:
    """Something that listens; ``figures`` are of each round by name."""

    name: str
    port: int
    pid: int
    figures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def load(self, connections: int, seconds: float, mark: str) -> dict[str, float]:
        """What the load generator says of ``seconds`` on this server."""
        arguments = [sys.executable, str(_HERE / "mllp_load.py"), str(self.port), str(connections), str(seconds), mark]
        done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
        told: dict[str, float] = json.loads(done.stdout)
        return told

    def median(self, name: str) -> float:
        return statistics.median(self.figures[name])


class Digestion:
    """How far the digestion of a running ingest is, by its own database."""

    def __init__(self, state: Path) -> None:
        self._log = state / "log.db"
        self._ingest = state / "state" / "ingest.db"

    def wait(self) -> None:
        """Until all that was kept is digested."""
        while True:
            kept = _one(self._log, "SELECT sum(next_offset) FROM heads WHERE topic = ?")
            if _one(self._ingest, "SELECT sum(next_offset) FROM inbox_positions WHERE topic = ?") == kept:
                return
            time.sleep(0.05)


def _one(path: Path, query: str) -> int:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        (found,) = connection.execute(query, (MESSAGES.name,)).fetchone()
    return found or 0


@contextmanager
def _hilum(folder: Path, collector: int, under: Sequence[str] = ()) -> Iterator[Server]:
    ports = [part for name in ("mllp", "grpc", "http") for part in (f"--{name}-port", "0")]
    traces = ["--otlp-endpoint", f"127.0.0.1:{collector}"]
    command = [str(Path(sys.executable).parent / "hilum"), "serve", "ingest", "--state", str(folder / "state")]
    log = folder / "hilum.log"
    with running([*under, *command, *ports, *traces], log) as process:
        deadline = time.monotonic() + 60.0
        while not (told := re.search(r"^MLLP .*:(\d+)\n(.*\n)*ready$", log.read_text(), re.MULTILINE)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"hilum did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield Server("hilum", int(told[1]), process.pid)


@contextmanager
def _peer(folder: Path, name: str, *arguments: str, under: Sequence[str] = ()) -> Iterator[Server]:
    command = [*under, sys.executable, str(_HERE / "mllp_peers.py"), name, *arguments]
    with running(command, folder / f"{name}.log", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Server(name, int(process.stdout.readline()), process.pid)


@contextmanager
def _hapi(folder: Path, name: str, *, validating: bool = False, under: Sequence[str] = ()) -> Iterator[Server]:
    with hapi_v2.serving(folder / f"{name}.bin", folder / f"{name}.log", validating=validating, under=under) as hapi:
        yield Server(name, hapi.port, hapi.pid)


def _sync_rate(folder: Path, seconds: float, under: Sequence[str]) -> float:
    command = [*under, sys.executable, str(_HERE / "mllp_peers.py"), "sync", str(folder / "sync.bin"), str(seconds)]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def _measure(server: Server, seconds: float, mark: str, digestion: Digestion | None) -> None:
    began, cpu = time.monotonic(), server.cpu_seconds()
    told = server.load(_MANY, seconds, mark)
    messages = max(1.0, told["messages"])
    told["cpu_us"] = (server.cpu_seconds() - cpu) / messages * 1e6
    if digestion is not None:
        digestion.wait()
        told["digested"] = messages / (time.monotonic() - began)
        told["whole_cpu_us"] = (server.cpu_seconds() - cpu) / messages * 1e6
    for name, value in told.items():
        server.figures[name].append(value)


@dataclass
class Compared:
    """Hilum over 64 connections and over one, its peers, and the bare loop of syncs."""

    hilum: Server
    one: Server
    sync: Server
    peers: list[Server]


def _compare(rounds: int, seconds: float, under: Sequence[str]) -> Compared:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-mllp-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        collector = stack.enter_context(_peer(folder, "collector"))
        hilum = stack.enter_context(_hilum(folder, collector.port, under))
        digestion = Digestion(folder / "state")
        peers = [
            stack.enter_context(_hapi(folder, "HAPI", under=under)),
            stack.enter_context(_hapi(folder, "HAPI, checking", validating=True, under=under)),
            stack.enter_context(_peer(folder, "python-hl7", str(folder / "python-hl7.bin"), under=under)),
        ]
        if not under:
            peers.insert(0, stack.enter_context(_peer(folder, "echo")))
        one = Server("hilum, one connection", hilum.port, hilum.pid)
        sync = Server("write + fdatasync", 0, 0)
        for server in [hilum, *peers]:
            server.load(_MANY, 5.0, "W")  # caches, and HAPI's just-in-time compiler
        digestion.wait()
        for number in range(rounds):
            _measure(hilum, seconds, f"M{number}-", digestion)
            for server in peers:
                _measure(server, seconds, f"M{number}-", None)
            for name, value in one.load(1, seconds, f"S{number}-").items():
                one.figures[name].append(value)
            digestion.wait()
            sync.figures["rate"].append(_sync_rate(folder, seconds, under))
        return Compared(hilum, one, sync, peers)


def _print(compared: Compared, floors: Floors, *, processor: bool) -> None:
    """``processor``: the servers are the processes that were started, so that their time can be read."""
    hilum, one, sync, peers = compared.hilum, compared.one, compared.sync, compared.peers
    print(f"{_MANY} connections, each sending its next order after its acknowledgement")
    for server in [hilum, *peers]:
        used = f"   {server.median('cpu_us'):6.0f} us of processor a message" if processor else ""
        print(
            f"  {server.name:<22}{server.median('rate'):>9,.0f} /s   median {server.median('median_ms'):7.2f} ms   "
            f"p99 {server.median('p99_ms'):8.2f} ms{used}"
        )
    whole = f", {hilum.median('whole_cpu_us'):,.0f} us of processor a message" if processor else ""
    print(f"  hilum with its digestion {hilum.median('digested'):6,.0f} /s{whole}")
    print("one connection")
    print(f"  {'hilum':<22}{one.median('rate'):>9,.0f} /s   median {one.median('median_ms'):7.2f} ms")
    print(f"  {sync.name:<22}{sync.median('rate'):>9,.0f} /s")
    rates = {server.name: server for server in [hilum, *peers, one, sync]}
    print("ratios, medians over the rounds")
    for what, of, floor, aim in _FLOORS:
        if of in rates:
            floors.at_least(f"{what} / {of}", _ratio(rates[what], rates[of]), floor, aim)
    print(f"  hilum / HAPI, checking: {_ratio(hilum, rates['HAPI, checking']):.2f}")
    if processor:
        for server in peers:
            ratio = hilum.median("cpu_us") / server.median("cpu_us")
            print(f"  processor a message, hilum / {server.name}: {ratio:.2f}")


def _ratio(ours: Server, theirs: Server) -> float:
    pairs = zip(ours.figures["rate"], theirs.figures["rate"], strict=True)
    return statistics.median(our / max(their, 0.1) for our, their in pairs)


def main() -> None:
    told = [float(argument) for argument in sys.argv[1:]]
    print(machine())
    rounds, seconds = int(told[0]) if told else 5, told[1] if len(told) > 1 else 3.0
    floors = Floors()
    print("on the disk as it is")
    _print(_compare(rounds, seconds, ()), floors, processor=True)
    if shutil.which("strace"):
        print(f"with each sync {_SYNC_SECONDS * 1e3:.0f} ms longer")
        _print(_compare(max(1, rounds // 2), seconds, _SLOWLY), Floors(), processor=False)
    print(f"afterwards: {machine()}")
    floors.settle()


if __name__ == "__main__":
    main()
