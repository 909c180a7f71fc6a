"""The service on the real log and the real store: events in, events out, restarts, and cases that fail."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.message import Message

from hilum.contracts import topics
from hilum.contracts.cases.v1.cases_pb2 import CaseState
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.contracts.tasks.v1.tasks_pb2 import Task
from hilum.errors import Rejected
from hilum.eventlog.port import Event, Record, TopicPartition, event_of
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hosting import Platform
from hilum.objects.files import FileObjects
from hilum.site import Site
from hilum.store.sql import SqlStore, open_sqlite
from hilum.workflow.app import Workflow
from hilum.workflow.service import WorkflowService, build
from hilum.workflow.settings import Settings
from scenes.models import write_package
from scenes.workflow import DETECTOR, SITE, Said, image, order, result

QUICK = Site.model_validate(
    {
        "site": "site",
        "completeness": {"settle_seconds": 0.2, "quiet_seconds": 0.6},
        "matching": {"order_wait_seconds": 1.0, "image_wait_seconds": 1.0},
    }
)
_TOPIC_OF = {Order: topics.ORDERS, Instance: topics.INSTANCES, Policy: topics.POLICIES}


class System:
    """A log and a state that outlive the service, as across restarts."""

    def __init__(self, folder: Path, site: Site = QUICK) -> None:
        self.log = SqliteEventLog(folder / "log.db")
        self.log.open()

        def open_store(service: str, tables: sa.MetaData) -> SqlStore:
            return open_sqlite(folder / "state" / f"{service}.db", tables)

        self.platform = Platform(
            site=site,
            log=self.log,
            objects=FileObjects(folder / "objects"),
            objects_folder=folder / "objects",
            open_store=open_store,
            packages_folder=folder / "models",
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[WorkflowService]:
        installed = {(DETECTOR.name, DETECTOR.version): DETECTOR}
        service = WorkflowService(Settings(look_seconds=0.2), self.platform, installed)
        ready = asyncio.Event()
        serving = asyncio.create_task(service.serve(ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([serving, waiting], timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set()
        yield service
        assert not serving.done()
        serving.cancel()
        await asyncio.wait([serving], timeout=10)
        assert serving.cancelled()

    async def say(self, *messages: Message, event_id: str = "") -> None:
        """Append ``messages`` as the services before workflow would; images as received now."""
        for message in messages:
            if isinstance(message, Instance):
                message.received_at.GetCurrentTime()
                message.study_date = ""
            topic = _TOPIC_OF.get(type(message), topics.FINDINGS)
            identity = event_id or f"event of {message.SerializeToString().hex()}"
            await self.log.append([event_of(topic, "key", message, identity, datetime.now(UTC))])

    async def policy(self, state: str = "live", revision: int = 1) -> None:
        await self.say(
            Policy(
                algorithm=DETECTOR.name,
                algorithm_version=DETECTOR.version,
                package_digest=DETECTOR.package_digest,
                state=state,
                revision=revision,
            )
        )

    async def read(self, *names: str) -> list[Record]:
        async def beginning(_place: TopicPartition) -> int:
            return 0

        reader = await self.log.reader("test", names, beginning)
        records: list[Record] = []
        while found := await reader.fetch(1000, 0):
            records += found
        await reader.close()
        return records

    async def tasks(self) -> list[Task]:
        names = [topic.name for topic in topics.TASKS.values()]
        return [Task.FromString(record.event.value) for record in await self.read(*names)]

    async def states(self) -> list[CaseState]:
        return [CaseState.FromString(record.event.value) for record in await self.read(topics.STUDIES.name)]

    async def dispositions(self) -> set[str]:
        """What is published last of each case."""
        latest = {state.case_id: state for state in sorted(await self.states(), key=lambda state: state.version)}
        return {algorithm.disposition for state in latest.values() for algorithm in state.algorithms}

    async def until(self, disposition: str, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while disposition not in await self.dispositions():
                await asyncio.sleep(0.03)


@pytest.fixture
def system(tmp_path: Path) -> Iterable[System]:
    system = System(tmp_path)
    yield system
    system.log.close()


def said() -> list[Said]:
    return [order("o", filler="F1", accession="A1", control="SC", status="CM"), image("1", accession="A1")]


async def test_an_order_and_an_image_become_one_task_event(system: System) -> None:
    async with system.serving():
        await system.policy()
        await system.say(*said())
        await system.until("tasked")
        (task,) = await system.tasks()
        assert [each.sop_instance_uid for each in task.inputs] == ["1"]
        await system.say(result(task))
        await system.until("resulted")


async def test_redelivery_issues_no_second_task(system: System) -> None:
    """Under the same event ID (a relay that crashed) and under another (a replay of the same fact)."""
    async with system.serving():
        await system.policy()
        messages = said()
        await system.say(*messages)
        await system.until("tasked")
        count = len(await system.states())
        await system.say(*messages)
        await system.say(messages[0], event_id="replay 0")
        await system.say(order("marker", accession="A9"))
        await system.until("waiting")
        assert len(await system.tasks()) == 1
        assert len(await system.states()) == count + 1


async def test_the_quiet_timer_completes_without_further_events(system: System) -> None:
    async with system.serving():
        await system.policy()
        await system.say(order("o", accession="A1"), image("1", accession="A1"))
        await system.until("tasked")
    assert (await system.states())[-1].completeness.evidence == "quiet_timer"


async def test_an_order_without_images_never_arrived(system: System) -> None:
    async with system.serving():
        await system.policy()
        await system.say(order("o", accession="A1"))
        await system.until("never_arrived")
    assert await system.tasks() == []


async def test_an_unmatched_study_is_revived_by_its_late_order(system: System) -> None:
    async with system.serving():
        await system.policy()
        await system.say(image("1", accession="A1"))
        await system.until("unmatched")
        await system.say(order("o", accession="A1"))
        await system.until("tasked")
    assert len(await system.tasks()) == 1


async def test_a_policy_off_holds_tasks_back_and_live_lets_them_go(system: System) -> None:
    async with system.serving():
        await system.policy("off")
        await system.say(*said())
        await system.until("ineligible:policy_off")
        assert await system.tasks() == []
        await system.policy("live", 2)
        await system.until("tasked")


async def test_policies_are_read_to_the_end_before_the_first_decision(system: System) -> None:
    """What was stored before a stop must not decide when a later policy waits in the log."""
    async with system.serving():
        await system.policy()
    for number in range(80):
        await system.say(order(f"o{number}", filler=f"F{number}", accession=f"A{number}", control="SC", status="CM"))
    await system.say(image("1", accession="A1"))
    await asyncio.sleep(0.3)
    await system.policy("off", 2)
    async with system.serving():
        await system.until("ineligible:policy_off")
        await asyncio.sleep(0.5)
    assert await system.tasks() == []


async def test_a_restart_goes_on_where_it_was(system: System) -> None:
    async with system.serving():
        await system.policy()
        await system.say(order("o", accession="A1"))
        await system.until("waiting")
    await system.say(image("1", accession="A1"))
    async with system.serving():
        await system.until("tasked")
    async with system.serving():
        await asyncio.sleep(0.3)
    assert len(await system.tasks()) == 1
    assert len({state.case_id for state in await system.states()}) == 1


async def test_time_that_passed_while_it_was_down_counts(system: System) -> None:
    async with system.serving():
        await system.policy()
        await system.say(image("1", accession="A1"))
        await system.until("waiting")
    await asyncio.sleep(1.1)
    async with system.serving():
        await system.until("unmatched")


async def test_an_event_that_is_no_message_is_a_dead_letter_and_harms_nothing(system: System) -> None:
    bad = Event(topics.ORDERS.name, "key", topics.ORDERS.type, b"\xff\xff\xff", "bad", datetime.now(UTC))
    await system.log.append([bad])
    async with system.serving():
        await system.policy()
        await system.say(*said())
        await system.until("tasked")
        async with asyncio.timeout(10):
            while not (found := await system.read(topics.DEAD_LETTERS.name)):
                await asyncio.sleep(0.05)
    assert DeadLetter.FromString(found[0].event.value).event_id == "bad"


async def test_a_case_that_cannot_be_decided_holds_up_no_other(
    system: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = Workflow.decide
    broken: set[str] = set()

    def decide(self: Workflow, book: Any, case_id: str, now: datetime) -> None:
        if not broken:
            broken.add(case_id)
        if case_id in broken and mended == []:
            raise ValueError("DOE^JANE")
        real(self, book, case_id, now)

    mended: list[bool] = []
    monkeypatch.setattr(Workflow, "decide", decide)
    monkeypatch.setattr("hilum.workflow.service._RETRY_SECONDS", (0.2,))
    async with system.serving():
        await system.policy()
        await system.say(order("first", filler="F7", accession="A7", control="SC", status="CM"))
        async with asyncio.timeout(10):
            while not broken:
                await asyncio.sleep(0.03)
        await system.say(*said())
        await system.until("tasked")
        (case_id,) = broken
        assert case_id not in {state.case_id for state in await system.states()}
        mended.append(True)
        async with asyncio.timeout(10):
            while case_id not in {state.case_id for state in await system.states()}:
                await asyncio.sleep(0.05)
    assert "was not decided (ValueError)" in caplog.text
    assert "DOE" not in caplog.text


async def test_one_trace_leads_from_the_order_to_the_task(system: System) -> None:
    parent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    async with system.serving():
        await system.policy()
        await system.say(order("o", filler="F1", accession="A1", control="SC", status="CM"))
        await system.until("waiting")
        arrived = image("1", accession="A1")
        arrived.received_at.GetCurrentTime()
        traced = event_of(topics.INSTANCES, "1.2", arrived, "traced", datetime.now(UTC))
        await system.log.append([traced._replace(headers=parent)])
        await system.until("tasked")
    (record,) = await system.read(*(topic.name for topic in topics.TASKS.values()))
    assert record.event.headers["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"


def test_packages_become_algorithms(tmp_path: Path) -> None:
    rules = {
        "study": [{"id": "modality", "field": "order.modality", "op": "in", "value": ["CR", "DX"], "missing": "pass"}],
        "instance": [
            {"id": "adult", "field": "dicom.PatientAgeYears", "op": "at_least", "value": 18, "missing": "fail"}
        ],
    }
    write_package(tmp_path / "models" / "bright-spot", eligibility=rules)
    system = System(tmp_path)
    service = build(Settings(), system.platform)
    system.log.close()
    (algorithm,) = service._installed.values()
    assert (algorithm.name, algorithm.version, algorithm.useful_for.total_seconds()) == ("bright-spot", "1.0.0", 3600)
    assert [(rule.op, rule.value, rule.missing_passes) for rule in algorithm.study_rules] == [
        ("in", ("CR", "DX"), True)
    ]
    assert [(rule.op, rule.value, rule.missing_passes) for rule in algorithm.instance_rules] == [
        ("at_least", 18, False)
    ]


def test_a_package_that_does_not_hold_stops_the_build(tmp_path: Path) -> None:
    write_package(tmp_path / "models" / "bright-spot", use="magic")
    system = System(tmp_path, SITE)
    with pytest.raises(Rejected):
        build(Settings(), system.platform)
    system.log.close()
