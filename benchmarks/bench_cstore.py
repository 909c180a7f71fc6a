"""Instances a second that are durable before they are answered, beside other storage SCPs.

Usage: bench_cstore.py [ROUNDS] [ASSOCIATIONS]. Each association waits for its answer before it sends the next
instance. The servers take turns within each round, on the disk of the working directory; figures are medians over the
rounds, ratios are of one round each. Hilum is `hilum serve imaging` as it always runs.
Hilum syncs three times before an answer (object, folder, log), pynetdicom's handler here once and storescp never: the
same on a folder in memory shows what is left when no disk is waited for.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from cstore_servers import Server, bare, hilum, sink, storescp
from floors import Floors

_ASSOCIATIONS = int(sys.argv[2]) if len(sys.argv) > 2 else 4
_MEMORY = Path("/dev/shm")
_SENDER = str(Path(__file__).with_name("cstore_sender.py"))
_SEEDS = count(1)
_FLOOR = 0.9
_KINDS = (("512 by 512", 512, 40), ("180 by 180", 180, 80))


@dataclass(frozen=True)
class Measure:
    rate: float  # instances a second
    server_ms: float  # CPU an instance
    sender_ms: float


def measure(servers: list[Server], rows: int, instances: int) -> Measure:
    """Send ``instances`` on each association, spread over ``servers``."""
    job = {
        "ports": [servers[number % len(servers)].port for number in range(_ASSOCIATIONS)],
        "instances": instances,
        "rows": rows,
        "seed": next(_SEEDS),
        "called": servers[0].called,
    }
    sender = subprocess.Popen(
        [sys.executable, _SENDER, json.dumps(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert sender.stdin is not None
        assert sender.stdout is not None
        if sender.stdout.readline() != "ready\n":
            raise SystemExit("the sender did not start")
        before = sum(server.cpu_seconds() for server in servers)
        sender.stdin.write("\n")
        sender.stdin.flush()
        told = sender.stdout.readline()
        sender.wait()
    finally:
        sender.kill()  # nothing, where it has ended
        sender.wait()
    if not told:
        raise SystemExit("the sender failed")
    after = sum(server.cpu_seconds() for server in servers)
    result, total = json.loads(told), _ASSOCIATIONS * instances
    return Measure(total / result["seconds"], (after - before) / total * 1e3, result["cpu"] / total * 1e3)


Start = Callable[[Path], AbstractContextManager[Server]]


def compare(
    title: str,
    rows: int,
    instances: int,
    rounds: int,
    groups: dict[str, tuple[Start, int]],
    where: Path | None = None,
) -> float:
    """``groups``: name -> what starts a server, and how many of it share the associations; in folders of ``where``.

    Returns the median ratio of Hilum to pynetdicom, one process each.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-cstore-", dir=where or Path.cwd())))
        running = {
            name: [stack.enter_context(start(folder / f"{name}-{number}")) for number in range(processes)]
            for name, (start, processes) in groups.items()
        }
        for servers in running.values():
            measure(servers, rows, max(4, instances // 4))
        measures: dict[str, list[Measure]] = {name: [] for name in running}
        for _ in range(rounds):
            for name, servers in running.items():
                measures[name].append(measure(servers, rows, instances))
    _print(title, rows, measures)
    return _ratio(measures, "pynetdicom")


def _ratio(measures: dict[str, list[Measure]], other: str) -> float:
    pairs = zip(measures["hilum"], measures[other], strict=True)
    return statistics.median(mine.rate / theirs.rate for mine, theirs in pairs)


def _print(title: str, rows: int, measures: dict[str, list[Measure]]) -> None:
    print(f"\n{title}, 16 bits; {_ASSOCIATIONS} associations, {len(measures['hilum'])} rounds")
    for name, found in measures.items():
        rate = statistics.median(each.rate for each in found)
        against = _ratio(measures, name)
        server = statistics.median(each.server_ms for each in found)
        sender = statistics.median(each.sender_ms for each in found)
        print(
            f"  {name:<14} {rate:7.0f} instances/s {rate * rows * rows * 2 / 1e6:7.1f} MB/s; "
            f"CPU an instance: server {server:5.2f} ms, sender {sender:4.2f} ms; hilum / it: {against:.2f}"
        )


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()}")
    floors, ratios = Floors(), dict[str, float]()
    for title, rows, instances in _KINDS:
        groups: dict[str, tuple[Start, int]] = {
            "hilum": (hilum, 1),
            "pynetdicom": (bare, 1),
            "storescp": (storescp, 1),
            "sink": (sink, 1),
            "hilum x2": (hilum, 2),
            "pynetdicom x2": (bare, 2),
        }
        ratios[title] = compare(title, rows, instances, rounds, groups)
        if _MEMORY.is_dir():
            two = {name: groups[name] for name in ("hilum", "pynetdicom")}
            compare(f"{title}, in memory", rows, instances, rounds, two, _MEMORY)
    print("\nof the rate of pynetdicom that writes the encoded data set with fdatasync, in one process, on disk")
    for title, ratio in ratios.items():
        floors.at_least(title, ratio, _FLOOR)
    floors.settle()


if __name__ == "__main__":
    main()
