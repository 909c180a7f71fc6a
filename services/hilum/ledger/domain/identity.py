"""The ledger's identity: for every algorithm, expected = resulted + each coded reason + in progress.

Expected is counted here from the orders and images that were seen, without asking what workflow made of them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hilum.ledger.domain.entry import IN_PROGRESS, RESULTED, disposition_of, is_overdue
from hilum.ledger.domain.facts import AlgorithmFact, CaseFact, Key, OrderFact, StudyFact
from hilum.ledger.domain.orders import order_groups

SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that must become of each algorithm: a study that was seen or announced, or an order without one."""

    study_instance_uid: str  # empty: an order whose study nobody has named
    messages: frozenset[tuple[str, int]] = frozenset()  # message_id and ordinal of each message of its orders
    seen_at: datetime | None = None
    filler: str = ""  # tells orders apart that share a message


def units(orders: Sequence[OrderFact], studies: Iterable[StudyFact]) -> tuple[Unit, ...]:
    """Every study that has images or that an order names, and every order that leads to none."""
    by_study: dict[str, set[tuple[str, int]]] = defaultdict(set)
    seen: dict[str, datetime] = {}
    by_accession: dict[str, list[tuple[Key, str]]] = defaultdict(list)
    for study in studies:
        by_study[study.study_instance_uid] = set()
        seen[study.study_instance_uid] = study.first_at
        for key in study.accession_numbers:
            by_accession[key.value].append((key, study.study_instance_uid))
    alone: list[Unit] = []
    for group in order_groups(orders):
        messages = {(order.message_id, order.ordinal) for order in group}
        first = min(order.at for order in group)
        found = {order.study_instance_uid for order in group if order.study_instance_uid}  # one at most
        if not found:
            found = {
                uid
                for order in group
                for mine in order.keys
                for theirs, uid in by_accession.get(mine.value, ())
                if mine.agrees(theirs)
            }
        for uid in found:
            by_study[uid] |= messages
            seen[uid] = min(seen.get(uid, first), first)
        if not found:
            fillers = {key.value for order in group for key in order.keys if key.kind == "filler"}
            alone.append(Unit("", frozenset(messages), first, filler=min(fillers, default="")))
    known = [Unit(uid, frozenset(messages), seen[uid]) for uid, messages in sorted(by_study.items())]
    return (*known, *alone)


@dataclass(frozen=True, slots=True)
class Standing:
    """Which case stands for which unit, and what has no counterpart."""

    missing: tuple[Unit, ...]  # seen, but in no case
    doubled: tuple[Unit, ...]  # in more than one case
    unexplained: tuple[CaseFact, ...]  # a case that no order and no image accounts for
    cases: Mapping[str, Unit] = field(default_factory=dict)  # case_id -> its unit


def standing(all_units: Sequence[Unit], cases: Iterable[CaseFact], states: Iterable[AlgorithmFact]) -> Standing:
    """Match units and cases: by study, else by the messages of the order.

    A case without a study whose order another case took over stands for nothing; a superseded case whose order
    nobody took over is unexplained.
    """
    dispositions: dict[str, set[str]] = defaultdict(set)
    for state in states:
        dispositions[state.case_id].add(state.disposition)
    by_study: dict[str, list[CaseFact]] = defaultdict(list)
    by_message: dict[tuple[str, int], list[CaseFact]] = defaultdict(list)
    left: list[CaseFact] = []
    for case in cases:
        if dispositions[case.case_id] <= {SUPERSEDED} and not case.study_instance_uid:
            left.append(case)
        elif case.study_instance_uid:
            by_study[case.study_instance_uid].append(case)
        else:
            for message in case.order_ids:
                by_message[message].append(case)
    missing: list[Unit] = []
    doubled: list[Unit] = []
    taken: dict[str, Unit] = {}
    for unit in all_units:
        found = _cases_of(unit, by_study, by_message)
        if not found:  # a case that no algorithm looks at yet
            found = {case.case_id for case in left if not dispositions[case.case_id] and _holds_order(case, unit)}
        if not found:
            missing.append(unit)
        if len(found) > 1:
            doubled.append(unit)
        taken |= dict.fromkeys(found, unit)
    handed_over = {message for unit in taken.values() for message in unit.messages}
    live = [case for found_cases in (*by_study.values(), *by_message.values()) for case in found_cases]
    strays = {case.case_id: case for case in live if case.case_id not in taken}
    strays |= {
        case.case_id: case for case in left if case.case_id not in taken and not handed_over.issuperset(case.order_ids)
    }
    return Standing(tuple(missing), tuple(doubled), tuple(strays.values()), taken)


