"""What storing an instance needs from outside."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ParamSpec, Protocol

from hilum.imaging.domain import Arrival, Held, Refusal

Arguments = ParamSpec("Arguments")


class Objects(Protocol):
    """Of `hilum.objects.port.Objects`, what is used here. Blocking."""

    def put(self, key: str, data: bytes | memoryview) -> None: ...


class Index(Protocol):
    """What is held under a SOP Instance UID. A projection of the topic `instances`, which is authoritative."""

    async def held(self, sop_instance_uid: str) -> Sequence[Held]:
        """Every data set of this UID whose event is in the log, be it this process's or another's."""

    def note(self, sop_instance_uid: str, held: Held) -> None:
        """Remember what was just appended until the projection has caught up."""

    async def make_room(self) -> None:
        """Before more is appended. Raises `hilum.errors.Overloaded` (`index_behind`) where too much waits already."""


class Journal(Protocol):
    """The log, in imaging's terms. Each returns once its event is durable, or raises `Unavailable`."""

    async def stored(self, arrival: Arrival, object_key: str, reason: str) -> None:
        """``arrival`` is held under ``object_key``; ``reason`` says why it is no input, empty when it is."""

    async def refused(self, refusal: Refusal, object_key: str) -> str:
        """``refusal`` is kept under ``object_key`` as a dead letter. Returns the identity of its event."""

    def identity(self, arrival: Arrival) -> str:
        """The identity that the event of ``arrival`` has, or will have."""


class Waiting(Protocol):
    """How the use cases wait: on an event loop, or in threads that may block."""

    async def blocking(
        self, work: Callable[Arguments, None], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> None:
        """Have blocking work done, and return when it is."""

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        """One at a time for ``key``."""
