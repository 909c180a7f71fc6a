"""Inference wired: workers, the queue, the task consumer and the gRPC server."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from opentelemetry.trace import SpanKind

from hilum.contracts import topics
from hilum.contracts.tasks.v1 import tasks_pb2
from hilum.eventlog.consumer import Consumer, Handler
from hilum.eventlog.port import Record
from hilum.grpc_serving import GrpcServer, open_door
from hilum.hosting import Platform
from hilum.inference.adapters.contracts import codes_of, engine_spec, task_of
from hilum.inference.adapters.grpc_server import inference_server
from hilum.inference.adapters.state import SqlTaskQueue, SqlTransactions
from hilum.inference.adapters.tables import METADATA
from hilum.inference.adapters.wire import WorkerSetup
from hilum.inference.adapters.workers import WorkerPool
from hilum.inference.app import Inference
from hilum.inference.ports import Workers
from hilum.inference.settings import Settings
from hilum.packages import ModelPackage, load_all
from hilum.store.patience import PatientStore
from hilum.store.relay import relay
from hilum.store.sql import SqlTransaction
from hilum.telemetry import headers_of_current_context, span


class WorkerProcesses(Workers, Protocol):
    """Workers that are started and ended with the service."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class InferenceService:
    """What the engine sees, and what it says."""

    name = "inference"

    def __init__(
        self, settings: Settings, platform: Platform, packages: Sequence[ModelPackage], workers: WorkerProcesses
    ) -> None:
        self._settings = settings
        self._platform = platform
        self._packages = packages
        self.workers = workers
        self.grpc_port = 0

    async def serve(self, ready: Callable[[], None]) -> None:
        platform = self._platform
        await self.workers.start()
        store = platform.open_store(self.name, METADATA)
        try:
            transactions = SqlTransactions(PatientStore(store, platform.clock, self.name), codes_of(self._packages))
            inference = Inference(
                tuple(map(engine_spec, self._packages)),
                self.workers,
                transactions,
                platform.clock,
                self._settings.requests_waiting,
                timedelta(seconds=3 * self._settings.task_seconds),
            )
            await inference.recover()

            def handle(transaction: SqlTransaction, record: Record) -> None:
                with span("inference hears a task", SpanKind.CONSUMER, headers=record.event.headers):
                    task = task_of(tasks_pb2.Task.FromString(record.event.value))
                    inference.accept(SqlTaskQueue(transaction.connection), task, headers_of_current_context())

            def assign(transaction: SqlTransaction) -> None:
                inference.assign(SqlTaskQueue(transaction.connection), transaction.when_committed)

            handlers: dict[str, Handler[SqlTransaction]] = {topic.name: handle for topic in topics.TASKS.values()}
            consumer = Consumer(platform.log, store, self.name, handlers, platform.clock, after=assign)
            async with open_door(self._door(inference)), asyncio.TaskGroup() as group:
                group.create_task(consumer.run(), name="inference consumer")
                group.create_task(relay(store, platform.log, platform.clock), name="inference relay")
                for number in range(self._settings.workers):
                    group.create_task(inference.perform(platform.ids.new()), name=f"inference performer {number}")
                ready()
        finally:
            await self.workers.close()
            store.close()

    def _door(self, inference: Inference) -> GrpcServer | None:
        settings = self._settings
        if settings.grpc_port is None:
            return None
        address = f"{settings.grpc_host}:{settings.grpc_port}"
        server = inference_server(inference, address, settings.message_mib * 1024 * 1024, settings.drain_seconds)
        self.grpc_port = server.port
        return server


def build(settings: Settings, platform: Platform) -> InferenceService:
    """Raises Rejected when a package does not hold."""
    packages = load_all(platform.packages_folder)
    setup = WorkerSetup(
        specs=tuple(map(engine_spec, packages)),
        objects_folder=str(platform.objects_folder.resolve()),
        threads=settings.threads,
        memory_bytes=settings.worker_memory_mib * 1024 * 1024,
    )
    return InferenceService(settings, platform, packages, WorkerPool(setup, settings.workers, settings.task_seconds))
