"""What oversight needs: the policies as the log holds them, and its registry."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from hilum.oversight.domain import Draft, Package, Policy, Versions, Wish


class PolicyLog(Protocol):
    async def current(self) -> Mapping[str, Policy]:
        """By model name, read to the end."""

    async def write(self, drafts: Sequence[Draft], after: int, at: datetime) -> Sequence[Policy]:
        """Sign and append, with revisions that follow ``after``; returns once they are durable."""


class Registry(Protocol):
    async def register(self, packages: Sequence[Package], at: datetime) -> Versions:
        """Note the versions that are new; the digests under which each was first registered."""

    async def last_wishes(self) -> Mapping[str, Wish]: ...

    async def keep_wishes(self, wishes: Mapping[str, Wish]) -> None: ...
