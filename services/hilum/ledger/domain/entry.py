"""One entry a study and algorithm: what became of it, with its timeline and its deliveries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hilum.ledger.domain.facts import (
    AlarmFact,
    AlgorithmFact,
    CaseFact,
    DeliveryFact,
    FindingFact,
    OrderFact,
    ReportFact,
    ResultFact,
    RuleFact,
    StudyFact,
    TaskFact,
)

IN_PROGRESS = "in_progress"
RESULTED = "resulted"
# Deciding what has fallen due takes a moment.
TOLERANCE = timedelta(seconds=5)
_OPEN = {"waiting", "tasked"}


@dataclass(frozen=True, slots=True)
class CaseFile:
    """Everything the ledger holds on one case; order among the lists is of no account."""

    case: CaseFact
    algorithms: tuple[AlgorithmFact, ...] = ()
    history: tuple[AlgorithmFact, ...] = ()
    orders: tuple[OrderFact, ...] = ()
    reports: tuple[ReportFact, ...] = ()
    study: StudyFact | None = None
    tasks: tuple[TaskFact, ...] = ()
    results: tuple[ResultFact, ...] = ()
    deliveries: tuple[DeliveryFact, ...] = ()
    alarms: tuple[AlarmFact, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    at: datetime
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Entry:
    """``disposition``: resulted, in_progress, or the coded reason for no result.

    ``reason``: that coded reason again, or what is in progress (waiting, tasked); empty when resulted.
    """

    case_id: str
    accession_number: str
    study_instance_uid: str
    patient_id: str
    algorithm: str
    version: str
    disposition: str
    reason: str
    explanation: str
    due_at: datetime | None
    overdue: bool
    findings: tuple[FindingFact, ...]
    timeline: tuple[Moment, ...]
    deliveries: tuple[DeliveryFact, ...]


def disposition_of(state: AlgorithmFact) -> str:
    return IN_PROGRESS if state.disposition in _OPEN else state.disposition


def is_overdue(state: AlgorithmFact, now: datetime) -> bool:
    """In progress, and the time has passed at which somebody must be told (no time at all counts as passed)."""
    return state.disposition in _OPEN and (state.due_at is None or state.due_at + TOLERANCE <= now)


def entries(file: CaseFile, now: datetime) -> tuple[Entry, ...]:
    """One for each algorithm version of the case, in the order of the case."""
    return tuple(_entry(file, state, now) for state in sorted(file.algorithms, key=lambda state: state.place))


def _entry(file: CaseFile, state: AlgorithmFact, now: datetime) -> Entry:
    case = file.case
    disposition = disposition_of(state)
    result = next((result for result in file.results if result.result_id == state.result_id), None)
    deliveries = [one for one in file.deliveries if (one.algorithm, one.version) == (state.algorithm, state.version)]
    return Entry(
        case_id=case.case_id,
        accession_number=case.accession_number,
        study_instance_uid=case.study_instance_uid,
        patient_id=case.patient_id,
        algorithm=state.algorithm,
        version=state.version,
        disposition=disposition,
        reason="" if disposition == RESULTED else state.disposition,
        explanation=_explanation(file, state),
        due_at=state.due_at if disposition == IN_PROGRESS else None,
        overdue=is_overdue(state, now),
        findings=result.findings if result is not None else (),
        timeline=tuple(sorted(set(_moments(file, state)))),
        deliveries=tuple(sorted(deliveries, key=lambda one: (one.destination, one.kind, one.revision))),
    )


def _explanation(file: CaseFile, state: AlgorithmFact) -> str:
    """Why, in words, with the value that was seen."""
    case = file.case
    if state.disposition == "waiting":
        if file.study is None and not case.instance_count:
            return "no image has arrived"
        if not case.order_ids:
            return "no order has arrived"
        return f"not complete yet ({case.evidence_detail})" if case.evidence_detail else "not complete yet"
    if state.disposition.startswith("ineligible:"):
        failed = [rule for rule in state.rules if rule.outcome == "failed"]
        if failed:
            return "; ".join(map(_rule_in_words, failed))
        return {"ineligible:policy_off": "the policy in force says off"}.get(state.disposition, "no usable image")
    if state.disposition.startswith("conflict:"):
        return f"the sources disagree ({case.conflict or state.disposition})"
    return {
        "never_arrived": "no image arrived in the time that the site allows",
        "unmatched": "no order arrived in the time that the site allows",
        "incomplete": f"fewer images than announced ({case.evidence_detail})",
        "cancelled": "every order of the study was cancelled",
        "superseded": "another case took the order over",
    }.get(state.disposition, "")


def _rule_in_words(rule: RuleFact) -> str:
    return f"{rule.rule} ({rule.field}) {rule.outcome}: saw {rule.seen or 'nothing'}, expected {rule.expected}"


def _moments(file: CaseFile, state: AlgorithmFact) -> Iterator[Moment]:
    case = file.case
    yield from _arrivals(file)
    if case.complete and case.completed_at is not None:
        yield Moment(case.completed_at, "complete", f"{case.evidence}: {case.evidence_detail}".rstrip(": "))
    mine = [one for one in file.history if (one.algorithm, one.version) == (state.algorithm, state.version)]
    yield from _decisions(sorted(mine, key=lambda one: one.changed_at))
    for task in file.tasks:
        if (task.algorithm, task.version) == (state.algorithm, state.version):
            images = f"{task.inputs} image" + ("s" if task.inputs != 1 else "")
            yield Moment(task.at, "tasked", f"{task.urgency}, {images}, revision {task.revision}")
    for result in file.results:
        if (result.algorithm, result.version) == (state.algorithm, state.version):
            yield Moment(result.at, result.outcome, _result_in_words(result))
    for delivery in file.deliveries:
        if (delivery.algorithm, delivery.version) == (state.algorithm, state.version):
            for passed in delivery.history:
                what = f"{delivery.destination} {delivery.kind} {passed.state}"
                yield Moment(passed.at, what, passed.reason)
    for alarm in file.alarms:
        if alarm.algorithm in ("", state.algorithm):
            yield Moment(alarm.raised_at, f"alarm {alarm.kind}", alarm.detail)
            if alarm.cleared_at is not None:
                yield Moment(alarm.cleared_at, f"alarm {alarm.kind} cleared", "")


def _arrivals(file: CaseFile) -> Iterator[Moment]:
    for order in file.orders:
        status = f", status {order.order_status}" if order.order_status else ""
        yield Moment(order.at, "order_received", f"{order.message_type} {order.order_control}{status}")
    for report in file.reports:
        yield Moment(report.at, "report_received", f"status {report.result_status or 'not given'}")
    study = file.study
    if study is not None:
        unusable = ", ".join(f"{count} unusable: {why}" for why, count in sorted(study.unusable.items()))
        if study.count > 1:
            yield Moment(study.first_at, "first_image_received", "")
        what = "last_image_received" if study.count > 1 else "image_received"
        yield Moment(study.last_at, what, f"{study.count} in all" + (f" ({unusable})" if unusable else ""))


def _decisions(history: Sequence[AlgorithmFact]) -> Iterator[Moment]:
    """Each eligibility decision with every rule, and each change of the disposition that nothing else tells."""
    rules: tuple[RuleFact, ...] = ()
    disposition = ""
    for state in history:
        decided = state.disposition != "waiting" and not state.disposition.startswith(("conflict:", "superseded"))
        if decided and state.rules and state.rules != rules:
            rules = state.rules
            failed = any(rule.outcome == "failed" for rule in rules)
            yield Moment(
                state.changed_at, "ineligible" if failed else "eligible", "; ".join(map(_rule_in_words, rules))
            )
        if state.disposition != disposition:
            disposition = state.disposition
            if disposition not in ("tasked", RESULTED) and not disposition.startswith(("failed:", "deferred")):
                yield Moment(state.changed_at, disposition, "")


def _result_in_words(result: ResultFact) -> str:
    if result.outcome != RESULTED:
        return result.reason
    return "; ".join(f"{one.finding} {one.state} ({one.probability:.2f})" for one in result.findings)