def _cases_of(
    unit: Unit, by_study: Mapping[str, list[CaseFact]], by_message: Mapping[tuple[str, int], list[CaseFact]]
) -> set[str]:
    if unit.study_instance_uid:
        return {case.case_id for case in by_study.get(unit.study_instance_uid, [])}
    found = {case.case_id: case for message in unit.messages for case in by_message.get(message, [])}
    if unit.filler and len(found) > 1:
        mine = ("filler", unit.filler)
        return {
            case_id for case_id, case in found.items() if mine in {(key.kind, key.value) for key in case.order_keys}
        }
    return set(found)


def _holds_order(case: CaseFact, unit: Unit) -> bool:
    return not unit.study_instance_uid and any(message in unit.messages for message in case.order_ids)


@dataclass(frozen=True, slots=True)
class AlgorithmIdentity:
    algorithm: str
    expected: int
    resulted: int
    reasons: Mapping[str, int]
    in_progress: int
    overdue: int
    overdue_without_alarm: int

    @property
    def accounted(self) -> int:
        return self.resulted + sum(self.reasons.values()) + self.in_progress

    @property
    def holds(self) -> bool:
        return self.expected == self.accounted and not self.overdue_without_alarm


def in_force(states: Iterable[AlgorithmFact]) -> dict[tuple[str, str], AlgorithmFact]:
    """By case and algorithm, the version that counts: the last that the case names."""
    newest: dict[tuple[str, str], AlgorithmFact] = {}
    for state in states:
        held = newest.get((state.case_id, state.algorithm))
        if held is None or state.place > held.place:
            newest[state.case_id, state.algorithm] = state
    return newest


def identities(
    algorithms: Mapping[str, datetime | None],
    all_units: Sequence[Unit],
    stands: Standing,
    states: Iterable[AlgorithmFact],
    alarmed: set[tuple[str, str]],
    now: datetime,
) -> tuple[AlgorithmIdentity, ...]:
    """One sum an algorithm.

    ``algorithms``: name -> since when it is in force here (None: always); it is not expected of what was over before.
    ``alarmed``: case and algorithm of each open alarm.
    """
    current = in_force(states)
    entered = {(case_id, algorithm) for case_id, algorithm in current}
    sums: list[AlgorithmIdentity] = []
    for algorithm in sorted({*algorithms, *(name for _, name in current)}):
        since = algorithms.get(algorithm)
        has_entry = {unit for case_id, unit in stands.cases.items() if (case_id, algorithm) in entered}
        expected = sum(unit in has_entry or not (since and unit.seen_at and unit.seen_at < since) for unit in all_units)
        counted = [
            state for (case_id, name), state in current.items() if name == algorithm and _counts(case_id, state, stands)
        ]
        dispositions = Counter(map(disposition_of, counted))
        late = [state for state in counted if is_overdue(state, now)]
        sums.append(
            AlgorithmIdentity(
                algorithm=algorithm,
                expected=expected,
                resulted=dispositions.pop(RESULTED, 0),
                in_progress=dispositions.pop(IN_PROGRESS, 0),
                reasons=dict(sorted(dispositions.items())),
                overdue=len(late),
                overdue_without_alarm=sum((state.case_id, state.algorithm) not in alarmed for state in late),
            )
        )
    return tuple(sums)


def _counts(case_id: str, state: AlgorithmFact, stands: Standing) -> bool:
    """Cases that nothing accounts for are counted too, so that they break the sum; those handed over are not."""
    explained = case_id in stands.cases or any(case.case_id == case_id for case in stands.unexplained)
    return explained and state.disposition != SUPERSEDED
