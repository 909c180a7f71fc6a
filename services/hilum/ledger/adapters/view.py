"""`hilum.ledger.ports.LedgerView` on one connection."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hilum.contracts import topics
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.ledger.adapters import reading, tables
from hilum.ledger.adapters.encoding import at, micros
from hilum.ledger.domain.entry import CaseFile
from hilum.ledger.domain.facts import (
    AlarmFact,
    AlgorithmFact,
    CaseFact,
    DeadLetterFact,
    DeliveryFact,
    DeliveryState,
    ImageFact,
    Key,
    MessageFact,
    OrderFact,
    ReportFact,
    ResultFact,
    StudyFact,
    TaskFact,
)
from hilum.ledger.ports import Selection

_READ = ("F", "C", "X")
_CHUNK = 500
GROUP = "ledger"


class SqlView:
    """Reads are consistent when the connection is in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def case_files(self, selection: Selection) -> Sequence[CaseFile]:
        cases = [reading.case(row) for row in self._connection.execute(_select_cases(selection))]
        ids = [case.case_id for case in cases]
        algorithms = _by_case(self._of(tables.ALGORITHMS, ids, reading.algorithm))
        history = _by_case(self._of(tables.HISTORY, ids, reading.algorithm))
        tasks = _by_case(self._of(tables.TASKS, ids, reading.task))
        results = _by_case(self._of(tables.RESULTS, ids, reading.result))
        alarms = _by_case(self._of(tables.ALARMS, ids, reading.alarm))
        deliveries = _by_case(self._deliveries(tables.DELIVERIES.c.case_id, ids))
        orders = self._orders(cases)
        reports = self._reports(cases)
        studies = {
            study.study_instance_uid: study for study in self._studies(case.study_instance_uid for case in cases)
        }
        return [
            CaseFile(
                case=case,
                algorithms=tuple(algorithms[case.case_id]),
                history=tuple(history[case.case_id]),
                orders=tuple(order for order in orders if _concerns(case, order)),
                reports=tuple(report for report in reports if _concerns(case, report)),
                study=studies.get(case.study_instance_uid),
                tasks=tuple(tasks[case.case_id]),
                results=tuple(results[case.case_id]),
                deliveries=tuple(deliveries[case.case_id]),
                alarms=tuple(alarms[case.case_id]),
            )
            for case in cases
        ]

    def cases(self) -> Sequence[CaseFact]:
        return [reading.case(row) for row in self._connection.execute(sa.select(tables.CASES))]

    def algorithms(self) -> Sequence[AlgorithmFact]:
        return [reading.algorithm(row) for row in self._connection.execute(sa.select(tables.ALGORITHMS))]

    def messages(self) -> Sequence[MessageFact]:
        effects = (
            sa.select(tables.EFFECTS.c.message_id, sa.func.count().label("effects"))
            .group_by(tables.EFFECTS.c.message_id)
            .subquery()
        )
        dead = (
            sa.select(tables.DEAD_LETTERS.c.cause_event_id)
            .where(tables.DEAD_LETTERS.c.topic == topics.MESSAGES.name)
            .distinct()
            .subquery()
        )
        rows = self._connection.execute(
            sa.select(tables.MESSAGES, effects.c.effects, dead.c.cause_event_id)
            .outerjoin(effects, effects.c.message_id == tables.MESSAGES.c.event_id)
            .outerjoin(dead, dead.c.cause_event_id == tables.MESSAGES.c.event_id)
        )
        return [reading.message(row) for row in rows]

    def orders(self) -> Sequence[OrderFact]:
        return [reading.order(row) for row in self._connection.execute(sa.select(tables.ORDERS))]

    def studies(self) -> Sequence[StudyFact]:
        return self._studies(None)

    def images(self) -> Sequence[ImageFact]:
        rows = self._connection.execute(sa.select(tables.INSTANCES).where(tables.INSTANCES.c.object_key != ""))
        found = {ImageFact(row.sop_instance_uid, row.object_key, row.sha256, row.size_bytes) for row in rows}
        return sorted(found, key=lambda image: image.object_key)  # an event that was replayed names it again

    def tasks(self) -> Sequence[TaskFact]:
        return [reading.task(row) for row in self._connection.execute(sa.select(tables.TASKS))]

    def results(self) -> Sequence[ResultFact]:
        return [reading.result(row) for row in self._connection.execute(sa.select(tables.RESULTS))]

    def deliveries(self) -> Sequence[DeliveryFact]:
        return self._deliveries(None, [])

    def open_alarms(self) -> set[tuple[str, str]]:
        rows = self._connection.execute(
            sa.select(tables.ALARMS.c.case_id, tables.ALARMS.c.algorithm).where(
                tables.ALARMS.c.kind == "overdue", tables.ALARMS.c.cleared_at.is_(None)
            )
        )
        return {(row.case_id, row.algorithm) for row in rows}

    def alarms(self) -> Sequence[AlarmFact]:
        rows = self._connection.execute(
            sa.select(tables.ALARMS).where(tables.ALARMS.c.cleared_at.is_(None)).order_by(tables.ALARMS.c.raised_at)
        )
        return [reading.alarm(row) for row in rows]

    def in_force_since(self) -> Mapping[str, datetime]:
        rows = self._connection.execute(sa.select(tables.POLICIES.c.algorithm, tables.POLICIES.c.first_at))
        return {row.algorithm: at(row.first_at) for row in rows}

    def dead_letters(self) -> Sequence[DeadLetterFact]:
        rows = self._connection.execute(
            sa.select(tables.DEAD_LETTERS).order_by(tables.DEAD_LETTERS.c.at, tables.DEAD_LETTERS.c.dead_letter_id)
        )
        return [reading.dead_letter(row) for row in rows]

    def dead_letter(self, dead_letter_id: str) -> DeadLetterFact | None:
        row = self._dead_letter_row(dead_letter_id)
        if row is None:
            return None
        return reading.dead_letter(row, DeadLetter.FromString(row.letter).value)

    def letter(self, dead_letter_id: str) -> DeadLetter | None:
        """The dead letter as the log holds it, to be replayed."""
        row = self._dead_letter_row(dead_letter_id)
        return None if row is None else DeadLetter.FromString(row.letter)

    def positions(self) -> Mapping[tuple[str, int], int]:
        rows = self._connection.execute(
            sa.text("SELECT topic, partition, next_offset FROM inbox_positions WHERE group_name = :group"),
            {"group": GROUP},
        )
        return {(row.topic, row.partition): row.next_offset for row in rows}

    def _dead_letter_row(self, dead_letter_id: str) -> Any:
        return self._connection.execute(
            sa.select(tables.DEAD_LETTERS).where(tables.DEAD_LETTERS.c.dead_letter_id == dead_letter_id)
        ).first()

    def _of(self, table: sa.Table, ids: Sequence[str], read: Any) -> list[Any]:
        return [read(row) for row in self._where(sa.select(table), table.c.case_id, ids)]

    def _where(self, statement: sa.Select[Any], column: sa.ColumnElement[str], values: Iterable[str]) -> list[Any]:
        """The rows where ``column`` is one of ``values``, asked in pieces."""
        wanted = sorted(set(values))
        rows: list[Any] = []
        for start in range(0, len(wanted), _CHUNK):
            rows += self._connection.execute(statement.where(column.in_(wanted[start : start + _CHUNK]))).all()
        return rows

    def _deliveries(self, column: sa.ColumnElement[str] | None, values: Sequence[str]) -> list[DeliveryFact]:
        statement = sa.select(tables.DELIVERIES)
        states = sa.select(tables.DELIVERY_STATES)
        if column is None:
            rows = self._connection.execute(statement).all()
            passed = self._connection.execute(states).all()
        else:
            rows = self._where(statement, column, values)
            passed = self._where(states, tables.DELIVERY_STATES.c.delivery_id, [row.delivery_id for row in rows])
        history: dict[str, list[DeliveryState]] = defaultdict(list)
        for row in passed:
            history[row.delivery_id].append(DeliveryState(at(row.at), row.state, row.reason))
        return [reading.delivery(row, sorted(history[row.delivery_id], key=lambda one: one.at)) for row in rows]

    def _studies(self, uids: Iterable[str] | None) -> list[StudyFact]:
        columns = tables.INSTANCES.c
        statement = sa.select(
            columns.study_instance_uid,
            columns.accession_number,
            columns.accession_authority,
            columns.reason,
            sa.func.count(columns.sop_instance_uid.distinct()).label("count"),
            sa.func.min(columns.received_at).label("first_at"),
            sa.func.max(columns.received_at).label("last_at"),
        ).group_by(columns.study_instance_uid, columns.accession_number, columns.accession_authority, columns.reason)
        if uids is None:
            rows = self._connection.execute(statement).all()
        else:
            rows = self._where(statement, columns.study_instance_uid, uids)
        by_study: dict[str, list[Any]] = defaultdict(list)
        for row in rows:
            by_study[row.study_instance_uid].append(row)
        return [_study(uid, found) for uid, found in by_study.items() if uid]

    def _orders(self, cases: Sequence[CaseFact]) -> list[OrderFact]:
        found: dict[str, OrderFact] = {}
        for row in self._found_by(tables.ORDERS, cases):
            found[row.event_id] = reading.order(row)
        return list(found.values())

    def _reports(self, cases: Sequence[CaseFact]) -> list[ReportFact]:
        found: dict[str, ReportFact] = {}
        for row in self._found_by(tables.REPORTS, cases):
            found[row.event_id] = reading.report(row)
        return list(found.values())

    def _found_by(self, table: sa.Table, cases: Sequence[CaseFact]) -> list[Any]:
        """Rows that share a number or the study with one of ``cases``."""
        numbers = {key.value for case in cases for key in case.order_keys}
        numbers |= {case.accession_number for case in cases if case.accession_number}
        joined = sa.select(table).join(tables.KEYS, tables.KEYS.c.event_id == table.c.event_id)
        rows = self._where(joined, tables.KEYS.c.value, numbers)
        studies = [case.study_instance_uid for case in cases if case.study_instance_uid]
        return rows + self._where(sa.select(table), table.c.study_instance_uid, studies)


