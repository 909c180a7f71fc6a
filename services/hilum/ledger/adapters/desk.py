"""Where questions are answered while the ledger runs: each from one transaction of its store."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from hilum.contracts import topics
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.errors import Duplicate, Rejected
from hilum.eventlog import consumer
from hilum.hosting import Platform
from hilum.ledger.adapters.stored import StoredObjects
from hilum.ledger.adapters.view import SqlView
from hilum.ledger.app import Evidence, Page, Reconciliation, list_entries, list_worklist, open_books, reconciled
from hilum.ledger.domain.facts import DeadLetterFact
from hilum.ledger.domain.receipts import Receipt
from hilum.ledger.domain.worklist import WorklistEntry
from hilum.ledger.ports import Selection
from hilum.store.sql import SqlStore

_T = TypeVar("_T")
# Work in hand passes: look again before saying that something does not add up.
_LOOKS = 5
_PAUSE_SECONDS = 0.5


class Desk:
    def __init__(self, store: SqlStore, platform: Platform, installed: Sequence[str], in_hand_seconds: float) -> None:
        self._store = store
        self._platform = platform
        self._installed = installed
        self._in_hand = timedelta(seconds=in_hand_seconds)

    async def entries(self, selection: Selection) -> Page:
        return await self._view(lambda view: list_entries(view, selection, self._platform.clock.now()))

    async def worklist(self) -> list[WorklistEntry]:
        return await self._view(list_worklist)

    async def dead_letters(self) -> Sequence[DeadLetterFact]:
        return await self._view(lambda view: view.dead_letters())

    async def dead_letter(self, dead_letter_id: str) -> DeadLetterFact:
        """Raises `Rejected` (`dead_letter_unknown`)."""
        letter = await self._view(lambda view: view.dead_letter(dead_letter_id))
        if letter is None:
            raise unknown()
        return letter

    async def replay(self, dead_letter_id: str) -> None:
        """Send its event back. Raises as `replayable`."""
        letter = await self._view(lambda view: view.letter(dead_letter_id))
        await consumer.replay(self._platform.log, replayable(letter), self._platform.clock.now())

    async def reconcile(self, receipts: Sequence[Receipt] | None) -> Reconciliation:
        for _ in range(_LOOKS - 1):
            found = await self._reconcile(receipts)
            if found.adds_up:
                return found
            await self._platform.clock.sleep(_PAUSE_SECONDS)
        return await self._reconcile(receipts)

    async def _reconcile(self, receipts: Sequence[Receipt] | None) -> Reconciliation:
        # In this order: what is in the store and in the log now is what the ledger must know a moment later.
        stored = await asyncio.to_thread(StoredObjects, self._platform.objects)
        heads = await self._platform.log.heads([topic.name for topic in topics.ALL])
        now = self._platform.clock.now()
        evidence = Evidence(
            installed=self._installed,
            heads={(place.topic, place.partition): offset for place, offset in heads.items()},
            receipts=receipts,
            now=now,
            settled_before=now - self._in_hand,
            destinations=[name for name in ("ris", "ehr", "pacs") if getattr(self._platform.site, name) is not None],
        )
        books = await self._view(open_books)
        return await asyncio.to_thread(reconciled, books, stored, evidence)

    async def _view(self, ask: Callable[[SqlView], _T]) -> _T:
        return await self._store.transact(lambda transaction: ask(SqlView(transaction.connection)))


def is_final(letter: DeadLetter) -> bool:
    """A data set that was refused at the door: no event was given up, so that none can be sent back."""
    return letter.group == "imaging" and letter.topic == topics.INSTANCES.name


def replayable(letter: DeadLetter | None) -> DeadLetter:
    """Raises `Rejected` (`dead_letter_unknown`, `dead_letter_final`), `Duplicate` (`dead_letter_replayed`)."""
    if letter is None:
        raise unknown()
    if is_final(letter):
        raise final()
    if letter.state == "replayed":
        raise Duplicate("dead_letter_replayed", "this dead letter was sent back before")
    return letter


def unknown() -> Rejected:
    return Rejected("dead_letter_unknown", "the ledger holds no dead letter with this identity")


def final() -> Rejected:
    return Rejected(
        "dead_letter_final", "the data set was refused when it came, and no replay makes it another: have it sent again"
    )
