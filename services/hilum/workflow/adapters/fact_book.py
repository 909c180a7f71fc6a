"""Facts and the identifiers under which they are found: the first half of `hilum.workflow.ports.CaseBook`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.patients.v1.patients_pb2 import PatientEvent
from hilum.contracts.reports.v1.reports_pb2 import Report
from hilum.ids import derived_id
from hilum.site import Site
from hilum.store.sql import SqlTransaction
from hilum.workflow.adapters import events
from hilum.workflow.adapters.tables import CASE_ORDERS, FACTS, IDENTIFIERS, MERGES
from hilum.workflow.domain.case import Algorithm
from hilum.workflow.domain.facts import (
    CaseFacts,
    Identifier,
    InstanceFact,
    OrderFact,
    PatientFact,
    ReportFact,
    ResultFact,
)
from hilum.workflow.domain.identity import same_order
from hilum.workflow.ports import CaseRow, ReportKeys

_Document = Order | Instance | Report | PatientEvent | Result


class SqlFacts:
    """``document`` is the event being heard; the fact made of it is stored as that event's bytes."""

    def __init__(
        self,
        transaction: SqlTransaction,
        site: Site,
        installed: Mapping[tuple[str, str], Algorithm],
        document: _Document | None = None,
    ) -> None:
        self._transaction = transaction
        self._connection = transaction.connection
        self._site = site
        self._installed = installed
        self._document = document

    # Facts.

    def add_order(self, site: str, fact: OrderFact) -> bool:
        keys = [
            ("placer", fact.placer_order_number),
            ("filler", fact.filler_order_number),
            ("accession", fact.accession_number),
            ("study", Identifier(fact.study_instance_uid) if fact.study_instance_uid else None),
            *(("patient", identifier) for identifier in fact.patient),
        ]
        return self._add("order", fact.fact_id, site, "", keys)

    def add_instance(self, site: str, study_instance_uid: str, fact: InstanceFact) -> bool:
        fact_id = derived_id("instance", site, fact.sop_instance_uid, fact.sha256.hex(), fact.reason)
        keys = [("accession", fact.accession_number), *(("patient", identifier) for identifier in fact.patient)]
        return self._add("instance", fact_id, site, study_instance_uid, keys)

    def add_report(self, site: str, fact: ReportFact, found_by: ReportKeys) -> bool:
        return self._add("report", fact.fact_id, site, found_by.study_instance_uid, report_keys(found_by))

    def add_patient(self, site: str, fact: PatientFact, merged: Sequence[Identifier]) -> bool:
        fact_id = derived_id("patient", fact.stamp.message_control_id, fact.stamp.time.isoformat(), fact.document.hex())
        keys = [("patient", identifier) for identifier in (*fact.patient, *merged)]
        if not self._add("patient", fact_id, site, "", keys):
            return False
        for retired in merged:
            for surviving in fact.patient:
                if retired != surviving:
                    self._add_merge(site, retired, surviving)
        return True

    def add_result(self, case_id: str, fact: ResultFact) -> bool:
        return self._add("result", fact.result_id, "", "", [("case", Identifier(case_id))])

    def _add(
        self,
        kind: str,
        fact_id: str,
        site: str,
        study_instance_uid: str,
        keys: Iterable[tuple[str, Identifier | None]],
    ) -> bool:
        found = self._connection.execute(sa.select(FACTS.c.fact_id).where(FACTS.c.fact_id == fact_id)).first()
        if found is not None or self._document is None:
            return False
        self._connection.execute(
            FACTS.insert().values(
                fact_id=fact_id,
                site=site,
                kind=kind,
                study_instance_uid=study_instance_uid,
                document=self._document.SerializeToString(deterministic=True),
            )
        )
        rows = [
            {
                "site": site,
                "kind": key,
                "value": identifier.value,
                "authority": identifier.authority,
                "fact_id": fact_id,
                "fact_kind": kind,
                "study_instance_uid": study_instance_uid,
            }
            for key, identifier in dict.fromkeys(keys)
            if identifier is not None
        ]
        if rows:
            self._connection.execute(IDENTIFIERS.insert(), rows)
        return True

    def _add_merge(self, site: str, retired: Identifier, surviving: Identifier) -> None:
        row = {
            "site": site,
            "retired": retired.value,
            "retired_authority": retired.authority,
            "surviving": surviving.value,
            "surviving_authority": surviving.authority,
        }
        where = [column == row[column.name] for column in MERGES.c]
        if self._connection.execute(sa.select(MERGES).where(*where)).first() is None:
            self._connection.execute(MERGES.insert().values(**row))

    def orders_sharing(self, site: str, facts: Iterable[OrderFact]) -> Sequence[OrderFact]:
        known: dict[str, OrderFact] = {}
        waiting = list(facts)
        while waiting:
            fact = waiting.pop()
            if fact.fact_id in known:
                continue
            known[fact.fact_id] = fact
            near: list[OrderFact] = []
            for kind, identifier in (
                ("placer", fact.placer_order_number),
                ("filler", fact.filler_order_number),
                ("accession", fact.accession_number),
            ):
                if identifier is not None:
                    near += self._orders(site, kind, identifier)
            waiting += [other for other in near if other.fact_id not in known and same_order(fact, other)]
        return list(known.values())

    def orders_with_accession(self, site: str, accession_number: Identifier) -> Sequence[OrderFact]:
        return self._orders(site, "accession", accession_number)

    def studies_with_accession(self, site: str, accession_number: Identifier) -> Sequence[str]:
        rows = self._find(site, "accession", accession_number, "instance")
        return list(dict.fromkeys(row.study_instance_uid for row in rows))

    def _find(self, site: str, kind: str, identifier: Identifier, fact_kind: str) -> Sequence[sa.Row[Any, Any, Any]]:
        rows = self._connection.execute(
            sa.select(IDENTIFIERS.c.authority, IDENTIFIERS.c.fact_id, IDENTIFIERS.c.study_instance_uid).where(
                IDENTIFIERS.c.site == site,
                IDENTIFIERS.c.kind == kind,
                IDENTIFIERS.c.value == identifier.value,
                IDENTIFIERS.c.fact_kind == fact_kind,
            )
        ).all()
        return [row for row in rows if identifier.agrees(Identifier(identifier.value, row.authority))]

    def _documents(self, fact_ids: Iterable[str]) -> Sequence[bytes]:
        wanted = list(dict.fromkeys(fact_ids))
        if not wanted:
            return []
        return list(self._connection.execute(sa.select(FACTS.c.document).where(FACTS.c.fact_id.in_(wanted))).scalars())

    def _orders(self, site: str, kind: str, identifier: Identifier) -> list[OrderFact]:
        rows = self._find(site, kind, identifier, "order")
        return [events.order_fact(Order.FromString(found)) for found in self._documents(row.fact_id for row in rows)]

    def _orders_of(self, row: CaseRow, instances: Sequence[InstanceFact]) -> Sequence[OrderFact]:
        """The case's own, those that name its study, and those of its accession numbers that name no other study."""
        own = self._connection.execute(
            sa.select(CASE_ORDERS.c.fact_id).where(CASE_ORDERS.c.case_id == row.case_id)
        ).scalars()
        near = [events.order_fact(Order.FromString(found)) for found in self._documents(own)]
        if row.study_instance_uid:
            near += self._orders(row.site, "study", Identifier(row.study_instance_uid))
        for accession in {image.accession_number for image in instances if image.accession_number}:
            near += self._orders(row.site, "accession", accession)
        mine: dict[str, OrderFact] = {}
        for order in near:
            if order.fact_id in mine:
                continue
            group = self.orders_sharing(row.site, [order])
            told = [
                fact.study_instance_uid
                for fact in sorted(group, key=lambda fact: fact.stamp)
                if fact.study_instance_uid
            ]
            if not told or not row.study_instance_uid or told[-1] == row.study_instance_uid:
                mine |= {fact.fact_id: fact for fact in group}
        return list(mine.values())

    def _reports(self, row: CaseRow, facts: CaseFacts) -> tuple[ReportFact, ...]:
        keys: set[tuple[str, Identifier]] = set()
        if row.study_instance_uid:
            keys.add(("study", Identifier(row.study_instance_uid)))
        for order in facts.orders:
            for kind, identifier in (
                ("placer", order.placer_order_number),
                ("filler", order.filler_order_number),
                ("accession", order.accession_number),
            ):
                if identifier is not None:
                    keys.add((kind, identifier))
        keys |= {("accession", image.accession_number) for image in facts.instances if image.accession_number}
        found = {item.fact_id for kind, identifier in keys for item in self._find(row.site, kind, identifier, "report")}
        return tuple(events.report_fact(Report.FromString(document)) for document in self._documents(found))

    def _patients(self, site: str, persons: Iterable[Identifier]) -> tuple[PatientFact, ...]:
        found = {item.fact_id for person in persons for item in self._find(site, "patient", person, "patient")}
        return tuple(events.patient_fact(PatientEvent.FromString(document)) for document in self._documents(found))

    def _results(self, case_id: str) -> tuple[ResultFact, ...]:
        rows = self._find("", "case", Identifier(case_id), "result")
        return tuple(
            events.result_fact(Result.FromString(document)) for document in self._documents(row.fact_id for row in rows)
        )

    def _merges(self, site: str, persons: Iterable[Identifier]) -> tuple[tuple[Identifier, Identifier], ...]:
        """Every merge that reaches one of ``persons``, over any number of steps."""
        edges: dict[tuple[Identifier, Identifier], None] = {}
        waiting, asked = {person.value for person in persons}, set[str]()
        while waiting:
            rows = self._connection.execute(
                sa.select(MERGES).where(
                    MERGES.c.site == site,
                    sa.or_(MERGES.c.retired.in_(waiting), MERGES.c.surviving.in_(waiting)),
                )
            ).all()
            asked |= waiting
            found = [
                (Identifier(row.retired, row.retired_authority), Identifier(row.surviving, row.surviving_authority))
                for row in rows
            ]
            edges |= dict.fromkeys(found)
            waiting = {identifier.value for edge in found for identifier in edge} - asked
        return tuple(sorted(edges))


def report_keys(keys: ReportKeys) -> list[tuple[str, Identifier | None]]:
    return [
        ("study", Identifier(keys.study_instance_uid) if keys.study_instance_uid else None),
        ("accession", keys.accession_number),
        ("filler", keys.filler_order_number),
        ("placer", keys.placer_order_number),
    ]
