"""Who performs what has just been accepted: a performer that waits is given it in the transaction that accepts it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from hilum.hosting import SystemClock
from hilum.inference.adapters.state import SqlTaskQueue, SqlTransactions
from hilum.inference.adapters.tables import METADATA
from hilum.inference.app import Inference
from hilum.inference.domain import Finding, Input, Task, Urgency
from hilum.inference.engines.port import Tensor
from hilum.inference.ports import InferTensors, Lease, LoadedModel, ModelKey, ReadImages
from hilum.store.sql import SqlStore, SqlTransaction, open_sqlite

NOW = SystemClock().now()


class Workers:
    """``free`` of them can be leased at once; what is asked of them takes until the test ends."""

    models: Mapping[ModelKey, LoadedModel] = {}

    def __init__(self) -> None:
        self.free = 2

    @asynccontextmanager
    async def lease(self, *, at_most_waiting: int | None = None) -> AsyncIterator[Lease]:
        self.free -= 1
        yield self
        self.free += 1

    async def read(self, job: ReadImages) -> Sequence[Finding]:
        raise NotImplementedError(job)

    async def infer(self, job: InferTensors) -> Mapping[str, Tensor]:
        raise NotImplementedError(job)


class Desk:
    """Inference over a real store, and how many transactions it took."""

    def __init__(self, store: SqlStore) -> None:
        self.store, self.workers = store, Workers()
        self.inference = Inference((), self.workers, SqlTransactions(store, {}), SystemClock(), 1)
        self.performed: list[str] = []
        self.claims = 0
        conclude, on_queue = self.inference._transactions.conclude, self.inference._transactions.on_queue

        async def concluded(outcome: object) -> None:
            self.performed.append(outcome.task.task_id)  # type: ignore[attr-defined]
            await conclude(outcome)  # type: ignore[arg-type]

        async def counted(work: object) -> object:
            self.claims += 1
            return await on_queue(work)  # type: ignore[arg-type,return-value]

        self.inference._transactions.conclude = concluded  # type: ignore[method-assign]
        self.inference._transactions.on_queue = counted  # type: ignore[method-assign,assignment]

    async def accept(self, *numbers: int) -> None:
        def work(transaction: SqlTransaction) -> None:
            queue = SqlTaskQueue(transaction.connection)
            for number in numbers:
                self.inference.accept(queue, task(number), {})
            self.inference.assign(queue, transaction.when_committed)

        await self.store.transact(work)

    @asynccontextmanager
    async def performing(self, performers: int) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.inference.perform(f"performer {number}")) for number in range(performers)]
        while len(self.inference._idle) < performers:
            await asyncio.sleep(0.001)
        self.claims = 0
        yield
        for one in tasks:
            one.cancel()
        await asyncio.wait(tasks)

    async def until_performed(self, *numbers: int) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(3):  # sooner than a performer looks by itself
                while len(self.performed) < len(numbers):
                    await asyncio.sleep(0.001)
        assert sorted(self.performed) == [f"task-{number}" for number in numbers]


def task(number: int) -> Task:
    return Task(
        task_id=f"task-{number}",
        case_id="case",
        site="site",
        study_instance_uid="1.2",
        algorithm="not-installed",
        algorithm_version="1.0.0",
        package_digest="",
        policy_revision=1,
        revision=1,
        urgency=Urgency.ROUTINE,
        created_at=NOW,
        due_at=None,
        inputs=(Input("1.2.3", "1.2.4", "1.2.5", "instances/a.dcm", b"\x01"),),
    )


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = open_sqlite(tmp_path / "inference.db", METADATA)
    yield Desk(store)
    store.close()


async def test_one_that_waits_is_given_the_task_without_a_transaction_of_its_own(desk: Desk) -> None:
    async with desk.performing(1):
        await desk.accept(1)
        assert desk.claims == 0
        await desk.until_performed(1)


async def test_each_that_waits_is_given_one_and_the_rest_is_claimed_in_turn(desk: Desk) -> None:
    async with desk.performing(2):
        await desk.accept(1, 2, 3, 4, 5)
        await desk.until_performed(1, 2, 3, 4, 5)


async def test_without_a_free_worker_the_task_stays_in_the_queue_and_word_is_left(desk: Desk) -> None:
    """What arrives until a worker is free may be more urgent."""
    async with desk.performing(1):
        desk.workers.free = 0
        await desk.accept(1)
        await desk.until_performed(1)
        assert desk.claims


async def test_one_that_waits_is_not_given_what_was_rolled_back(desk: Desk) -> None:
    async with desk.performing(1):

        def undone(transaction: SqlTransaction) -> None:
            queue = SqlTaskQueue(transaction.connection)
            desk.inference.accept(queue, task(1), {})
            desk.inference.assign(queue, transaction.when_committed)
            raise ValueError("undone")

        with pytest.raises(ValueError, match="undone"):
            await desk.store.transact(undone)
        await desk.accept(1)
        await desk.until_performed(1)
