"""Work on state that waits for its database: what a full disk costs is time, never the service."""

import logging
from collections.abc import Callable
from typing import TypeVar

from hilum.clock import Clock
from hilum.errors import Unavailable
from hilum.store.sql import SqlStore, SqlTransaction

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)


class PatientStore:
    """`SqlStore.transact`, again and again while the database is away. For the loops of a service, not for callers
    who are owed an answer in time.
    """

    def __init__(self, store: SqlStore, clock: Clock, name: str) -> None:
        """``name`` tells in the log whose work waits."""
        self._store = store
        self._clock = clock
        self._name = name

    async def transact(self, work: Callable[[SqlTransaction], _T]) -> _T:
        """As `SqlStore.transact`, but raises `Unavailable` only for a store that was closed."""
        failures = 0
        while True:
            try:
                done = await self._store.transact(work)
            except Unavailable as error:
                if error.code == "store_closed":
                    raise
                if failures == 0:
                    _LOG.warning("%s waits: %s", self._name, error.code)
                await self._clock.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
                failures += 1
                continue
            if failures:
                _LOG.info("%s goes on", self._name)
            return done
