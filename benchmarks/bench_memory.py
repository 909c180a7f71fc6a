"""How soon the embedded system is ready, what it holds when idle, and whether that grows with the messages.

Usage: bench_memory.py [--messages N] [--connections N]

Ready: from the start of the process until /readyz says so, with the interpreter's bytecode cached as an installation
has it, on an empty state folder. Idle: resident (RSS) and proportional (PSS) memory of each process, beside a hospital
that says nothing. Flat: another process sends messages at full speed; the slope is of the second half.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from floors import Floors
from hilum.hl7 import mllp
from hilum.simulator.hospital import simulated_hospital
from hilum.simulator.messages import adt, orm_o01
from hilum.simulator.orders import example_order
from served import HilumProcess, machine, served, usages

_STARTS = 5
_IDLE_SECONDS = 5.0
_FLOOR_IDLE_MB, _FLOOR_READY_SECONDS = 300, 3.0
_AT_ONCE = 8  # messages under way on one connection
_MARK = b"CONTROLID"
_AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


async def _one_connection(port: int, first: int, step: int, messages: int) -> None:
    """Every ``step``-th message from ``first`` on; each hundredth is an order, the others are of patients."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    patients = [adt(example_order(n, _AT), "A08", _MARK.decode(), _AT) for n in range(200)]
    orders = [orm_o01(example_order(n, _AT), _MARK.decode(), _AT) for n in range(200)]
    numbers = list(range(first, messages, step))
    for begin in range(0, len(numbers), _AT_ONCE):
        some = numbers[begin : begin + _AT_ONCE]
        for number in some:
            payload = (orders if number % 100 == 0 else patients)[number % 200]
            writer.write(mllp.encode(payload.replace(_MARK, f"F{number:08d}".encode())))
        for _ in some:
            if b"MSA|AA|" not in await reader.readuntil(mllp.END):
                raise SystemExit("a message was not accepted")
        if first == 0:
            sys.stdout.write(f"{(begin + len(some)) * step}\n")
            sys.stdout.flush()
    writer.close()


async def _send(port: int, messages: int, connections: int) -> None:
    await asyncio.gather(*(_one_connection(port, n, connections, messages) for n in range(connections)))


async def flood(hilum: HilumProcess, messages: int, connections: int) -> list[tuple[int, int, float]]:
    """Messages so far, resident bytes of all processes, and seconds since the begin: twenty times, evenly."""
    sender = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--send-to", str(hilum.mllp_port)),
        *("--messages", str(messages), "--connections", str(connections)),
        stdout=asyncio.subprocess.PIPE,
    )
    began, seen, every = time.monotonic(), list[tuple[int, int, float]](), max(1, messages // 20)
    try:
        assert sender.stdout is not None
        async for line in sender.stdout:
            sent = int(line)
            if sent >= every * (len(seen) + 1):
                resident = sum(usage.resident for usage in usages(hilum).values())
                seen.append((sent, resident, time.monotonic() - began))
                rate = sent / seen[-1][2]
                print(f"  {sent:>9,} messages: {resident / 1e6:6.1f} MB, {rate:,.0f} acknowledged a second")
        ended = await sender.wait()
    finally:
        if sender.returncode is None:
            sender.kill()
            await sender.wait()
    if ended != 0:
        raise SystemExit("the sender failed")
    return seen


async def run(options: argparse.Namespace) -> None:
    floors = Floors()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-memory-") as scratch:
        folder = Path(scratch)
        environment = {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}
        async with simulated_hospital(folder / "hospital") as hospital:
            seconds, cpu = [], []
            for number in range(_STARTS + 1):
                place = folder / f"start-{number}"
                place.mkdir()
                began = time.monotonic()
                async with served(place, hospital.site(), environment) as hilum:
                    if number:  # the first one writes the bytecode
                        seconds.append(time.monotonic() - began)
                        cpu.append(sum(usage.cpu_seconds for usage in usages(hilum).values()))
            print(
                f"ready after {statistics.median(seconds):.2f} s (median of {_STARTS}) "
                f"and {statistics.median(cpu):.2f} s of processor time"
            )
            floors.below("seconds until ready", statistics.median(seconds), _FLOOR_READY_SECONDS)
            place = folder / "idle"
            place.mkdir()
            async with served(place, hospital.site(), environment) as hilum:
                await asyncio.sleep(_IDLE_SECONDS)
                before = usages(hilum)
                await asyncio.sleep(_IDLE_SECONDS)
                found = usages(hilum)
                print("idle:")
                for pid, usage in found.items():
                    share = (usage.cpu_seconds - before[pid].cpu_seconds) / _IDLE_SECONDS
                    print(
                        f"  {usage.name:<14} RSS {usage.resident / 1e6:6.1f} MB   "
                        f"PSS {usage.proportional / 1e6:6.1f} MB   {share:.1%} of a core"
                    )
                resident = sum(usage.resident for usage in found.values())
                proportional = sum(usage.proportional for usage in found.values())
                print(f"  {'in all':<14} RSS {resident / 1e6:6.1f} MB   PSS {proportional / 1e6:6.1f} MB")
                floors.below("MB resident in all, idle", resident / 1e6, _FLOOR_IDLE_MB)
                print(f"{options.messages:,} messages over {options.connections} connections:")
                seen = await flood(hilum, options.messages, options.connections)
        half = seen[len(seen) // 2 :]
        slope = statistics.linear_regression([s[0] for s in half], [s[1] for s in half]).slope
        print(f"slope of the second half: {slope:+.1f} MB a million messages")
    floors.settle()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--send-to", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send_to:
        asyncio.run(_send(options.send_to, options.messages, options.connections))
        return
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(machine())
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
