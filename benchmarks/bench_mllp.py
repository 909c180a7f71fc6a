"""How many orders a second the MLLP listener acknowledges after its sync, beside others in the same run.

Usage: bench_mllp.py [ROUNDS] [SECONDS]. `hilum serve ingest` runs as it always does: parsing, tracing (to a collector
that forgets), digestion in the same process. Beside it run an asyncio server that only answers, HAPI's HL7Service and
python-hl7's server. Hilum shares one sync among what arrives together; the handlers of the last two sync each message
by itself, python-hl7's one by one in its event loop. The load comes from a process of its own (`mllp_load`), takes
the servers in turn, and waits in between until what Hilum kept is digested. Figures are medians over the rounds;
processor time is the server's alone, from /proc.
"""

import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
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
def _hilum(folder: Path, collector: int) -> Iterator[Server]:
    ports = [part for name in ("mllp", "grpc", "http") for part in (f"--{name}-port", "0")]
    traces = ["--otlp-endpoint", f"127.0.0.1:{collector}"]
    command = [str(Path(sys.executable).parent / "hilum"), "serve", "ingest", "--state", str(folder / "state")]
    log = folder / "hilum.log"
    with running([*command, *ports, *traces], log) as process:
        deadline = time.monotonic() + 60.0
        while not (told := re.search(r"^MLLP .*:(\d+)\n(.*\n)*ready$", log.read_text(), re.MULTILINE)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"hilum did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield Server("hilum", int(told[1]), process.pid)


@contextmanager
def _peer(folder: Path, name: str, *arguments: str) -> Iterator[Server]:
    command = [sys.executable, str(_HERE / "mllp_peers.py"), name, *arguments]
    with running(command, folder / f"{name}.log", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Server(name, int(process.stdout.readline()), process.pid)


def _sync_rate(folder: Path, seconds: float) -> float:
    command = [sys.executable, str(_HERE / "mllp_peers.py"), "sync", str(folder / "sync.bin"), str(seconds)]
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


def _compare(rounds: int, seconds: float) -> Floors:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-mllp-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        collector = stack.enter_context(_peer(folder, "collector"))
        hilum = stack.enter_context(_hilum(folder, collector.port))
        digestion = Digestion(folder / "state")
        hapi = stack.enter_context(hapi_v2.serving(folder / "hapi.bin", folder / "hapi.log"))
        others = [
            stack.enter_context(_peer(folder, "echo")),
            Server("HAPI", hapi.port, hapi.pid),
            stack.enter_context(_peer(folder, "python-hl7", str(folder / "python-hl7.bin"))),
        ]
        one = Server("hilum, one connection", hilum.port, hilum.pid)
        sync = Server("write + fdatasync", 0, 0)
        for server in [hilum, *others]:
            server.load(_MANY, 5.0, "W")  # caches, and HAPI's just-in-time compiler
        digestion.wait()
        for number in range(rounds):
            _measure(hilum, seconds, f"M{number}-", digestion)
            for server in others:
                _measure(server, seconds, f"M{number}-", None)
            for name, value in one.load(1, seconds, f"S{number}-").items():
                one.figures[name].append(value)
            digestion.wait()
            sync.figures["rate"].append(_sync_rate(folder, seconds))
        return _print(hilum, others, one, sync)


def _print(hilum: Server, others: list[Server], one: Server, sync: Server) -> Floors:
    print(f"{_MANY} connections, each sending its next order after its acknowledgement")
    for server in [hilum, *others]:
        print(
            f"  {server.name:<22}{server.median('rate'):>9,.0f} /s   median {server.median('median_ms'):7.2f} ms   "
            f"p99 {server.median('p99_ms'):8.2f} ms   {server.median('cpu_us'):6.0f} us of processor a message"
        )
    print(
        f"  hilum with its digestion {hilum.median('digested'):6,.0f} /s, "
        f"{hilum.median('whole_cpu_us'):,.0f} us of processor a message"
    )
    print("one connection")
    print(f"  {'hilum':<22}{one.median('rate'):>9,.0f} /s   median {one.median('median_ms'):7.2f} ms")
    print(f"  {sync.name:<22}{sync.median('rate'):>9,.0f} /s")
    rates = {server.name: server for server in [hilum, *others, one, sync]}
    print("ratios, medians over the rounds")
    floors = Floors()
    for what, of, floor, aim in _FLOORS:
        pairs = zip(rates[what].figures["rate"], rates[of].figures["rate"], strict=True)
        ratio = statistics.median(ours / max(theirs, 0.1) for ours, theirs in pairs)
        floors.at_least(f"{what} / {of}", ratio, floor, aim)
    for server in others:
        ratio = hilum.median("cpu_us") / server.median("cpu_us")
        print(f"  processor a message, hilum / {server.name}: {ratio:.2f}")
    return floors


def main() -> None:
    told = [float(argument) for argument in sys.argv[1:]]
    print(machine())
    floors = _compare(int(told[0]) if told else 5, told[1] if len(told) > 1 else 3.0)
    print(f"afterwards: {machine()}")
    floors.settle()


if __name__ == "__main__":
    main()
