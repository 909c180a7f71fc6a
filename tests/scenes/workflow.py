"""A workflow without its service: contracts in, decisions out, on the real store and the real book."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

import sqlalchemy as sa

from hilum.contracts import topics
from hilum.contracts.cases.v1.cases_pb2 import CaseState
from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.patients.v1.patients_pb2 import Identifier, Patient, PatientEvent
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.contracts.reports.v1.reports_pb2 import Report
from hilum.contracts.tasks.v1.tasks_pb2 import Task
from hilum.eventlog.port import Event
from hilum.site import Site
from hilum.store.sql import SqlStore, SqlTransaction
from hilum.workflow.adapters import events
from hilum.workflow.adapters.case_book import SqlCaseBook
from hilum.workflow.app import Workflow
from hilum.workflow.domain.case import Algorithm
from hilum.workflow.domain.eligibility import Rule
from hilum.workflow.service import site_rules

NOON = datetime(2026, 7, 14, 12, 0, tzinfo=UTC)
SITE = Site.model_validate({"site": "site"})
DETECTOR = Algorithm(
    name="detector",
    version="1.0.0",
    package_digest="d" * 64,
    policy_revision=1,
    off=False,
    study_rules=(Rule("ordered-modality", "order.modality", "in", ("CR", "DX"), True),),
    instance_rules=(Rule("modality", "dicom.Modality", "in", ("CR", "DX"), False),),
    useful_for=timedelta(hours=12),
)

Said = Order | Instance | Report | PatientEvent | Result


def identifier(text: str) -> Identifier:
    """`value` or `value^authority`."""
    value, _, authority = text.partition("^")
    return Identifier(value=value, authority=authority)


def patient(*identifiers: str, name: str = "DOE") -> Patient:
    return Patient(identifiers=[identifier(each) for each in identifiers], family_name=name)


def order(
    message_id: str,
    minute: float = 0,
    *,
    control: str = "NW",
    status: str = "",
    placer: str = "",
    filler: str = "",
    accession: str = "",
    study: str = "",
    person: Patient | None = None,
    modality: str = "DX",
    priority: str = "R",
    control_id: str = "",
    ordinal: int = 0,
) -> Order:
    message = Order(
        site="site",
        message_id=message_id,
        message_control_id=control_id or message_id,
        ordinal=ordinal,
        order_control=control,
        order_status=status,
        study_instance_uid=study,
        modality=modality,
        priority=priority,
    )
    message.message_time.FromDatetime(NOON + timedelta(minutes=minute))
    for name, text in (
        ("placer_order_number", placer),
        ("filler_order_number", filler),
        ("accession_number", accession),
    ):
        if text:
            getattr(message, name).CopyFrom(identifier(text))
    if person is not None:
        message.patient.CopyFrom(person)
    return message


def image(
    sop: str,
    study: str = "1.2",
    *,
    accession: str = "",
    person: Patient | None = None,
    second: float = 0,
    sha256: bytes = b"",
    reason: str = "",
    expected: int = 0,
    date: str = "20260714",
    **tags: str,
) -> Instance:
    found = {"Modality": "DX"} | tags
    if expected:
        found["NumberOfStudyRelatedInstances"] = str(expected)
    message = Instance(
        site="site",
        study_instance_uid=study,
        series_instance_uid=f"{study}.1",
        sop_instance_uid=sop,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        object_key=f"instances/{study}/{sop}.dcm",
        sha256=sha256 or sop.encode().ljust(32, b"\0"),
        study_date=date,
        study_time="115900",
        tags=found,
        reason=reason,
    )
    message.received_at.FromDatetime(NOON + timedelta(seconds=second))
    if accession:
        message.accession_number.CopyFrom(identifier(accession))
    if person is not None:
        message.patient.CopyFrom(person)
    return message


def report(
    message_id: str, minute: float, status: str, *, accession: str = "", filler: str = "", study: str = ""
) -> Report:
    message = Report(
        site="site",
        message_id=message_id,
        message_control_id=message_id,
        result_status=status,
        study_instance_uid=study,
    )
    message.message_time.FromDatetime(NOON + timedelta(minutes=minute))
    for name, text in (("filler_order_number", filler), ("accession_number", accession)):
        if text:
            getattr(message, name).CopyFrom(identifier(text))
    return message


def adt(
    message_id: str, minute: float, trigger: str, person: Patient, *, merged: Sequence[str] = (), ordinal: int = 0
) -> PatientEvent:
    message = PatientEvent(
        site="site",
        message_id=message_id,
        message_control_id=message_id,
        trigger_event=trigger,
        patient=person,
        merged=[identifier(each) for each in merged],
        ordinal=ordinal,
    )
    message.message_time.FromDatetime(NOON + timedelta(minutes=minute))
    return message


def result(task: Task, outcome: str = "resulted", reason: str = "", result_id: str = "") -> Result:
    return Result(
        result_id=result_id or f"result of {task.task_id}",
        task_id=task.task_id,
        case_id=task.case_id,
        site="site",
        algorithm=task.algorithm,
        algorithm_version=task.algorithm_version,
        outcome=outcome,
        reason=reason,
    )


class CountingIds:
    def __init__(self) -> None:
        self._numbers = count(1)

    def new(self) -> str:
        return f"case-{next(self._numbers)}"


class RecordingTransaction(SqlTransaction):
    """Keeps what is published instead of putting it into the outbox."""

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__(connection)
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        self.events.append(event)


class Hospital:
    """One workflow's state: `hear` and `decide` are what the service does with records and with time."""

    def __init__(
        self,
        connection: sa.Connection,
        site: Site = SITE,
        algorithms: Sequence[Algorithm] = (DETECTOR,),
        now: datetime = NOON,
    ) -> None:
        self.transaction = RecordingTransaction(connection)
        self.site = site
        self.installed = {(algorithm.name, algorithm.version): algorithm for algorithm in algorithms}
        self.app = Workflow(CountingIds(), site_rules(site))
        self.now = now
        self._policies = 0
        for algorithm in algorithms:
            self.set_policy(algorithm)

    def _book(self, document: Said | None = None) -> SqlCaseBook:
        return SqlCaseBook(self.transaction, self.site, self.installed, document)

    def set_policy(self, algorithm: Algorithm, state: str = "live") -> None:
        self._policies += 1
        policy = Policy(
            algorithm=algorithm.name,
            algorithm_version=algorithm.version,
            package_digest=algorithm.package_digest,
            state=state,
            revision=self._policies,
        )
        book = self._book()
        assert book.put_policy(policy)
        book.look_at_open_cases(self.now)

    def hear(self, *said: Said) -> None:
        for message in said:
            book = self._book(message)
            match message:
                case Order():
                    self.app.hear_order(book, message.site, events.order_fact(message), {}, self.now)
                case Instance():
                    fact = events.instance_fact(message, self.site)
                    self.app.hear_instance(book, message.site, message.study_instance_uid, fact, {}, self.now)
                case Report():
                    keys = events.report_keys(message)
                    self.app.hear_report(book, message.site, events.report_fact(message), keys, {}, self.now)
                case PatientEvent():
                    merged = events.merged_identifiers(message)
                    self.app.hear_patient(book, message.site, events.patient_fact(message), merged, {}, self.now)
                case Result():
                    self.app.hear_result(book, message.case_id, events.result_fact(message), {}, self.now)

    def decide(self) -> None:
        """Everything that is due now."""
        book = self._book()
        for _ in range(100):
            due = book.due(self.now, 1000)
            if not due:
                return
            for case_id, _cause in due:
                self.app.decide(book, case_id, self.now)
        raise AssertionError("decisions never end")

    def wait(self, **span: float) -> None:
        """Let time pass, deciding whenever a case asked to be looked at."""
        until = self.now + timedelta(**span)
        book = self._book()
        for _ in range(10_000):
            self.decide()
            upcoming = book.next_look()
            if upcoming is None or upcoming > until:
                self.now = until
                return
            self.now = upcoming
        raise AssertionError("looks never end")

    # What came of it.

    @property
    def states(self) -> list[CaseState]:
        """Every case state that was published, oldest first."""
        told = [event for event in self.transaction.events if event.topic == topics.STUDIES.name]
        return [CaseState.FromString(event.value) for event in told]

    @property
    def tasks(self) -> list[Task]:
        named = {topic.name for topic in topics.TASKS.values()}
        return [Task.FromString(event.value) for event in self.transaction.events if event.topic in named]

    @property
    def cases(self) -> dict[str, CaseState]:
        """The latest state of each case."""
        return {state.case_id: state for state in self.states}

    def case(self, study: str | None = None) -> CaseState:
        """The one case that was not superseded (of ``study``)."""
        live = [
            state
            for state in self.cases.values()
            if not (state.algorithms and state.algorithms[0].disposition == "superseded")
            and (study is None or state.study_instance_uid == study)
        ]
        assert len(live) == 1, [(state.case_id, state.study_instance_uid) for state in live]
        return live[0]

    def disposition(self, study: str | None = None) -> str:
        (state,) = self.case(study).algorithms
        return state.disposition


@contextmanager
def hospital(store: SqlStore, site: Site = SITE, algorithms: Sequence[Algorithm] = (DETECTOR,)) -> Iterator[Hospital]:
    """A hospital in one transaction that is rolled back at the end: many can follow on one store."""
    with store._engine.connect() as connection:
        yield Hospital(connection, site, algorithms)
        connection.rollback()
