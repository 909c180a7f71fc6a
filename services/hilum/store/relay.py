"""The relay: carries a service's outbox to the log, in order, at least once (consumers drop repeats)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from hilum.clock import Clock
from hilum.errors import Unavailable
from hilum.eventlog.port import EventLog
from hilum.store.sql import Outgoing

_LOG = logging.getLogger(__name__)
_BATCH = 256
_RETRY_SECONDS = 1.0
_IDLE_SECONDS = 1.0  # without news: what was relayed is forgotten with the next that is published, else now


class Outbox(Protocol):
    outbox_news: asyncio.Event

    async def outgoing(self, limit: int) -> Sequence[Outgoing]:
        """The oldest events that wait."""

    async def relayed(self, through: int) -> None:
        """They are in the log up to this sequence, and may be forgotten."""

    async def forget(self) -> None:
        """Forget them now."""


async def relay(outbox: Outbox, log: EventLog, clock: Clock) -> None:
    """Run until cancelled. What a crash left in the outbox goes first."""
    outbox.outbox_news.set()
    while True:
        try:
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    await outbox.outbox_news.wait()
            except TimeoutError:
                await outbox.forget()
                # What lay behind a gap, a commit whose answer was lost say, came without a word of its own.
                if not await outbox.outgoing(1):
                    await outbox.outbox_news.wait()
            outbox.outbox_news.clear()
            while waiting := await outbox.outgoing(_BATCH):
                await log.append([outgoing.event for outgoing in waiting])
                await outbox.relayed(waiting[-1].sequence)
                if len(waiting) < _BATCH:
                    break  # what was published meanwhile has left word
        except Unavailable as error:
            _LOG.warning("the outbox waits: %s", error.code)
            outbox.outbox_news.set()
            await clock.sleep(_RETRY_SECONDS)
