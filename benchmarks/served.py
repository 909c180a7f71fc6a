"""What the benchmarks of a whole system share: `hilum serve all` in a process of its own, and what /proc says of it."""

import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from peers.hilum_process import HilumProcess

__all__ = ["HilumProcess", "Usage", "cpu_by_process", "machine", "served", "spread", "usages"]

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def served(
    folder: Path, site: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> AsyncIterator[HilumProcess]:
    """A system that is ready, its state under ``folder``; it drains at the end."""
    document = folder / "site.yaml"
    document.write_text(yaml.safe_dump(dict(site)))
    hilum = HilumProcess(folder / "state", document, folder / "hilum.log", environment=dict(environment or {}))
    try:
        await hilum.start()
        yield hilum
        await hilum.stop(60.0)
    finally:
        hilum.end()


@dataclass(frozen=True)
class Usage:
    """One process at one moment: its name, memory in bytes, processor time in seconds.

    ``resident`` counts shared pages wholly, ``proportional`` by the number of those that share them.
    """

    name: str
    resident: int
    proportional: int
    cpu_seconds: float


def usages(hilum: HilumProcess) -> dict[int, Usage]:
    """Every process of the system, the main one first."""
    found = {}
    for pid in sorted(hilum.survivors()):
        try:
            found[pid] = _usage(pid)
        except (OSError, ValueError, IndexError):  # ended meanwhile
            continue
    return found


def _usage(pid: int) -> Usage:
    proc = Path(f"/proc/{pid}")
    arguments = proc.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
    name = next((a.rpartition(".")[2] for a in arguments if a.startswith("hilum.")), "main")
    rows = dict(line.split(":", 1) for line in proc.joinpath("smaps_rollup").read_text().splitlines()[1:])
    fields = proc.joinpath("stat").read_text().rpartition(")")[2].split()
    return Usage(
        name,
        int(rows["Rss"].split()[0]) * 1024,
        int(rows["Pss"].split()[0]) * 1024,
        (int(fields[11]) + int(fields[12])) / _TICKS,
    )


def cpu_by_process(hilum: HilumProcess) -> Counter[str]:
    """Processor seconds that the living processes have used, by their names."""
    used: Counter[str] = Counter()
    for usage in usages(hilum).values():
        used[usage.name] += usage.cpu_seconds  # type: ignore[assignment]  # typed for integers alone
    return used


def machine() -> str:
    """Where the figures were taken, and how busy it was."""
    busy = os.getloadavg()[0]
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load average {busy:.1f}, {time.strftime('%Y-%m-%d %H:%M')}"
    )


def spread(seconds: Sequence[float]) -> str:
    """``p50``, ``p99`` and the largest, in milliseconds."""
    if len(seconds) < 2:
        return "too few"
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"p50 {cuts[49] * 1e3:7.1f} ms   p99 {cuts[98] * 1e3:7.1f} ms   max {max(seconds) * 1e3:7.1f} ms"
