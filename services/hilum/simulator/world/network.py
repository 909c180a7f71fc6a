"""A simulated network under asyncio's own interfaces: streams and protocols run on it unchanged.

Bytes arrive in order, in pieces, later. A connection may break at any moment, with what was under way lost; the far
end of a process that died is reset.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from hilum.simulator.world.loop import CURRENT, IN_TURN, Process, SimulatedLoop

_PIECES = (1, 7, 64, 400, 65536)


@dataclass
class Weather:
    """Seconds that a piece is under way at most; how likely it is that a write breaks its line."""

    latency: float = 0.003
    breaks: float = 0.0


class Network:
    """Listeners by port. `listen` and `connect` stand behind the loop's `create_server` and `create_connection`."""

    def __init__(self, loop: SimulatedLoop, chance: Random, weather: Weather) -> None:
        self.loop = loop
        self.chance = chance
        self.weather = weather
        self._listening: dict[int, _Listener] = {}
        self._next_port = 40_000

    def listen(self, factory: Callable[[], asyncio.BaseProtocol], port: int) -> "_Listener":
        if not port:
            self._next_port += 1
            port = self._next_port
        before = self._listening.get(port)
        if before is not None and before.answers:
            raise OSError("address in use")
        listener = _Listener(port, factory, CURRENT.get())
        self._listening[port] = listener
        return listener

    async def connect(
        self, factory: Callable[[], asyncio.BaseProtocol], port: int
    ) -> tuple["Wire", asyncio.BaseProtocol]:
        await asyncio.sleep(self.chance.random() * self.weather.latency)
        listener = self._listening.get(port)
        if listener is None or not listener.answers:
            raise ConnectionRefusedError("connection refused")
        near, far = Wire(self, CURRENT.get()), Wire(self, listener.process)
        near.far, far.far = far, near
        protocol = factory()
        near.attach(protocol)
        far.later(far.attach_new, listener.factory)
        return near, protocol


class _FakeSocket:
    """What code asks of a listening socket."""

    def __init__(self, port: int) -> None:
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def setsockopt(self, *_args: object) -> None:
        """Nothing to set."""


class _Listener(asyncio.AbstractServer):
    def __init__(self, port: int, factory: Callable[[], asyncio.BaseProtocol], process: Process | None) -> None:
        self.factory = factory
        self.process = process
        self.open = True
        self.sockets = (_FakeSocket(port),)

    @property
    def answers(self) -> bool:
        return self.open and (self.process is None or self.process.alive)

    def close(self) -> None:
        self.open = False

    async def wait_closed(self) -> None:
        """Nothing outlives it."""

    async def start_serving(self) -> None:
        """It serves from the start."""

    async def serve_forever(self) -> None:
        await asyncio.get_running_loop().create_future()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def is_serving(self) -> bool:
        return self.open


class Wire(asyncio.Transport):
    """One end of a connection, in one process."""

    far: "Wire"

    def __init__(self, network: Network, process: Process | None) -> None:
        super().__init__()
        self._network = network
        self._process = process
        self._protocol: asyncio.BaseProtocol | None = None
        self._arrives_at = 0.0
        self._reading = True
        self._arrived: deque[bytes | None] = deque()  # and not read yet; None: the far end will write no more
        self.closed = False
        if process is not None:
            process.at_death.append(self._died)

    def attach(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._run(protocol.connection_made, self)

    def attach_new(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        if not self.closed:
            self.attach(factory())

    def later(self, call: Callable[..., object], *args: Any) -> None:
        """Run ``call`` in this end's process when what was sent before it has arrived."""
        network = self._network
        delay = network.chance.random() * network.weather.latency
        self._arrives_at = max(self._arrives_at + IN_TURN, network.loop.time() + delay)
        context = contextvars.Context()
        context.run(CURRENT.set, self._process)
        network.loop.call_at(self._arrives_at, call, *args, context=context)

    # asyncio.Transport

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        if self.closed or not data:
            return
        network = self._network
        if network.chance.random() < network.weather.breaks:
            self._break()
            return
        left = bytes(data)
        while left:
            size = network.chance.choice(_PIECES)
            self.far.later(self.far.arrive, left[:size])
            left = left[size:]

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.far.later(self.far.end)
            self._lose(None)

    def abort(self) -> None:
        if not self.closed:
            self._break()

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The network takes what it is given."""

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._run(self._read)

    def is_reading(self) -> bool:
        return self._reading

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    # What happens to it.

    def arrive(self, data: bytes) -> None:
        self._arrived.append(data)
        self._read()

    def end(self) -> None:
        self._arrived.append(None)
        self._read()

    def _read(self) -> None:
        """Hand on what has arrived, in its order, for as long as the protocol reads."""
        while self._arrived and self._reading and not self.closed:
            data, protocol = self._arrived.popleft(), self._protocol
            if data is None:
                # A close, unless the protocol wants to go on writing.
                if not isinstance(protocol, asyncio.Protocol | asyncio.BufferedProtocol) or not protocol.eof_received():
                    self.close()
            elif isinstance(protocol, asyncio.BufferedProtocol):
                while data:
                    room = memoryview(protocol.get_buffer(len(data)))
                    size = min(len(room), len(data))
                    room[:size] = data[:size]
                    protocol.buffer_updated(size)
                    data = data[size:]
            elif isinstance(protocol, asyncio.Protocol):
                protocol.data_received(data)

    def reset(self) -> None:
        if not self.closed:
            self.closed = True
            self._lose(ConnectionResetError("connection reset"))

    def _break(self) -> None:
        self.closed = True
        self.far.later(self.far.reset)
        self._lose(ConnectionResetError("connection lost"))

    def _died(self) -> None:
        if not self.closed:
            self.closed = True
            self.far.later(self.far.reset)

    def _lose(self, error: Exception | None) -> None:
        if self._protocol is not None:
            self._run(self._protocol.connection_lost, error)

    def _run(self, call: Callable[..., object], *args: Any) -> None:
        context = contextvars.copy_context()
        context.run(CURRENT.set, self._process)
        self._network.loop.call_soon(call, *args, context=context)
