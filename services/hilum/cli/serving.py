"""`hilum serve` and `hilum demo`."""

import asyncio
import gc
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from hilum import embedded

# How long a thread that computes keeps the others waiting. What is received passes through some twenty hand-overs
# between threads until it is delivered; while a large study arrives, each may cost the interpreter's own 5 ms.
_SWITCH_SECONDS = 0.0005
_GARBAGE = (5_000, 20, 50)  # a message makes some 100 objects, and next to none in circles
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def serve(
    services: list[str], state: Path, config: Path | None, ports: Mapping[str, int | None], otlp_endpoint: str | None
) -> None:
    logging.basicConfig(level=logging.WARNING, format=_FORMAT)
    logging.getLogger("hilum").setLevel(logging.INFO)  # ours alone: libraries tell of addresses that name patients
    options = embedded.Options(
        state=state,
        config=config,
        otlp_endpoint=otlp_endpoint,
        services=embedded.names_of(services),
        mllp_port=ports["mllp_port"],
        dicom_port=ports["dicom_port"],
        grpc_port=ports["grpc_port"],
        http_port=ports["http_port"],
    )
    sys.setswitchinterval(_SWITCH_SECONDS)
    asyncio.run(embedded.run(options, started=_tell))


def _tell(running: embedded.Running) -> None:
    """Where it listens, one line a port."""
    _settle()
    console = Console(stderr=True, highlight=False)
    listening = {"HTTP": running.http_port}
    for service, what, name in (
        ("ingest", "MLLP", "mllp_port"),
        ("imaging", "DICOM", "dicom_port"),
        ("ingest", "gRPC intake", "grpc_port"),
        ("inference", "gRPC inference", "grpc_port"),
        ("ledger", "gRPC ledger", "grpc_port"),
        ("oversight", "gRPC oversight", "grpc_port"),
    ):
        if service in running.services:
            listening[what] = getattr(running.services[service], name)
    for what, port in listening.items():
        console.print(f"{what:<15} 127.0.0.1:{port}")
    console.print("ready")


def _settle() -> None:
    """What the start made stays until the end: the search for garbage need not go through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)


def demo(images: Path | None, labels: Path | None, orders: tuple[Path, ...], limit: int, out: Path) -> int:
    from hilum.simulator.demo import DemoOptions, run_demo  # noqa: PLC0415 - what serving does not need

    return asyncio.run(run_demo(DemoOptions(images=images, labels=labels, orders=orders, limit=limit, out=out)))
