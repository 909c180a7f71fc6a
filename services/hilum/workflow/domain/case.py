"""The decision on a case: facts, rules and the time in; the state of every algorithm and the tasks out."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hilum.ids import derived_id
from hilum.workflow.domain import eligibility, identity
from hilum.workflow.domain.completeness import Completeness, CompletenessRules, completeness
from hilum.workflow.domain.eligibility import Rule, RuleOutcome
from hilum.workflow.domain.facts import CaseFacts, InstanceFact, OrderFact

WAITING, TASKED, RESULTED = "waiting", "tasked", "resulted"
_FINAL_STATUSES = {"F", "C", "X"}


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


def decide(
    previous: Case | None, facts: CaseFacts, algorithms: tuple[Algorithm, ...], rules: SiteRules, now: datetime
) -> Decision:
    """The same facts give the same dispositions, in whatever order they came."""
    orders = identity.latest_of_each_order(facts.orders)
    found = completeness(facts, rules.completeness, now)
    disagreement = identity.conflict(facts)
    cancelled = bool(orders) and all(order.cancelled for order in orders)
    study_time = min((image.study_time for image in facts.instances if image.study_time), default=facts.opened_at)
    completed_at = None
    if found.complete:
        was = (
            previous is not None and previous.completeness.complete and previous.instance_count == len(facts.instances)
        )
        completed_at = previous.completed_at if was and previous else now
        if was and previous:
            found = replace(previous.completeness)  # the evidence that decided first stays on record
    states: list[AlgorithmState] = []
    tasks: list[Task] = []
    looks = [found.looks_again_at]
    for algorithm in algorithms:
        before = previous.algorithm(algorithm.name, algorithm.version) if previous else None
        view = _View(facts, orders, found, disagreement, cancelled, study_time, rules, now)
        state, task = view.decide(algorithm, before)
        if before is not None and replace(state, changed_at=before.changed_at) == before:
            state = before
        states.append(state)
        if task is not None:
            tasks.append(task)
        if state.disposition == WAITING:
            looks.append(state.due_at)
    kept = [state for state in (previous.algorithms if previous else ()) if _retired(state, algorithms)]
    case = Case(
        case_id=facts.case_id,
        version=previous.version if previous else 0,
        study_instance_uid=facts.study_instance_uid,
        conflict=f"conflict:identity:{disagreement}" if disagreement else "",
        cancelled=cancelled,
        completeness=replace(found, looks_again_at=None),
        completed_at=completed_at,
        report_status=report_status(facts),
        orders=orders,
        algorithms=(*kept, *states),
        instance_count=len(facts.instances),
        study_time=study_time,
        looks_again_at=min((at for at in looks if at is not None and at > now), default=None),
    )
    changed = previous is None or replace(case, looks_again_at=previous.looks_again_at) != previous
    return Decision(replace(case, version=case.version + 1) if changed else case, changed, tuple(tasks))


def report_status(facts: CaseFacts) -> str:
    """Of the newest report; a preliminary one that comes after a final one is late and changes nothing (§1.9)."""
    status = ""
    for report in sorted(facts.reports, key=lambda report: report.stamp):
        if report.result_status in _FINAL_STATUSES or status not in _FINAL_STATUSES:
            status = report.result_status
    return status


def _retired(state: AlgorithmState, algorithms: tuple[Algorithm, ...]) -> bool:
    """A version that the policy no longer names keeps what it ended with."""
    named = {(algorithm.name, algorithm.version) for algorithm in algorithms}
    return (state.algorithm, state.version) not in named and state.disposition != WAITING


@dataclass(frozen=True, slots=True)
class _View:
    """One case at one time, asked about each algorithm in turn."""

    facts: CaseFacts
    orders: tuple[OrderFact, ...]
    completeness: Completeness
    conflict: str
    cancelled: bool
    study_time: datetime
    rules: SiteRules
    now: datetime

    def decide(self, algorithm: Algorithm, before: AlgorithmState | None) -> tuple[AlgorithmState, Task | None]:
        study = self._study_rules(algorithm)
        useful_until = self.study_time + algorithm.useful_for
        empty = AlgorithmState(
            algorithm.name, algorithm.version, WAITING, study, useful_until=useful_until, changed_at=self.now
        )
        if before is not None and before.task_id:
            empty = replace(
                empty,
                task_id=before.task_id,
                content_hash=before.content_hash,
                revision=before.revision,
                result_id=before.result_id,
            )
        reason = self._no_result(algorithm, before, study)
        if reason:
            return replace(empty, disposition=reason), None
        waits = self._waits()
        if waits is not None:
            return replace(empty, due_at=waits), None
        inputs, outcomes, refused = self._inputs(algorithm)
        empty = replace(empty, rules=(*study, *outcomes))
        if refused:
            return replace(empty, disposition=refused), None
        return self._task(algorithm, before, empty, inputs)

    def _no_result(self, algorithm: Algorithm, before: AlgorithmState | None, study: tuple[RuleOutcome, ...]) -> str:
        if self.facts.superseded_by:
            return "superseded"
        if self.conflict:
            return "conflict:identity"
        closed = before is not None and bool(before.result_id)
        if self.cancelled and not closed:
            return "cancelled"
        if algorithm.off and not closed:
            return "ineligible:policy_off"
        failure = eligibility.first_failure(study)
        if failure:
            return f"ineligible:{failure.rule}"
        if not self.facts.instances and self.now >= self.facts.opened_at + self.rules.image_wait:
            return "never_arrived"
        if self.rules.require_order and not self.orders and self.now >= self.facts.opened_at + self.rules.order_wait:
            return "unmatched"
        if self.completeness.short:
            return "incomplete"
        return ""

    def _waits(self) -> datetime | None:
        """Until when at the latest, while something that must come has not; None when all is there."""
        if not self.facts.instances:
            return self.facts.opened_at + self.rules.image_wait
        if self.rules.require_order and not self.orders:
            return self.facts.opened_at + self.rules.order_wait
        if not self.completeness.complete:
            return self.completeness.looks_again_at or self.now
        return None

    def _study_rules(self, algorithm: Algorithm) -> tuple[RuleOutcome, ...]:
        arrived = {"order"} if self.orders else set()
        values: dict[str, str] = {}
        live = [order for order in self.orders if not order.cancelled] or list(self.orders)
        if live:
            newest = max(live, key=lambda order: order.stamp)
            values |= {
                "order.modality": newest.modality,
                "order.procedure_code": newest.procedure_code,
                "order.priority": newest.priority,
                "order.order_status": newest.order_status,
            }
        if self.facts.instances:
            arrived.add("study")
            values |= {
                "study.modality": self.facts.instances[0].tags.get("Modality", ""),
                "study.instance_count": str(len(self.facts.instances)),
                "study.description": self.facts.instances[0].tags.get("StudyDescription", ""),
            }
        return eligibility.judge_all(algorithm.study_rules, values, frozenset(arrived))

    def _inputs(self, algorithm: Algorithm) -> tuple[tuple[InstanceFact, ...], tuple[RuleOutcome, ...], str]:
        """The images to use, the rules as one image showed them, and why none can be used."""
        arrived = frozenset({"dicom"})
        best: tuple[RuleOutcome, ...] = ()
        passing: list[InstanceFact] = []
        unusable = ""
        for image in sorted(self.facts.instances, key=lambda image: image.sop_instance_uid):
            if image.reason:
                unusable = unusable or image.reason
                continue
            values = {f"dicom.{keyword}": value for keyword, value in image.tags.items()}
            outcomes = eligibility.judge_all(algorithm.instance_rules, values, arrived)
            if eligibility.first_failure(outcomes) is None:
                if not passing:
                    best = outcomes
                passing.append(image)
            elif not passing and _passed(outcomes) >= _passed(best):
                best = outcomes
        if passing:
            return tuple(passing), best, ""
        failure = eligibility.first_failure(best)
        if failure:
            return (), best, f"ineligible:{failure.rule}"
        return (), best, f"ineligible:{unusable or 'no_image'}"

    def _task(
        self,
        algorithm: Algorithm,
        before: AlgorithmState | None,
        empty: AlgorithmState,
        inputs: tuple[InstanceFact, ...],
    ) -> tuple[AlgorithmState, Task | None]:
        content = content_hash(algorithm, inputs)
        task_id = derived_id("task", self.facts.case_id, algorithm.name, algorithm.version, content)
        result = next((result for result in self.facts.results if result.task_id == task_id), None)
        known = before is not None and before.content_hash == content
        revision = before.revision if known and before else (before.revision if before else 0) + 1
        due_at = before.due_at if known and before and before.due_at else self.now + self.rules.result_wait
        state = replace(empty, task_id=task_id, content_hash=content, revision=revision, result_id="")
        if result is not None:
            disposition = RESULTED if result.outcome == "resulted" else result.reason
            return replace(state, disposition=disposition, result_id=result.result_id), None
        state = replace(state, disposition=TASKED, due_at=due_at)
        if known and before and before.disposition == TASKED:
            return state, None
        useful_until = empty.useful_until or self.now
        urgency = self._urgency(useful_until)
        return state, Task(task_id, algorithm, content, revision, inputs, urgency, due_at, useful_until)

    def _urgency(self, useful_until: datetime) -> str:
        if self.now >= useful_until:
            return "backfill"
        ordered = {order.priority[:1].upper() for order in self.orders if not order.cancelled}
        return "urgent" if ordered & {"S", "A"} else "routine"


def content_hash(algorithm: Algorithm, inputs: tuple[InstanceFact, ...]) -> str:
    """SHA-256 over the package and the images, in the order of their UIDs: one task a content."""
    digest = hashlib.sha256(algorithm.package_digest.encode())
    for image in inputs:
        digest.update(image.sop_instance_uid.encode() + b"\0" + image.sha256)
    return digest.hexdigest()


def _passed(outcomes: tuple[RuleOutcome, ...]) -> int:
    return sum(outcome.outcome is eligibility.Outcome.PASSED for outcome in outcomes)
