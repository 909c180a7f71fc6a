"""The dispatcher: what has just been planned is claimed in the transaction that plans it, its document with it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hilum.errors import Rejected, Unavailable
from hilum.hosting import SystemClock
from hilum.integration.adapters.dispatcher import Dispatcher, Route
from hilum.integration.adapters.documents import Documents
from hilum.integration.adapters.state import SqlTransactions
from hilum.integration.adapters.tables import METADATA
from hilum.integration.app import apply_case, plan_result
from hilum.integration.domain import plan
from hilum.integration.domain.attempt import DeliveryRecord, Failed, Landed, Outcome, Persistence
from hilum.integration.ports import Assignment
from hilum.objects.files import FileObjects
from hilum.packages import load_all
from hilum.store.sql import SqlStore, SqlTransaction, open_sqlite
from scenes.system import case_message, result_message, write_package

RIS = plan.Destination("ris", plan.Peer.RIS)


class Peer:
    """Renders what ``made`` says, and notes what it was given; ``outcome`` is what becomes of it."""

    batch = 1

    def __init__(self) -> None:
        self.made: bytes | None = b"a priority"
        self.refusal: Exception | None = None
        self.given: list[Assignment] = []
        self.outcome: Outcome = Landed(())

    def render(self, _assignment: Assignment) -> bytes | None:
        if self.refusal is not None:
            raise self.refusal
        return self.made

    async def deliver(self, assignments: Sequence[Assignment]) -> Sequence[tuple[DeliveryRecord, Outcome]]:
        self.given += assignments
        return [(assignment.record, self.outcome) for assignment in assignments]

    async def close(self) -> None: ...


class Desk:
    def __init__(self, store: SqlStore, folder: Path) -> None:
        packages = {(p.name, p.version): p for p in load_all(write_package(folder))}
        self.store, self.peer, self.clock = store, Peer(), SystemClock()
        self.transactions = SqlTransactions(store, packages, frozenset())
        route = Route(RIS, self.peer, Persistence(3, timedelta(seconds=0.05)))
        self.dispatcher = Dispatcher(route, self.transactions, self.clock, self.clock.now, "me")
        self.claims = 0
        transact = self.transactions.transact

        async def counted(work: Callable[[Any], Any]) -> Any:
            self.claims += getattr(work, "__name__", "") == "_claim"
            return await transact(work)

        self.transactions.transact = counted  # type: ignore[method-assign,assignment]

    async def plan(self) -> None:
        """As the consumer does: hear of a case and of its result, and what follows."""

        def work(transaction: SqlTransaction) -> None:
            state, now = self.transactions.state(transaction), self.clock.now()
            case, result = case_message(version=1), result_message()
            case.ClearField("algorithms")
            if state.put_case(case):
                apply_case(state, case.case_id, (RIS,), now)
            known = state.put_result(result, {})
            if known is not None:
                plan_result(state, known, (RIS,), now)
            self.dispatcher.claim_with(state, transaction.when_committed)

        await self.store.transact(work)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.dispatcher.run())
        await self.until(lambda: self.dispatcher._idle is not None)
        self.claims = 0
        yield
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = open_sqlite(tmp_path / "integration.db", METADATA)
    yield Desk(store, tmp_path / "models")
    store.close()


async def test_what_is_planned_while_nothing_is_in_hand_is_claimed_with_it(desk: Desk) -> None:
    async with desk.running():
        await desk.plan()
        assert desk.claims == 0
        await desk.until(lambda: bool(desk.peer.given))
    (given,) = desk.peer.given
    assert given.document == b"a priority"
    assert given.record.sha256 == hashlib.sha256(b"a priority").digest()
    assert given.record.holder == "me"


async def test_what_is_planned_while_nobody_waits_is_claimed_in_turn(desk: Desk) -> None:
    await desk.plan()
    async with desk.running():
        await desk.until(lambda: bool(desk.peer.given))


async def test_what_may_have_been_sent_goes_again_as_it_was(desk: Desk) -> None:
    desk.peer.outcome = Failed("ris_no_answer", in_doubt=True)
    async with desk.running():
        await desk.plan()
        await desk.until(lambda: bool(desk.peer.given))
        desk.peer.made = b"another"
        await desk.until(lambda: len(desk.peer.given) > 1)
    assert [given.document for given in desk.peer.given[:2]] == [b"a priority", b"a priority"]
    assert len({given.record.object_key for given in desk.peer.given}) == 1


@pytest.mark.parametrize("refusal", [None, Rejected("order_without_source", ""), ValueError()])
async def test_what_cannot_be_made_with_the_claim_is_left_to_the_delivery(
    desk: Desk, refusal: Exception | None
) -> None:
    desk.peer.made, desk.peer.refusal = None, refusal
    async with desk.running():
        await desk.plan()
        await desk.until(lambda: bool(desk.peer.given))
    assert (desk.peer.given[0].document, desk.peer.given[0].record.object_key) == (None, "")


class AwayAtFirst(FileObjects):
    """The object store that is away for a moment."""

    tries = 0

    def put(self, key: str, data: bytes | memoryview) -> None:
        self.tries += 1
        if self.tries == 1:
            raise Unavailable("objects_unavailable", "")
        super().put(key, data)


async def test_a_document_of_the_state_is_stored_after_it_was_sent_however_long_that_takes(
    desk: Desk, tmp_path: Path
) -> None:
    async with desk.running():
        await desk.plan()
        await desk.until(lambda: bool(desk.peer.given))
    objects = AwayAtFirst(tmp_path / "objects")
    documents, (given,) = Documents(objects, desk.transactions), desk.peer.given

    async def render() -> bytes:
        raise AssertionError("it is rendered already")

    record, data = await documents.of(given.record, render, given.document)
    assert (record, data) == (given.record, b"a priority")
    assert not objects.exists(record.object_key)
    await documents.store(record, data)
    again, read = await documents.of(replace(given.record), render)
    assert (objects.tries, again, read) == (2, record, b"a priority")
