"""The topics, what keys them and which message each carries. Order across topics is never assumed."""

from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from hilum.contracts.cases.v1.cases_pb2 import CaseState
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.contracts.deliveries.v1.deliveries_pb2 import Delivery
from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.patients.v1.patients_pb2 import PatientEvent
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.contracts.reports.v1.reports_pb2 import Report
from hilum.contracts.tasks.v1.tasks_pb2 import Task


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    key: str
    message: type[Message]
    compacted: bool = False

    @property
    def type(self) -> str:
        """The CloudEvents type of its events."""
        return self.message.DESCRIPTOR.full_name


MESSAGES: Final = Topic("messages", "feed", RawMessage)
ORDERS: Final = Topic("orders", "feed", Order)
REPORTS: Final = Topic("reports", "feed", Report)
PATIENTS: Final = Topic("patients", "feed", PatientEvent)
INSTANCES: Final = Topic("instances", "study_instance_uid", Instance)
STUDIES: Final = Topic("studies", "case_id", CaseState, compacted=True)
TASKS_URGENT: Final = Topic("tasks-urgent", "case_id", Task)
TASKS_ROUTINE: Final = Topic("tasks-routine", "case_id", Task)
TASKS_BACKFILL: Final = Topic("tasks-backfill", "case_id", Task)
FINDINGS: Final = Topic("findings", "case_id", Result)
DELIVERIES: Final = Topic("deliveries", "case_id", Delivery)
POLICIES: Final = Topic("policies", "algorithm", Policy, compacted=True)
DEAD_LETTERS: Final = Topic("dead-letters", "dead_letter_id", DeadLetter)

TASKS: Final = {"urgent": TASKS_URGENT, "routine": TASKS_ROUTINE, "backfill": TASKS_BACKFILL}
ALL: Final = (
    MESSAGES,
    ORDERS,
    REPORTS,
    PATIENTS,
    INSTANCES,
    STUDIES,
    *TASKS.values(),
    FINDINGS,
    DELIVERIES,
    POLICIES,
    DEAD_LETTERS,
)
BY_NAME: Final = {topic.name: topic for topic in ALL}
