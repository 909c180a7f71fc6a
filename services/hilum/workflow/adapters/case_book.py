"""`hilum.workflow.ports.CaseBook` on the tables, inside one transaction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hilum.clock import at_microseconds, microseconds
from hilum.contracts import topics
from hilum.contracts.cases.v1.cases_pb2 import CaseState
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.eventlog.port import event_of
from hilum.ids import event_id
from hilum.workflow.adapters import events
from hilum.workflow.adapters.fact_book import SqlFacts
from hilum.workflow.adapters.tables import CASE_ORDERS, CASES, POLICIES
from hilum.workflow.domain.case import Algorithm, Case, Decision
from hilum.workflow.domain.facts import CaseFacts, OrderFact
from hilum.workflow.ports import CaseRow

# Built once: to build a statement costs several times what it costs to run it.
_OF_STUDY = sa.select(CASES).where(
    CASES.c.site == sa.bindparam("site"), CASES.c.study_instance_uid == sa.bindparam("study")
)
_OF_ORDER = (
    sa.select(CASES)
    .join(CASE_ORDERS, CASE_ORDERS.c.case_id == CASES.c.case_id)
    .where(CASE_ORDERS.c.fact_id == sa.bindparam("fact_id"))
)
_THIS = CASES.c.case_id == sa.bindparam("this_case")
_ROW, _DOCUMENT, _FAILURES = (
    sa.select(CASES).where(_THIS),
    sa.select(CASES.c.document).where(_THIS),
    sa.select(CASES.c.failures).where(_THIS),
)
_LOOK_AT = (
    CASES.update()
    .where(_THIS)
    .values(
        look_us=sa.case((CASES.c.look_us < sa.bindparam("at_us"), CASES.c.look_us), else_=sa.bindparam("at_us")),
        cause=sa.bindparam("because"),
    )
)
_DUE = (
    sa.select(CASES.c.case_id, CASES.c.cause)
    .where(CASES.c.look_us <= sa.bindparam("now_us"))
    .order_by(CASES.c.opened_us.desc())
    .limit(sa.bindparam("limit"))
)
_OPEN = CASES.insert()
_ADOPT = CASES.update().where(_THIS).values(study_instance_uid=sa.bindparam("study"))
_ATTACHED = sa.select(CASE_ORDERS.c.fact_id).where(CASE_ORDERS.c.case_id == sa.bindparam("this_case"))
_ATTACH = CASE_ORDERS.insert()
_REATTACH = (
    CASE_ORDERS.update().where(CASE_ORDERS.c.fact_id == sa.bindparam("fact")).values(case_id=sa.bindparam("to_case"))
)
_NEXT_LOOK = sa.select(sa.func.min(CASES.c.look_us))
_DECIDED: dict[str, sa.BindParameter[object]] = {
    name: sa.bindparam(f"new_{name}") for name in ("look_us", "superseded_by", "failures")
}
_UNCHANGED = CASES.update().where(_THIS).values(**_DECIDED)
_CHANGED = CASES.update().where(_THIS).values(**_DECIDED, document=sa.bindparam("new_document"))
_TASKED = ("live", "silent")  # a state that is not known is as good as off
_IN_FORCE = sa.select(POLICIES.c.document).order_by(POLICIES.c.algorithm)


class SqlCaseBook(SqlFacts):
    """The whole book: facts, cases and the policies in force."""

    # Cases.

    def case_of_study(self, site: str, study_instance_uid: str) -> CaseRow | None:
        row = self._connection.execute(_OF_STUDY, {"site": site, "study": study_instance_uid}).first()
        return _case_row(row) if row else None

    def cases_of_orders(self, facts: Iterable[OrderFact]) -> Sequence[CaseRow]:
        found: dict[str, CaseRow] = {}
        for fact in facts:
            row = self._connection.execute(_OF_ORDER, {"fact_id": fact.fact_id}).first()
            if row is not None:
                found[row.case_id] = _case_row(row)
        return sorted(found.values(), key=lambda row: (row.opened_at, row.case_id))

    def row(self, case_id: str) -> CaseRow:
        return _case_row(self._connection.execute(_ROW, {"this_case": case_id}).one())

    def attached_orders(self, case_id: str) -> Sequence[OrderFact]:
        return self._order_facts(self._connection.execute(_ATTACHED, {"this_case": case_id}).scalars())

    def open_case(self, case_id: str, site: str, study_instance_uid: str, at: datetime) -> CaseRow:
        row = {
            "case_id": case_id,
            "site": site,
            "study_instance_uid": study_instance_uid or None,
            "opened_us": microseconds(at),
        }
        self._connection.execute(_OPEN, row)
        return CaseRow(case_id, site, study_instance_uid, at)

    def attach_orders(self, case_id: str, facts: Iterable[OrderFact]) -> None:
        for fact in facts:
            if self._connection.execute(_REATTACH, {"fact": fact.fact_id, "to_case": case_id}).rowcount == 0:
                self._connection.execute(_ATTACH, {"fact_id": fact.fact_id, "case_id": case_id})

    def adopt_study(self, case_id: str, study_instance_uid: str) -> None:
        self._connection.execute(_ADOPT, {"this_case": case_id, "study": study_instance_uid})

    def look_at(self, case_id: str, at: datetime, cause: Mapping[str, str]) -> None:
        look = {"this_case": case_id, "at_us": microseconds(at), "because": json.dumps(dict(cause))}
        self._connection.execute(_LOOK_AT, look)

    def look_at_open_cases(self, at: datetime) -> None:
        self._connection.execute(CASES.update().where(CASES.c.superseded_by == "").values(look_us=microseconds(at)))

    def postpone(self, case_id: str, until: datetime) -> None:
        self._connection.execute(
            CASES.update()
            .where(CASES.c.case_id == case_id)
            .values(look_us=microseconds(until), failures=CASES.c.failures + 1)
        )

    def failures(self, case_id: str) -> int:
        """How many decisions on the case failed in a row."""
        found = self._connection.execute(_FAILURES, {"this_case": case_id}).scalar()
        return int(found or 0)

    def due(self, now: datetime, limit: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        rows = self._connection.execute(_DUE, {"now_us": microseconds(now), "limit": limit}).all()
        return [(row.case_id, json.loads(row.cause)) for row in rows]

    def next_look(self) -> datetime | None:
        found = self._connection.execute(_NEXT_LOOK).scalar()
        return None if found is None else at_microseconds(found)

    def case(self, case_id: str) -> Case | None:
        document = self._connection.execute(_DOCUMENT, {"this_case": case_id}).scalar()
        return events.case_of(CaseState.FromString(document)) if document else None

    def save(self, facts: CaseFacts, decision: Decision, now: datetime) -> None:
        case = decision.case
        values: dict[str, object] = {
            "this_case": facts.case_id,
            "new_look_us": None if case.looks_again_at is None else microseconds(case.looks_again_at),
            "new_superseded_by": facts.superseded_by,
            "new_failures": 0,
        }
        if decision.changed:
            state = events.case_state(case, facts, now)
            values["new_document"] = state.SerializeToString(deterministic=True)
            cause = event_id(facts.case_id, "state", case.version)
            self._transaction.publish(event_of(topics.STUDIES, facts.case_id, state, cause, now))
        for planned in decision.tasks:
            task = events.task(facts.case_id, facts, planned, now)
            self._transaction.publish(
                event_of(topics.TASKS[planned.urgency], facts.case_id, task, event_id(planned.task_id, "task"), now)
            )
        self._connection.execute(_CHANGED if decision.changed else _UNCHANGED, values)

    # Policies.

    def put_policy(self, policy: Policy) -> bool:
        """Keep ``policy`` unless a later revision is known."""
        known = self._connection.execute(
            sa.select(POLICIES.c.revision).where(POLICIES.c.algorithm == policy.algorithm)
        ).scalar()
        if known is not None and known >= policy.revision:
            return False
        self._connection.execute(POLICIES.delete().where(POLICIES.c.algorithm == policy.algorithm))
        self._connection.execute(
            POLICIES.insert().values(
                algorithm=policy.algorithm,
                revision=policy.revision,
                document=policy.SerializeToString(deterministic=True),
            )
        )
        return True

    def algorithms(self) -> tuple[Algorithm, ...]:
        rows = self._connection.execute(_IN_FORCE).scalars()
        found = []
        for document in rows:
            policy = Policy.FromString(document)
            installed = self._installed.get((policy.algorithm, policy.algorithm_version))
            if installed is not None and installed.package_digest == policy.package_digest:
                found.append(replace(installed, policy_revision=policy.revision, off=policy.state not in _TASKED))
        return tuple(found)


def _case_row(row: sa.Row[Any]) -> CaseRow:
    return CaseRow(row.case_id, row.site, row.study_instance_uid or "", at_microseconds(row.opened_us))
