"""What each step owes to the next: images to their case, cases a task, tasks a result, results their deliveries."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from hilum.ledger.domain.checks import Check, check
from hilum.ledger.domain.entry import RESULTED
from hilum.ledger.domain.facts import AlgorithmFact, CaseFact, DeliveryFact, ResultFact, StudyFact, TaskFact

_Run = tuple[str, str, str, int]  # case, algorithm, version, revision


def images_in_cases(studies: Iterable[StudyFact], cases: Iterable[CaseFact]) -> Check:
    """Every usable image of a study is counted by its case."""
    counted: dict[str, int] = {}
    for case in cases:
        counted[case.study_instance_uid] = max(case.instance_count, counted.get(case.study_instance_uid, 0))
    seen = {study.study_instance_uid: study.count - sum(study.unusable.values()) for study in studies}
    short = [
        f"{uid} has {count} images, its case counts {counted[uid]}"
        for uid, count in sorted(seen.items())
        if uid in counted and counted[uid] < count
    ]
    total = sum(seen.values())
    return check(
        "images_in_cases", short, f"{total} usable images, each counted by its case", "studies short of images"
    )


def tasks_answered(tasks: Sequence[TaskFact], results: Sequence[ResultFact], states: Sequence[AlgorithmFact]) -> Check:
    """Every task has a result, or is one that its case still waits for or has since replaced; and the other way."""
    answered = {result.task_id for result in results}
    known = {task.task_id for task in tasks}
    now = {(state.case_id, state.algorithm, state.version): state for state in states}
    left = [
        f"task {task.task_id}"
        for task in tasks
        if task.task_id not in answered
        and _must_be_answered(task, now.get((task.case_id, task.algorithm, task.version)))
    ]
    strays = [f"result {result.result_id}" for result in results if result.task_id not in known]
    return check(
        "tasks_answered",
        [*left, *strays],
        f"{len(tasks)} tasks, {len(answered)} answered, the rest awaited or replaced",
        "tasks or results without their other half",
    )


def _must_be_answered(task: TaskFact, state: AlgorithmFact | None) -> bool:
    if state is None:
        return True
    return state.disposition == RESULTED and state.revision <= task.revision


def cases_founded(tasks: Iterable[TaskFact], results: Iterable[ResultFact], states: Sequence[AlgorithmFact]) -> Check:
    """A case that waits for a task names one that was given; one that ended names a result that was told."""
    given = {(task.case_id, task.algorithm, task.version, task.revision) for task in tasks}
    told = {result.result_id for result in results}
    bare = [
        f"{state.case_id} waits for a task of {state.algorithm} that nobody was given"
        for state in states
        if state.disposition == "tasked"
        and (state.case_id, state.algorithm, state.version, state.revision) not in given
    ]
    bare += [
        f"{state.case_id} names a result of {state.algorithm} that nobody told"
        for state in states
        if state.result_id and state.result_id not in told
    ]
    return check("cases_founded", bare, "every task and result that a case names exists", "cases without foundation")


def results_delivered(
    results: Sequence[ResultFact],
    tasks: Iterable[TaskFact],
    deliveries: Sequence[DeliveryFact],
    destinations: Iterable[str],
    settled: Callable[[datetime], bool],
) -> Check:
    """Every result has a delivery of each kind to each destination there was, whatever became of it.

    ``destinations``: those that the site has now. One is expected of the results between the first and the last that
    went there, and of later ones while the site has it; with nothing known of destinations, nothing is expected.
    """
    revisions = {task.task_id: task.revision for task in tasks}
    runs: dict[_Run, ResultFact] = {
        (one.case_id, one.algorithm, one.version, revisions[one.task_id]): one
        for one in results
        if one.outcome == RESULTED and one.task_id in revisions
    }
    went: dict[_Run, set[tuple[str, str]]] = defaultdict(set)
    kinds: dict[str, set[str]] = defaultdict(set)
    for one in deliveries:
        went[one.case_id, one.algorithm, one.version, one.revision].add((one.destination, one.kind))
        kinds[one.destination].add(one.kind)
    spans = _spans(runs, went)
    now = set(destinations)
    lost: list[str] = []
    for run, result in runs.items():
        if not settled(result.at):
            continue
        if not went[run] and (spans or now):
            lost.append(f"result {result.result_id}: none at all")
            continue
        due = {d for d, (first, last) in spans.items() if first <= result.at and (result.at <= last or d in now)}
        expected = {(d, kind) for d in due for kind in kinds[d]}
        lost += [f"result {result.result_id}: no {kind} to {d}" for d, kind in sorted(expected - went[run])]
    return check(
        "results_delivered", lost, f"{len(runs)} results, each with all its deliveries", "results without a delivery"
    )


def _spans(
    runs: Mapping[_Run, ResultFact], went: Mapping[_Run, set[tuple[str, str]]]
) -> dict[str, tuple[datetime, datetime]]:
    """Destination -> the times of the first and the last result that went there."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    for run, result in runs.items():
        for destination in {destination for destination, _ in went.get(run, ())}:
            first, last = spans.get(destination, (result.at, result.at))
            spans[destination] = (min(first, result.at), max(last, result.at))
    return spans
