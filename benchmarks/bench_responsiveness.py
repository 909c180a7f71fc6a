"""Do messages and priorities still flow while a large CT arrives? The same load without it, and with it.

Usage: bench_responsiveness.py [--slices N] [--associations N] [--studies N]

Hilum, the scanner and the hospital are a process each. Messages are due 20 times a second, chest studies once a second
(as in bench_delivery.py), on schedules that wait for nobody; times count from when a thing was due.
"""

import argparse
import asyncio
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from pydicom.uid import generate_uid

from bench_delivery import Study, heard, open_loop, phantoms, read_stamps, report_stages, site_of, studies_of
from hilum.simulator.hl7_feed import Hl7Feed
from hilum.simulator.hospital import Hospital, simulated_hospital
from hilum.simulator.messages import adt
from hilum.simulator.orders import example_order
from served import HilumProcess, cpu_by_process, machine, served, spread

_SENDER = Path(__file__).resolve().parent.parent / "tests" / "peers" / "ct_sender.py"
_MESSAGES_A_SECOND = 20.0
_DIRECT = build_opener(ProxyHandler({}))


@dataclass
class Scan:
    """What the scanner saw: seconds since 1970 of each answer, and how long each took."""

    at: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    ended: bool = False


async def scan(port: int, slices: int, associations: int) -> Scan:
    sender = await asyncio.create_subprocess_exec(
        *(sys.executable, _SENDER, str(port), str(slices), str(associations), generate_uid()),
        stdout=asyncio.subprocess.PIPE,
    )
    found = Scan()
    try:
        assert sender.stdout is not None
        async for line in sender.stdout:
            words = line.split()
            if len(words) == 3:
                found.at.append(float(words[1]))
                found.took.append(float(words[2]))
            found.ended = words == [b"ended"]
        await sender.wait()
    finally:
        if sender.returncode is None:
            sender.kill()
            await sender.wait()
    if not found.ended:
        raise SystemExit("the scan was not stored")
    return found


async def probe(port: int, waits: list[float]) -> None:
    """Send a message whenever one is due, over one connection; note how long after that it was acknowledged."""
    feed, begin, number = Hl7Feed("127.0.0.1", port), time.time(), 0
    while True:
        due = begin + number / _MESSAGES_A_SECOND
        number += 1
        await asyncio.sleep(max(0.0, due - time.time()))
        name = f"R{time.time_ns()}"
        sent = await feed.send(name, adt(example_order(number % 20, datetime.now(UTC)), "A08", name, datetime.now(UTC)))
        if not sent.accepted:
            raise RuntimeError("a message was not accepted")
        waits.append(time.time() - due)


def longest_lag(hilum: HilumProcess) -> float:
    with _DIRECT.open(f"http://127.0.0.1:{hilum.http_port}/metrics", timeout=10) as answer:
        found = re.search(r"^hilum_event_loop_lag_max_seconds\S* (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else float("nan")


async def phase(studies: list[Study], hospital: Hospital, hilum: HilumProcess, waits: list[float]) -> None:
    probing = asyncio.create_task(probe(hilum.mllp_port, waits))
    try:
        await open_loop(studies, 1.0, hospital, hilum.mllp_port, hilum.dicom_port)
        await heard(studies, hospital, 60.0)
    finally:
        probing.cancel()
        (ended,) = await asyncio.gather(probing, return_exceptions=True)
    if not isinstance(ended, asyncio.CancelledError):
        raise SystemExit(f"the messages beside stopped: {ended!r}")


async def run(options: argparse.Namespace) -> None:
    drawn = phantoms()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-responsiveness-") as scratch:
        folder = Path(scratch)
        async with simulated_hospital(folder / "hospital") as hospital, served(folder, site_of(hospital)) as hilum:
            warm = studies_of(3, 9000, drawn, 1)
            await phase(warm, hospital, hilum, [])
            await asyncio.sleep(1.0)
            quiet_waits, busy_waits = list[float](), list[float]()
            quiet, busy = studies_of(options.studies, 0, drawn, 1), studies_of(options.studies, 1000, drawn, 1)
            await phase(quiet, hospital, hilum, quiet_waits)
            lag_without = longest_lag(hilum)
            await asyncio.sleep(21.0)  # the lag of before is forgotten
            used = cpu_by_process(hilum)
            scanning = asyncio.create_task(scan(hilum.dicom_port, options.slices, options.associations))
            flowing = asyncio.create_task(phase(busy, hospital, hilum, busy_waits))
            found = await scanning
            lag_with = longest_lag(hilum)
            await flowing
            used = cpu_by_process(hilum) - used
            await asyncio.sleep(2.0)
        await read_stamps(folder / "state", quiet + busy)
    seconds = found.at[-1] - found.at[0]
    print(
        f"CT: {options.slices} slices over {options.associations} associations in {seconds:.1f} s, "
        f"{(len(found.at) - 1) / seconds:.0f} a second; server CPU in all, s: {dict(used)}"
    )
    tenth = max(2, options.slices // 10)
    first, last = statistics.median(found.took[:tenth]), statistics.median(found.took[-tenth:])
    print(
        f"  answer to a slice, median: first tenth {first * 1e3:.1f} ms, last tenth {last * 1e3:.1f} ms, "
        f"ratio {last / first:.2f}"
    )
    during = [study for study in busy if study.at.get("heard", found.at[-1]) < found.at[-1]]
    print(f"  {len(during)} priorities of {len(busy)} reached the RIS before the CT's end")
    for name, waits, studies, lag in (
        ("without CT", quiet_waits, quiet, lag_without),
        ("with CT", busy_waits, busy, lag_with),
    ):
        whole = [study for study in studies if {"heard", "planned", "decided", "returned"} <= study.at.keys()]
        print(f"{name}: {len(waits)} messages, {len(whole)} of {len(studies)} priorities")
        print(f"  MLLP acknowledgement           {spread(waits)}")
        print(f"  last evidence to RIS - engine  {spread([study.latency for study in whole])}")
        print(f"  event loop's longest lag       {lag * 1e3:.1f} ms")
        report_stages(whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--associations", type=int, default=4)
    parser.add_argument("--studies", type=int, default=15)
    print(machine())
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
