"""The durable queue: what goes first, what survives, what happens once."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hilum.errors import Rejected
from hilum.inference.adapters.contracts import message_of, task_of
from hilum.inference.adapters.state import SqlTaskQueue
from hilum.inference.adapters.tables import METADATA
from hilum.inference.domain import Input, Task, Urgency
from hilum.inference.ports import HELD_FOR, QueuedTask
from hilum.store.sql import SqlStore, open_sqlite

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def task(number: int, urgency: Urgency = Urgency.ROUTINE, due: int | None = None) -> Task:
    return Task(
        task_id=f"task-{number}",
        case_id="case",
        site="site",
        study_instance_uid="1.2",
        algorithm="bright-spot",
        algorithm_version="1.0.0",
        package_digest="",
        policy_revision=3,
        revision=1,
        urgency=urgency,
        created_at=NOW,
        due_at=NOW + timedelta(minutes=due) if due is not None else None,
        inputs=(Input("1.2.3", "1.2.4", "1.2.5", "instances/a.dcm", b"\x01\x02"),),
    )


_NUMBERS = count()


class Queue:
    def __init__(self, path: Path) -> None:
        self.now = NOW
        self._path = path
        self.store: SqlStore = open_sqlite(path, METADATA)

    async def run(self, work: Callable[[SqlTaskQueue], Any]) -> Any:
        return await self.store.transact(lambda transaction: work(SqlTaskQueue(transaction.connection)))

    async def add(self, *tasks: Task) -> list[bool]:
        return [
            await self.run(lambda queue, one=one: queue.add(QueuedTask(one, {"traceparent": "x"}, 0))) for one in tasks
        ]

    async def claim(self, holder: str = "") -> QueuedTask | None:
        """As ``holder``; by default each time as somebody else."""
        by = holder or str(next(_NUMBERS))
        return await self.run(lambda queue: queue.claim(by, self.now))  # type: ignore[no-any-return]

    def reopen(self) -> None:
        self.store.close()
        self.store = open_sqlite(self._path, METADATA)


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    queue = Queue(tmp_path / "inference.db")
    yield queue
    queue.store.close()


async def test_the_most_urgent_goes_first_then_the_soonest_due_then_the_first_come(queue: Queue) -> None:
    await queue.add(
        task(1, Urgency.BACKFILL, due=1),
        task(2, Urgency.ROUTINE),
        task(3, Urgency.ROUTINE, due=9),
        task(4, Urgency.ROUTINE, due=5),
        task(5, Urgency.URGENT),
        task(6, Urgency.ROUTINE),
    )
    order = []
    while (claimed := await queue.claim()) is not None:
        order.append(claimed.task.task_id)
    assert order == [f"task-{number}" for number in (5, 4, 3, 2, 6, 1)]


async def test_a_task_comes_back_as_it_went_in(queue: Queue) -> None:
    await queue.add(task(1, due=4))
    claimed = await queue.claim()
    assert claimed == QueuedTask(task(1, due=4), {"traceparent": "x"}, 0)


async def test_a_known_task_is_not_added_again(queue: Queue) -> None:
    assert await queue.add(task(1), task(1)) == [True, False]
    await queue.claim()
    assert await queue.add(task(1)) == [False]
    assert await queue.run(lambda q: q.finish("task-1", NOW))
    assert await queue.add(task(1)) == [False]


async def test_a_task_is_finished_once(queue: Queue) -> None:
    await queue.add(task(1))
    await queue.claim()
    assert await queue.run(lambda q: q.finish("task-1", NOW))
    assert not await queue.run(lambda q: q.finish("task-1", NOW))


async def test_what_was_in_hand_at_a_crash_waits_again(queue: Queue) -> None:
    await queue.add(task(1))
    await queue.claim()
    queue.reopen()
    assert await queue.claim() is None
    await queue.run(lambda q: q.recover())
    assert await queue.claim() is not None


async def test_a_claim_whose_answer_was_lost_is_given_again(queue: Queue) -> None:
    """Found by the seeded world: the claim committed, its performer did not hear of it and asked again."""
    await queue.add(task(1), task(2))
    first = await queue.claim("one")
    assert await queue.claim("one") == first
    await queue.run(lambda q: q.finish("task-1", NOW))
    second = await queue.claim("one")
    assert second is not None
    assert second.task.task_id == "task-2"


async def test_a_task_whose_holder_is_gone_for_long_is_given_to_another(queue: Queue) -> None:
    """Found by the seeded world: one of two processes died with a task in hand."""
    await queue.add(task(1))
    await queue.claim("one")
    queue.now = NOW + HELD_FOR - timedelta(seconds=1)
    assert await queue.claim("another") is None
    queue.now = NOW + HELD_FOR
    assert await queue.claim("another") is not None
    await queue.run(lambda q: q.give_back("task-1", "one", died=False))
    assert await queue.claim("third") is None


async def test_a_worker_that_died_is_counted(queue: Queue) -> None:
    await queue.add(task(1))
    await queue.claim("one")
    await queue.run(lambda q: q.give_back("task-1", "another", died=True))
    assert await queue.claim() is None
    await queue.run(lambda q: q.give_back("task-1", "one", died=True))
    claimed = await queue.claim()
    assert claimed is not None
    assert claimed.deaths == 1


async def test_what_was_done_long_ago_is_forgotten(queue: Queue) -> None:
    await queue.add(task(1), task(2))
    await queue.claim()
    await queue.run(lambda q: q.finish("task-1", NOW))
    await queue.run(lambda q: q.forget(NOW))
    assert await queue.add(task(1)) == [False]
    await queue.run(lambda q: q.forget(NOW + timedelta(seconds=1)))
    assert await queue.add(task(1), task(2)) == [True, False]


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        ({"task_id": ""}, "task_id"),
        ({"case_id": " "}, "case_id"),
        ({"algorithm": ""}, "algorithm"),
        ({"urgency": "soon"}, "urgency"),
    ],
)
def test_a_task_that_lacks_what_it_needs_is_refused(change: dict[str, str], lack: str) -> None:
    message = message_of(task(1))
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(Rejected, match=lack):
        task_of(message)
