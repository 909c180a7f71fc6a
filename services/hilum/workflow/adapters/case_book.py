"""`hilum.workflow.ports.CaseBook` on the tables, inside one transaction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import sqlalchemy as sa

from hilum.contracts import topics
from hilum.contracts.cases.v1.cases_pb2 import CaseState
from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.patients.v1.patients_pb2 import PatientEvent
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.contracts.reports.v1.reports_pb2 import Report
from hilum.eventlog.port import event_of
from hilum.ids import event_id
from hilum.workflow.adapters import events
from hilum.workflow.adapters.fact_book import SqlFacts, report_keys
from hilum.workflow.adapters.tables import CASE_ORDERS, CASES, FACTS, POLICIES
from hilum.workflow.domain.case import Algorithm, Case, Decision
from hilum.workflow.domain.facts import (
    CaseFacts,
    Identifier,
    OrderFact,
)
from hilum.workflow.ports import CaseRow, ReportKeys

_Document = Order | Instance | Report | PatientEvent | Result


class SqlCaseBook(SqlFacts):
    """The whole book: facts, cases and the policies in force."""

    def cases_of_report(self, site: str, found_by: ReportKeys) -> Sequence[str]:
        studies: dict[str, None] = dict.fromkeys(filter(None, [found_by.study_instance_uid]))
        orders: list[OrderFact] = []
        for kind, identifier in report_keys(found_by):
            if identifier is None:
                continue
            orders += self._orders(site, kind, identifier)
            if kind == "accession":
                studies |= dict.fromkeys(self.studies_with_accession(site, identifier))
        return self._cases(site, studies, orders)

    def cases_of_patient(self, site: str, identifiers: Iterable[Identifier]) -> Sequence[str]:
        studies: dict[str, None] = {}
        orders: list[OrderFact] = []
        for identifier in identifiers:
            studies |= dict.fromkeys(
                row.study_instance_uid for row in self._find(site, "patient", identifier, "instance")
            )
            orders += self._orders(site, "patient", identifier)
        return self._cases(site, studies, orders)

    def _cases(self, site: str, studies: Iterable[str], orders: Sequence[OrderFact]) -> Sequence[str]:
        uids = dict.fromkeys([*studies, *(order.study_instance_uid for order in orders if order.study_instance_uid)])
        found = [self.case_of_study(site, uid) for uid in uids]
        found += [self.case_of_orders([order]) for order in orders]
        for order in orders:
            if order.accession_number is not None and not order.study_instance_uid:
                shared = self.studies_with_accession(site, order.accession_number)
                found += [self.case_of_study(site, uid) for uid in shared]
        return list(dict.fromkeys(row.case_id for row in found if row is not None))

    # Cases.

    def case_of_study(self, site: str, study_instance_uid: str) -> CaseRow | None:
        row = self._connection.execute(
            sa.select(CASES).where(CASES.c.site == site, CASES.c.study_instance_uid == study_instance_uid)
        ).first()
        return _case_row(row) if row else None

    def case_of_orders(self, facts: Iterable[OrderFact]) -> CaseRow | None:
        wanted = [fact.fact_id for fact in facts]
        row = self._connection.execute(
            sa.select(CASES)
            .join(CASE_ORDERS, CASE_ORDERS.c.case_id == CASES.c.case_id)
            .where(CASE_ORDERS.c.fact_id.in_(wanted), CASES.c.superseded_by == "")
            .order_by(CASES.c.opened_us)
        ).first()
        return _case_row(row) if row else None

    def open_case(self, case_id: str, site: str, study_instance_uid: str, at: datetime) -> CaseRow:
        self._connection.execute(
            CASES.insert().values(
                case_id=case_id, site=site, study_instance_uid=study_instance_uid or None, opened_us=_us(at)
            )
        )
        return CaseRow(case_id, site, study_instance_uid, at, "")

    def attach_orders(self, case_id: str, facts: Iterable[OrderFact]) -> None:
        self._connection.execute(
            CASE_ORDERS.insert(), [{"fact_id": fact.fact_id, "case_id": case_id} for fact in facts]
        )

    def adopt_study(self, case_id: str, study_instance_uid: str) -> None:
        self._connection.execute(
            CASES.update().where(CASES.c.case_id == case_id).values(study_instance_uid=study_instance_uid)
        )

    def supersede(self, case_id: str, by: str) -> None:
        self._connection.execute(CASES.update().where(CASES.c.case_id == case_id).values(superseded_by=by))

    def look_at(self, case_id: str, at: datetime, cause: Mapping[str, str]) -> None:
        sooner = sa.func.min(sa.func.coalesce(CASES.c.look_us, _us(at)), _us(at))
        self._connection.execute(
            CASES.update().where(CASES.c.case_id == case_id).values(look_us=sooner, cause=json.dumps(dict(cause)))
        )

    def look_at_open_cases(self, at: datetime) -> None:
        self._connection.execute(CASES.update().where(CASES.c.superseded_by == "").values(look_us=_us(at)))

    def due(self, now: datetime, limit: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        rows = self._connection.execute(
            sa.select(CASES.c.case_id, CASES.c.cause)
            .where(CASES.c.look_us <= _us(now))
            .order_by(CASES.c.look_us)
            .limit(limit)
        ).all()
        return [(row.case_id, json.loads(row.cause)) for row in rows]

    def next_look(self) -> datetime | None:
        found = self._connection.execute(sa.select(sa.func.min(CASES.c.look_us))).scalar()
        return None if found is None else _at(found)

    def facts(self, case_id: str) -> CaseFacts:
        row = _case_row(self._connection.execute(sa.select(CASES).where(CASES.c.case_id == case_id)).one())
        instances = (
            [
                events.instance_fact(Instance.FromString(document), self._site)
                for document in self._connection.execute(
                    sa.select(FACTS.c.document).where(
                        FACTS.c.site == row.site,
                        FACTS.c.study_instance_uid == row.study_instance_uid,
                        FACTS.c.kind == "instance",
                    )
                ).scalars()
            ]
            if row.study_instance_uid
            else []
        )
        orders = self._orders_of(row, instances)
        found = CaseFacts(
            case_id=case_id,
            site=row.site,
            study_instance_uid=row.study_instance_uid,
            opened_at=row.opened_at,
            orders=tuple(sorted(orders, key=lambda order: order.stamp)),
            instances=tuple(sorted(instances, key=lambda image: image.sop_instance_uid)),
            superseded_by=row.superseded_by,
        )
        persons = {identifier for order in found.orders for identifier in order.patient}
        persons |= {identifier for image in found.instances for identifier in image.patient}
        merges = self._merges(row.site, persons)
        persons |= {identifier for edge in merges for identifier in edge}
        return replace(
            found,
            reports=self._reports(row, found),
            patients=self._patients(row.site, persons),
            results=self._results(case_id),
            merges=merges,
        )

    def case(self, case_id: str) -> Case | None:
        document = self._connection.execute(sa.select(CASES.c.document).where(CASES.c.case_id == case_id)).scalar()
        return events.case_of(CaseState.FromString(document)) if document else None

    def save(self, facts: CaseFacts, decision: Decision, now: datetime) -> None:
        case = decision.case
        values: dict[str, object] = {"look_us": None if case.looks_again_at is None else _us(case.looks_again_at)}
        if decision.changed:
            state = events.case_state(case, facts, now)
            values["document"] = state.SerializeToString(deterministic=True)
            cause = event_id(facts.case_id, "state", case.version)
            self._transaction.publish(event_of(topics.STUDIES, facts.case_id, state, cause, now))
        for planned in decision.tasks:
            task = events.task(facts.case_id, facts, planned, now)
            self._transaction.publish(
                event_of(topics.TASKS[planned.urgency], facts.case_id, task, event_id(planned.task_id, "task"), now)
            )
        self._connection.execute(CASES.update().where(CASES.c.case_id == facts.case_id).values(**values))

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
        rows = self._connection.execute(sa.select(POLICIES.c.document).order_by(POLICIES.c.algorithm)).scalars()
        found = []
        for document in rows:
            policy = Policy.FromString(document)
            installed = self._installed.get((policy.algorithm, policy.algorithm_version))
            if installed is not None and installed.package_digest == policy.package_digest:
                found.append(replace(installed, policy_revision=policy.revision, off=policy.state == "off"))
        return tuple(found)


def _case_row(row: sa.Row[tuple[object, ...]]) -> CaseRow:
    return CaseRow(row.case_id, row.site, row.study_instance_uid or "", _at(row.opened_us), row.superseded_by)


def _us(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)


def _at(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)
