"""Events made by hand, told through the real log to the real ledger."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.message import Message

from hilum.contracts import topics
from hilum.contracts.cases.v1.cases_pb2 import AlgorithmState, CaseState, RuleOutcome
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.contracts.deliveries.v1.deliveries_pb2 import Delivery, Proof
from hilum.contracts.findings.v1.findings_pb2 import Finding, Result
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.patients.v1.patients_pb2 import Identifier, Patient
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.contracts.tasks.v1.tasks_pb2 import Input, Task
from hilum.eventlog.consumer import Consumer
from hilum.eventlog.port import event_of
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hosting import SystemClock
from hilum.ledger.adapters.alarms import SqlAlarms
from hilum.ledger.adapters.projection import Projection
from hilum.ledger.adapters.stored import StoredObjects
from hilum.ledger.adapters.tables import METADATA
from hilum.ledger.adapters.view import GROUP, SqlView
from hilum.ledger.app import (
    Evidence,
    Reconciliation,
    list_entries,
    open_books,
    reconciled,
    watch_deliveries,
    watch_overdue,
)
from hilum.ledger.domain.entry import Entry
from hilum.ledger.domain.receipts import Receipt
from hilum.ledger.ports import Selection
from hilum.objects.files import FileObjects
from hilum.store.relay import relay
from hilum.store.sql import SqlStore, SqlTransaction, open_sqlite

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
ALGORITHM, VERSION = "pneumothorax-phantom", "1.0.0"
DATA_SET = b"\x08\x00\x60\x00CS\x02\x00DX"
FILE = b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00" + (0).to_bytes(4, "little") + DATA_SET
MESSAGE = b"MSH|^~\\&|RIS|HOSPITAL|HILUM|SITE|20260302080000||ORM^O01|%s|P|2.3.1\rPID|||P1\r"


def sent(number: int) -> bytes:
    """The priority message of case ``number``, as it was rendered."""
    return f"MSH|^~\\&|HILUM|SITE|RIS|HOSPITAL|20260302||ORU^R01|H{number}|P|2.5.1\rOBX|1\r".encode()


class Story:
    """Tells events one after another, a second apart; ``landed`` and its like add what a whole case is made of."""

    def __init__(self, folder: Path, log: SqliteEventLog, store: SqlStore) -> None:
        self.folder = folder
        self.log = log
        self.store = store
        self.objects = FileObjects(folder / "objects")
        self.now = START
        self._count = 0
        self._complete: dict[str, datetime] = {}

    async def tell(self, topic: topics.Topic, key: str, message: Message) -> str:
        self._count += 1
        self.now += timedelta(seconds=1)
        event_id = f"event-{self._count}"
        await self.log.append([event_of(topic, key, message, event_id, self.now)])
        return event_id

    async def heard(self) -> None:
        """Until the ledger has read all that was told."""
        keep = Projection(frozenset({"HILUM"})).handlers
        consumer: Consumer[SqlTransaction] = Consumer(self.log, self.store, GROUP, keep, SystemClock())
        tasks = [asyncio.create_task(consumer.run()), asyncio.create_task(relay(self.store, self.log, SystemClock()))]
        while consumer.caught_up_at is None and not tasks[0].done():
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What others tell.

    async def message(
        self,
        control_id: str = "M1",
        kind: bytes = b"ORM^O01",
        sender: bytes = b"RIS",
        code: str = "AA",
        *,
        kept: bool = True,
    ) -> str:
        payload = MESSAGE.replace(b"ORM^O01", kind).replace(b"|RIS|", b"|" + sender + b"|") % control_id.encode()
        raw = RawMessage(
            feed="site|RIS|HOSPITAL",
            message_control_id=control_id,
            payload=payload,
            sha256=hashlib.sha256(payload).digest(),
            acknowledgement_code=code,
            reason="" if code == "AA" else "segment_missing",
        )
        event_id = await self.tell(topics.MESSAGES, raw.feed, raw)
        if code != "AA" and kept:
            await self.dead_letter(event_id)
        return event_id

    def order_of(self, message_id: str, accession: str = "A1", status: str = "SC", study: str = "") -> Order:
        return Order(
            site="site",
            message_id=message_id,
            message_type="ORM^O01",
            order_control="NW",
            order_status=status,
            placer_order_number=Identifier(value=f"PL-{accession}"),
            accession_number=Identifier(value=accession),
            study_instance_uid=study,
            modality="DX",
            priority="R",
            patient=Patient(identifiers=[Identifier(value="P1", type_code="MR")]),
        )

    async def order(self, accession: str = "A1", status: str = "SC", study: str = "") -> Order:
        order = self.order_of(await self.message(f"M-{accession}-{status}"), accession, status, study)
        await self.tell(topics.ORDERS, "site|RIS|HOSPITAL", order)
        return order

    async def image(self, study: str = "1.2.3", number: int = 1, accession: str = "A1", file: bytes = FILE) -> Instance:
        key = f"instances/{study}/{study}.{number}.dcm"
        self.objects.put(key, file)
        instance = Instance(
            study_instance_uid=study,
            sop_instance_uid=f"{study}.{number}",
            object_key=key,
            sha256=hashlib.sha256(DATA_SET).digest(),
            size_bytes=len(DATA_SET),
            accession_number=Identifier(value=accession),
        )
        instance.received_at.FromDatetime(self.now + timedelta(seconds=0.5))
        await self.tell(topics.INSTANCES, study, instance)
        return instance

    async def policy(self) -> None:
        policy = Policy(algorithm=ALGORITHM, algorithm_version=VERSION, state="live", revision=1)
        policy.at.FromDatetime(START)
        await self.tell(topics.POLICIES, ALGORITHM, policy)

    async def case(
        self,
        disposition: str,
        *,
        case_id: str = "case-1",
        version: int = 1,
        study: str = "1.2.3",
        orders: tuple[Order, ...] = (),
        instance_count: int = 1,
        result_id: str = "",
        due_after: timedelta | None = None,
        rules: tuple[RuleOutcome, ...] = (),
        report_status: str = "",
    ) -> None:
        state = CaseState(
            case_id=case_id,
            version=version,
            study_instance_uid=study,
            patient=Patient(identifiers=[Identifier(value="P1", type_code="MR")]),
            orders=orders,
            instance_count=instance_count,
            report_status=report_status,
        )
        if orders:
            state.accession_number.CopyFrom(orders[0].accession_number)
        state.opened_at.FromDatetime(START)
        algorithm = AlgorithmState(
            algorithm=ALGORITHM,
            algorithm_version=VERSION,
            disposition=disposition,
            result_id=result_id,
            revision=1,
            rules=rules,
        )
        algorithm.changed_at.FromDatetime(self.now)
        if due_after is not None:
            algorithm.due_at.FromDatetime(self.now + due_after)
        if disposition in ("resulted", "tasked"):
            state.completeness.complete = True
            state.completeness.evidence, state.completeness.detail = "order_status", "CM"
            state.completeness.decided_at.FromDatetime(self._complete.setdefault(case_id, self.now))
        state.algorithms.append(algorithm)
        await self.tell(topics.STUDIES, case_id, state)

    async def task(self, task_id: str = "task-1", case_id: str = "case-1") -> None:
        task = Task(
            task_id=task_id,
            case_id=case_id,
            algorithm=ALGORITHM,
            algorithm_version=VERSION,
            revision=1,
            urgency="routine",
            inputs=[Input(sop_instance_uid="1.2.3.1")],
        )
        await self.tell(topics.TASKS_ROUTINE, case_id, task)

    async def result(self, result_id: str = "result-1", task_id: str = "task-1", case_id: str = "case-1") -> None:
        finding = Finding(finding="pneumothorax", state="present", probability=0.93, threshold=0.5)
        result = Result(
            result_id=result_id,
            task_id=task_id,
            case_id=case_id,
            algorithm=ALGORITHM,
            algorithm_version=VERSION,
            outcome="resulted",
            findings=[finding],
        )
        await self.tell(topics.FINDINGS, case_id, result)

    async def delivery(
        self,
        state: str,
        *,
        delivery_id: str = "delivery-1",
        kind: str = "priority",
        destination: str = "ris",
        proof: dict[str, str] | None = None,
        sent: bytes = b"",
        case_id: str = "case-1",
        revision: int = 1,
        reason: str = "",
    ) -> None:
        if sent:
            self.objects.put(f"deliveries/{delivery_id}", sent)
        delivery = Delivery(
            delivery_id=delivery_id,
            destination=destination,
            kind=kind,
            case_id=case_id,
            algorithm=ALGORITHM,
            algorithm_version=VERSION,
            revision=revision,
            state=state,
            reason=reason,
            attempts=1,
            proofs=[Proof(name=name, value=value) for name, value in (proof or {}).items()],
            sha256=hashlib.sha256(sent).digest(),
            object_key=f"deliveries/{delivery_id}" if sent else "",
            priority="S" if kind == "priority" else "",
        )
        delivery.at.FromDatetime(self.now)
        await self.tell(topics.DELIVERIES, case_id, delivery)

    async def dead_letter(
        self,
        of_event: str,
        topic: str = "messages",
        state: str = "kept",
        *,
        group: str = "ingest",
        held: Message | None = None,
        reason: str = "segment_missing",
    ) -> None:
        letter = DeadLetter(
            dead_letter_id=f"letter-{of_event}",
            group=group,
            topic=topic,
            key="site|RIS|HOSPITAL",
            type=topics.BY_NAME[topic].type,
            event_id=of_event,
            value=(held or RawMessage(payload=b"what it choked on")).SerializeToString(),
            reason=reason,
            text="the message holds no ORC segment",
            attempts=1,
            state=state,
        )
        letter.at.FromDatetime(self.now)
        await self.tell(topics.DEAD_LETTERS, letter.dead_letter_id, letter)

    async def resulted_case(self, accession: str = "A1", study: str = "1.2.3", number: int = 1) -> None:
        """An order, its image, its result, and a priority that landed."""
        case_id = f"case-{number}"
        await self.policy()
        order = await self.order(accession, "CM", study)
        await self.image(study, accession=accession)
        await self.case("tasked", case_id=case_id, study=study, orders=(order,), due_after=timedelta(minutes=10))
        await self.task(f"task-{number}", case_id)
        await self.result(f"result-{number}", f"task-{number}", case_id)
        await self.case(
            "resulted", case_id=case_id, version=2, study=study, orders=(order,), result_id=f"result-{number}"
        )
        proof = {"message_control_id": f"H{number}", "acknowledgement_code": "AA"}
        delivery = f"delivery-{number}"
        await self.delivery("planned", delivery_id=delivery, case_id=case_id)
        await self.delivery("landed", delivery_id=delivery, case_id=case_id, proof=proof, sent=sent(number))

    # What is asked of the ledger.

    async def entries(self, selection: Selection | None = None) -> list[Entry]:
        wanted = selection or Selection()
        page = await self.store.transact(lambda tx: list_entries(SqlView(tx.connection), wanted, self.now))
        return list(page.entries)

    async def view(self, ask):  # type: ignore[no-untyped-def]
        return await self.store.transact(lambda tx: ask(SqlView(tx.connection)))

    async def watch(self) -> int:
        raised, _ = await self.store.transact(lambda tx: watch_overdue(SqlAlarms(tx), self.now))
        return len(raised)

    async def watch_deliveries(self, patience: timedelta) -> list[str]:
        raised = await self.store.transact(lambda tx: watch_deliveries(SqlAlarms(tx), self.now, patience))
        return [delivery.delivery_id for delivery in raised]

    async def reconcile(
        self, receipts: list[Receipt] | None = None, destinations: tuple[str, ...] = ()
    ) -> Reconciliation:
        heads = await self.log.heads([topic.name for topic in topics.ALL])
        places = {(place.topic, place.partition): offset for place, offset in heads.items()}
        evidence = Evidence([ALGORITHM], places, receipts, self.now, destinations=destinations)
        books = await self.view(open_books)
        return reconciled(books, StoredObjects(self.objects), evidence)

    async def broken(self, receipts: list[Receipt] | None = None, destinations: tuple[str, ...] = ()) -> set[str]:
        """The names of the checks that do not hold."""
        return {check.name for check in (await self.reconcile(receipts, destinations)).checks if not check.holds}


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    log = SqliteEventLog(tmp_path / "log.db")
    log.open()
    store = open_sqlite(tmp_path / "state" / "ledger.db", METADATA)
    yield Story(tmp_path, log, store)
    store.close()
    log.close()
