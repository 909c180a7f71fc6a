"""What the seeded world found and no unit test of a service can show: it takes two processes."""

import asyncio
from random import Random

from hilum.inference.adapters.contracts import codes_of, engine_spec
from hilum.inference.adapters.state import SqlTaskQueue, SqlTransactions
from hilum.inference.adapters.tables import METADATA
from hilum.inference.app import Inference
from hilum.inference.domain import Input, Task, Urgency
from hilum.inference.ports import QueuedTask
from hilum.simulator.world.clock import BEGINNING, SimulatedClock
from hilum.simulator.world.database import Databases
from hilum.simulator.world.history import History
from hilum.simulator.world.loop import SimulatedLoop
from hilum.simulator.world.workers import SimulatedWorkers
from hilum.simulator.world.world import packages

ALPHA = packages()[0]
TASK = Task(
    task_id="task",
    case_id="case",
    site="site",
    study_instance_uid="1.2",
    algorithm=ALPHA.name,
    algorithm_version=ALPHA.version,
    package_digest=ALPHA.digest,
    policy_revision=1,
    revision=1,
    urgency=Urgency.ROUTINE,
    created_at=BEGINNING,
    due_at=None,
    inputs=(Input("1.2.3", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.4", "instances/1.2/1.2.3.dcm"),),
)


def test_a_performer_looks_again_without_news() -> None:
    """Another process heard of the task, put it in the queue, and died before it could perform it."""
    loop = SimulatedLoop(Random(1))
    databases = Databases("performer", Random(2), History(loop))

    async def life() -> int:
        store = databases.open("inference", METADATA)
        transactions = SqlTransactions(store, codes_of(packages()))
        workers = SimulatedWorkers(packages(), Random(3), set())
        specs = tuple(map(engine_spec, packages()))
        inference = Inference(specs, workers, transactions, SimulatedClock(loop), 1)
        performing = asyncio.create_task(inference.perform("one"))
        await asyncio.sleep(1)
        await store.transact(lambda transaction: SqlTaskQueue(transaction.connection).add(QueuedTask(TASK, {}, 0)))
        await asyncio.sleep(60)
        performing.cancel()
        await asyncio.wait({performing})
        outgoing = await store.outgoing(10)
        store.close()
        return len(outgoing)

    asyncio.set_event_loop(loop)
    try:
        assert loop.run_until_complete(life()) == 1
    finally:
        asyncio.set_event_loop(None)
        databases.close()
        loop.close()
