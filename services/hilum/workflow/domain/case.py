"""What is decided of a case: the state of every algorithm, and the tasks that follow from it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hilum.workflow.domain.completeness import Completeness, CompletenessRules
from hilum.workflow.domain.eligibility import Rule, RuleOutcome
from hilum.workflow.domain.facts import Identifier, InstanceFact, OrderFact

WAITING, TASKED, RESULTED = "waiting", "tasked", "resulted"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One model version as the policy in force names it."""

    name: str
    version: str
    package_digest: str
    policy_revision: int
    off: bool
    study_rules: tuple[Rule, ...]
    instance_rules: tuple[Rule, ...]
    useful_for: timedelta


@dataclass(frozen=True, slots=True)
class SiteRules:
    completeness: CompletenessRules
    require_order: bool
    order_wait: timedelta
    image_wait: timedelta
    result_wait: timedelta


@dataclass(frozen=True, slots=True)
class AlgorithmState:
    """See the contract `hilum.contracts.cases.v1.AlgorithmState`."""

    algorithm: str
    version: str
    disposition: str
    rules: tuple[RuleOutcome, ...] = ()
    task_id: str = ""
    content_hash: str = ""
    due_at: datetime | None = None
    useful_until: datetime | None = None
    result_id: str = ""
    revision: int = 0
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One algorithm version on one content; to be published when the state that names it is saved."""

    task_id: str
    algorithm: Algorithm
    content_hash: str
    revision: int
    inputs: tuple[InstanceFact, ...]
    urgency: str
    due_at: datetime
    useful_until: datetime


@dataclass(frozen=True, slots=True)
class Case:
    """What was decided last; ``looks_again_at`` is when time alone may change it."""

    case_id: str
    version: int
    study_instance_uid: str
    patient: bytes  # as the contract carries it
    accession_number: Identifier | None
    modality: str
    conflict: str
    cancelled: bool
    completeness: Completeness
    completed_at: datetime | None
    report_status: str
    orders: tuple[OrderFact, ...]
    algorithms: tuple[AlgorithmState, ...]
    instance_count: int
    study_time: datetime
    looks_again_at: datetime | None

    def algorithm(self, name: str, version: str) -> AlgorithmState | None:
        return next((state for state in self.algorithms if (state.algorithm, state.version) == (name, version)), None)


@dataclass(frozen=True, slots=True)
class Decision:
    case: Case
    changed: bool
    tasks: tuple[Task, ...]
