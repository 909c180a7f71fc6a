"""How many orders a second the MLLP listener acknowledges, each after its durable append.

Usage: bench_mllp.py [CONNECTIONS] [SECONDS]. Every connection waits for its answer before it sends the next.
"""

import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from hilum.embedded import Options, running
from hilum.hl7 import mllp
from hilum.simulator.messages import orm_o01
from hilum.simulator.orders import example_order

_AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
_MARK = "CONTROLID"
_ORDER = orm_o01(example_order(1, _AT), _MARK, _AT)


async def _client(number: int, port: int, until: float, waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    while time.perf_counter() < until:
        sent += 1
        payload = _ORDER.replace(_MARK.encode(), f"B{number:04d}{sent:08d}".encode())
        began = time.perf_counter()
        writer.write(mllp.encode(payload))
        answer = await reader.readuntil(mllp.END)
        if b"MSA|AA|" not in answer:
            raise SystemExit(f"not accepted: {answer!r}")
        waits.append(time.perf_counter() - began)
    writer.close()
    await writer.wait_closed()


async def _measure(connections: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as state:
        options = Options(state=Path(state), mllp_port=0, dicom_port=0, grpc_port=0, http_port=0, services=("ingest",))
        async with running(options) as hilum:
            waits: list[float] = []
            until = time.perf_counter() + seconds
            await asyncio.gather(*(_client(n, hilum.mllp_port, until, waits) for n in range(connections)))
    cuts = statistics.quantiles(waits, n=100)
    print(
        f"{connections:3d} connections, {seconds:.0f} s: {len(waits) / seconds:,.0f} acknowledged a second; "
        f"median {cuts[49] * 1e3:.1f} ms, 99th percentile {cuts[98] * 1e3:.1f} ms, longest {max(waits) * 1e3:.1f} ms"
    )


def main() -> None:
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; sender in the same process"
    )
    told = [float(argument) for argument in sys.argv[1:]]
    for connections in [int(told[0])] if told else [1, 8, 64]:
        asyncio.run(_measure(connections, told[1] if len(told) > 1 else 5.0))


if __name__ == "__main__":
    main()
