"""The load: so many MLLP connections, each sending its next order once the last one is acknowledged.

Usage: mllp_load.py PORT CONNECTIONS SECONDS MARK. Prints one JSON object. One thread on epoll, as the sender shares the
machine with the server that it measures. ``MARK`` begins every control ID, so that no two runs repeat one.
"""

import json
import select
import socket
import statistics
import sys
import time
from datetime import UTC, datetime

from hilum.hl7.mllp import END, encode
from hilum.simulator.messages import orm_o01
from hilum.simulator.orders import example_order

_PLACE = "CONTROL-ID"
_AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
_SILENCE_SECONDS = 30.0


def order(control_id: str = _PLACE) -> bytes:
    """One ORM^O01 without its framing."""
    return orm_o01(example_order(1, _AT), control_id, _AT)


class Load:
    """`run` it once; then ``waits`` holds the seconds that each acknowledgement took."""

    def __init__(self, port: int, connections: int, mark: str) -> None:
        self._before, self._after = encode(order()).split(_PLACE.encode())
        self._mark = mark
        self._sent = 0
        self.waits: list[float] = []
        self.seconds = 0.0
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for _ in range(connections):
            connected = socket.create_connection(("127.0.0.1", port))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[connected.fileno()] = connected
            self._poll.register(connected, select.EPOLLIN)

    def run(self, seconds: float) -> None:
        """Send for so long; what is under way at the end is waited for and not counted."""
        clock, waits, sockets = time.perf_counter, self.waits, self._sockets
        begun: dict[int, float] = {}
        partial: dict[int, bytes] = {}
        began = clock()
        until = began + seconds
        for descriptor, connected in sockets.items():
            connected.sendall(self._next())
            begun[descriptor] = clock()
        while begun:
            ready = self._poll.poll(_SILENCE_SECONDS)
            if not ready:
                raise SystemExit("the server fell silent")
            for descriptor, _ in ready:
                connected = sockets[descriptor]
                answer = partial.pop(descriptor, b"") + connected.recv(65_536)
                if not answer.endswith(END):
                    if not answer:
                        raise SystemExit("the server closed a connection")
                    partial[descriptor] = answer
                    continue
                if b"MSA|AA" not in answer:
                    raise SystemExit(f"not accepted: {answer!r}")
                now = clock()
                if now < until:
                    waits.append(now - begun[descriptor])
                    connected.sendall(self._next())
                    begun[descriptor] = now
                else:
                    del begun[descriptor]
        self.seconds = seconds
        for connected in sockets.values():
            connected.close()

    def _next(self) -> bytes:
        self._sent += 1
        return self._before + f"{self._mark}{self._sent:07d}".encode() + self._after


def main() -> None:
    port, connections, seconds, mark = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    load = Load(port, connections, mark)
    load.run(seconds)
    waits = load.waits if len(load.waits) > 1 else [seconds, seconds]  # a server that answered nobody in time
    cuts = statistics.quantiles(waits, n=100)
    told = {
        "messages": len(load.waits),
        "rate": len(load.waits) / seconds,
        "median_ms": cuts[49] * 1e3,
        "p99_ms": cuts[98] * 1e3,
        "longest_ms": max(waits) * 1e3,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
