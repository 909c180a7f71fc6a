"""The decision on a case: facts, rules and the time in; the state of every algorithm and the tasks out."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from hilum.ids import derived_id
from hilum.workflow.domain import eligibility, identity
from hilum.workflow.domain.case import (
    RESULTED,
    TASKED,
    WAITING,
    Algorithm,
    AlgorithmState,
    Case,
    Decision,
    SiteRules,
    Task,
)
from hilum.workflow.domain.completeness import Completeness, announced, completeness
from hilum.workflow.domain.eligibility import RuleOutcome
from hilum.workflow.domain.facts import CaseFacts, Identifier, InstanceFact, OrderFact, ResultFact, by_stamp
from hilum.workflow.domain.orders import current

_FINAL_STATUSES = {"F", "C", "X"}


def decide(
    previous: Case | None, facts: CaseFacts, algorithms: tuple[Algorithm, ...], rules: SiteRules, now: datetime
) -> Decision:
    """The same facts give the same dispositions, in whatever order they came."""
    orders = tuple(current(order) for order in facts.orders)
    count = facts.instance_count
    if previous and previous.completeness.complete and previous.instance_count == count >= announced(facts):
        # Complete stays complete until another image comes; the evidence that decided stays on record.
        found, completed_at = previous.completeness, previous.completed_at
    else:
        found = completeness(facts, rules.completeness, now)
        completed_at = now if found.complete else None
    disagreement = identity.conflict(facts)
    cancelled = bool(orders) and all(order.cancelled for order in orders)
    study_time = _study_time(facts)
    states: list[AlgorithmState] = []
    tasks: list[Task] = []
    looks = [found.looks_again_at, *_deadlines(facts, rules)]
    view = _View(facts, orders, found, disagreement, cancelled, study_time, rules, now)
    for algorithm in algorithms:
        before = previous.algorithm(algorithm.name, algorithm.version) if previous else None
        if before is None and completed_at is not None and now >= completed_at + algorithm.useful_for:
            continue  # it came into force when the study was long done: history is not run again
        state, task = view.decide(algorithm, before)
        if before is not None and replace(state, changed_at=before.changed_at) == before:
            state = before
        states.append(state)
        if task is not None:
            tasks.append(task)
    kept = [
        _ended(state, facts, now) for state in (previous.algorithms if previous else ()) if _retired(state, algorithms)
    ]
    case = Case(
        case_id=facts.case_id,
        version=previous.version if previous else 0,
        study_instance_uid=facts.study_instance_uid,
        patient=identity.patient(facts),
        accession_number=_accession_number(orders, facts.instances),
        modality=_leading_image(facts).tags.get("Modality", "") if facts.instances else _ordered_modality(orders),
        conflict=f"conflict:identity:{disagreement}" if disagreement else "",
        cancelled=cancelled,
        completeness=replace(found, looks_again_at=None, short=False),
        completed_at=completed_at,
        report_status=report_status(facts),
        orders=orders,
        algorithms=(*kept, *states),
        instance_count=count,
        study_time=study_time,
        looks_again_at=min((at for at in looks if at is not None and at > now), default=None),
    )
    changed = previous is None or replace(case, looks_again_at=previous.looks_again_at) != previous
    return Decision(replace(case, version=case.version + 1) if changed else case, changed, tuple(tasks))


def _deadlines(facts: CaseFacts, rules: SiteRules) -> list[datetime]:
    """When what has not come counts as missing; whatever the algorithms wait for, so that looks are the same."""
    images = [] if facts.instances else [facts.opened_at + rules.image_wait]
    orders = [] if facts.orders or not rules.require_order else [facts.opened_at + rules.order_wait]
    return images + orders


def report_status(facts: CaseFacts) -> str:
    """Of the newest report; a preliminary one that comes after a final one is late and changes nothing (§1.9)."""
    status = ""
    for report in sorted(facts.reports, key=by_stamp):
        if report.result_status in _FINAL_STATUSES or status not in _FINAL_STATUSES:
            status = report.result_status
    return status


def _study_time(facts: CaseFacts) -> datetime:
    """Of the images as they tell it, else as they came; while there are none, of the case."""
    told = min((image.study_time for image in facts.instances if image.study_time), default=None)
    return told or min((image.received_at for image in facts.instances), default=facts.opened_at)


def _accession_number(orders: tuple[OrderFact, ...], images: tuple[InstanceFact, ...]) -> Identifier | None:
    said = [order.accession_number for order in orders] + [image.accession_number for image in images]
    return next((number for number in said if number is not None), None)


def _ordered_modality(orders: tuple[OrderFact, ...]) -> str:
    return next((order.modality for order in orders if order.modality), "")


def _leading_image(facts: CaseFacts) -> InstanceFact:
    """The one that speaks for the study: the first that can be used."""
    return next((image for image in facts.instances if not image.reason), facts.instances[0])


def _retired(state: AlgorithmState, algorithms: tuple[Algorithm, ...]) -> bool:
    """A version that the policy no longer names keeps what it ended with."""
    named = {(algorithm.name, algorithm.version) for algorithm in algorithms}
    return (state.algorithm, state.version) not in named and state.disposition != WAITING


def _ended(state: AlgorithmState, facts: CaseFacts, now: datetime) -> AlgorithmState:
    """A task that was on its way when the policy changed ends with its result."""
    result = next((result for result in facts.results if result.task_id == state.task_id), None)
    if state.disposition != TASKED or result is None:
        return state
    return replace(state, disposition=_disposition(result), due_at=None, result_id=result.result_id, changed_at=now)


def _disposition(result: ResultFact) -> str:
    return RESULTED if result.outcome == "resulted" else result.reason


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
        reason = self._parked()
        if reason:
            return replace(empty, disposition=reason), None
        stopped = "cancelled" if self.cancelled else "ineligible:policy_off" if algorithm.off else ""
        if stopped:
            return self._stopped(empty, before, stopped), None
        reason = self._no_result(study)
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

    def _parked(self) -> str:
        if self.facts.superseded_by:
            return "superseded"
        return "conflict:identity" if self.conflict else ""

    def _stopped(self, empty: AlgorithmState, before: AlgorithmState | None, reason: str) -> AlgorithmState:
        """No new task; a result that is there already stays."""
        done = before.result_id if before is not None else ""
        result = next((result for result in self.facts.results if done and result.result_id == done), None)
        return replace(empty, disposition=reason if result is None else _disposition(result))

    def _no_result(self, study: tuple[RuleOutcome, ...]) -> str:
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
        values: dict[str, str] = {}
        arrived: set[str] = set()
        live = [order for order in self.orders if not order.cancelled] or list(self.orders)
        if live:
            arrived.add("order")
            newest = max(live, key=by_stamp)
            values |= {
                "order.modality": newest.modality,
                "order.procedure_code": newest.procedure_code,
                "order.priority": newest.priority,
                "order.order_status": newest.order_status,
            }
        if self.completeness.complete:
            # Before that, a count or the first image would speak for a study that is still on its way.
            arrived.add("study")
            leading = _leading_image(self.facts)
            values |= {
                "study.modality": leading.tags.get("Modality", ""),
                "study.instance_count": str(self.facts.instance_count),
                "study.description": leading.tags.get("StudyDescription", ""),
            }
            if not self.rules.require_order:
                arrived.add("order")  # none need come: a rule's own word on a missing value holds
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
        on_its_way = known and before is not None and before.disposition == TASKED
        revision = (before.revision if before else 0) + (0 if known else 1)
        due_at = before.due_at if on_its_way and before and before.due_at else self.now + self.rules.result_wait
        state = replace(empty, task_id=task_id, content_hash=content, revision=revision, result_id="")
        if result is not None:
            return replace(state, disposition=_disposition(result), result_id=result.result_id), None
        state = replace(state, disposition=TASKED, due_at=due_at)
        if on_its_way:
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