def _concerns(case: CaseFact, fact: OrderFact | ReportFact) -> bool:
    if fact.study_instance_uid and case.study_instance_uid:
        return fact.study_instance_uid == case.study_instance_uid
    if isinstance(fact, OrderFact) and (fact.message_id, fact.ordinal) in case.order_ids:
        return True
    keys = case.order_keys or (Key("accession", case.accession_number),)
    return any(mine.agrees(theirs) for mine in keys for theirs in fact.keys)


def _study(uid: str, rows: Sequence[Any]) -> StudyFact:
    unusable: Counter[str] = Counter()
    for row in rows:
        if row.reason:
            unusable[row.reason] += row.count
    accessions = {
        Key("accession", row.accession_number, row.accession_authority) for row in rows if row.accession_number
    }
    return StudyFact(
        study_instance_uid=uid,
        first_at=at(min(row.first_at for row in rows)),
        last_at=at(max(row.last_at for row in rows)),
        count=sum(row.count for row in rows),
        unusable=dict(unusable),
        accession_numbers=tuple(sorted(accessions)),
    )


def _select_cases(selection: Selection) -> sa.Select[Any]:
    columns = tables.CASES.c
    statement = sa.select(tables.CASES).order_by(columns.opened_at, columns.case_id).limit(selection.limit)
    if selection.accession_number:
        statement = statement.where(columns.accession_number == selection.accession_number)
    if selection.study_instance_uid:
        statement = statement.where(columns.study_instance_uid == selection.study_instance_uid)
    if selection.unread:
        statement = statement.where(
            columns.instance_count > 0, sa.not_(columns.cancelled), columns.report_status.not_in(_READ)
        )
    if selection.after is not None:
        opened, case_id = micros(selection.after[0]), selection.after[1]
        later = sa.or_(columns.opened_at > opened, sa.and_(columns.opened_at == opened, columns.case_id > case_id))
        statement = statement.where(later)
    return statement


def _by_case(facts: Iterable[Any]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = defaultdict(list)
    for fact in facts:
        grouped[fact.case_id].append(fact)
    return grouped
