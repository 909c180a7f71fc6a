"""Ports that nobody holds at the moment."""

import socket
import time
from collections.abc import Callable

import pytest


def take_free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, alive: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return once ``port`` accepts connections; raise RuntimeError when ``alive`` says no or time runs out."""
    until = time.monotonic() + seconds
    while alive() and time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"no server on port {port}")


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that gives another free port at each call."""
    return take_free_port
