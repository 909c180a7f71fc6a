"""Facts and the identifiers under which they are found: the first half of `hilum.workflow.ports.CaseBook`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import sqlalchemy as sa

from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.patients.v1.patients_pb2 import PatientEvent
from hilum.contracts.reports.v1.reports_pb2 import Report
from hilum.errors import Fault
from hilum.ids import derived_id
from hilum.site import Site
from hilum.store.sql import SqlTransaction
from hilum.workflow.adapters import events
from hilum.workflow.adapters.tables import FACTS, IDENTIFIERS, MERGES
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
from hilum.workflow.ports import ReportKeys

_Document = Order | Instance | Report | PatientEvent | Result
_Key = tuple[str, Identifier | None]
_AT_ONCE = 500  # values in one IN; databases bound them
# Statements of every decision are built once: building one costs more than running it.
_FIND = (
    sa.select(IDENTIFIERS.c.authority, IDENTIFIERS.c.target)
    .where(*(IDENTIFIERS.c[name] == sa.bindparam(name) for name in ("site", "kind", "value", "leads_to")))
    .order_by(IDENTIFIERS.c.target)
)
_INDEXED = sa.select(IDENTIFIERS.c.kind).where(*(column == sa.bindparam(column.name) for column in IDENTIFIERS.c))
_INDEX = IDENTIFIERS.insert()
_KNOWN = sa.select(FACTS.c.fact_id).where(FACTS.c.fact_id == sa.bindparam("fact_id"))
_KEEP = FACTS.insert()
_DOCUMENTS = (
    sa.select(FACTS.c.document)
    .where(FACTS.c.fact_id.in_(sa.bindparam("fact_ids", expanding=True)))
    .order_by(FACTS.c.fact_id)
)
_MERGED = sa.select(MERGES).where(
    MERGES.c.site == sa.bindparam("site"),
    sa.or_(
        MERGES.c.retired.in_(sa.bindparam("some", expanding=True)),
        MERGES.c.surviving.in_(sa.bindparam("some", expanding=True)),
    ),
)
_IMAGES = sa.select(FACTS.c.document).where(
    FACTS.c.site == sa.bindparam("site"),
    FACTS.c.study_instance_uid == sa.bindparam("study"),
    FACTS.c.kind == "instance",
)


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

    # Adding.

    def add_order(self, site: str, fact: OrderFact) -> bool:
        if not self._add("order", fact.fact_id, site):
            return False
        study = Identifier(fact.study_instance_uid) if fact.study_instance_uid else None
        persons = [("patient", identifier) for identifier in fact.patient]
        self._index("order", fact.fact_id, site, [*_order_keys(fact), ("study", study), *persons])
        return True

    def add_instance(self, site: str, study_instance_uid: str, fact: InstanceFact) -> bool:
        fact_id = derived_id("instance", site, fact.sop_instance_uid, fact.sha256.hex(), fact.reason)
        if not self._add("instance", fact_id, site, study_instance_uid):
            return False
        # Found by study: a thousand images that say the same are one entry.
        persons = [("patient", identifier) for identifier in fact.patient]
        self._index("study", study_instance_uid, site, [("accession", fact.accession_number), *persons])
        return True

    def add_report(self, site: str, fact: ReportFact, found_by: ReportKeys) -> bool:
        if not self._add("report", fact.fact_id, site, found_by.study_instance_uid):
            return False
        self._index("report", fact.fact_id, site, _report_keys(found_by))
        return True

    def add_patient(self, site: str, fact: PatientFact, merged: Sequence[Identifier]) -> bool:
        if not self._add("patient", fact.fact_id, site):
            return False
        self._index("patient", fact.fact_id, site, [("patient", each) for each in (*fact.patient, *merged)])
        for retired in merged:
            if not any(retired.agrees(surviving) for surviving in fact.patient):
                for surviving in fact.patient:
                    self._add_merge(site, retired, surviving)
        return True

    def add_result(self, case_id: str, fact: ResultFact) -> bool:
        if not self._add("result", fact.result_id, ""):
            return False
        self._index("result", fact.result_id, "", [("case", Identifier(case_id))])
        return True

    def _add(self, kind: str, fact_id: str, site: str, study_instance_uid: str = "") -> bool:
        if self._document is None:
            raise Fault("no_document", "a fact is added only while its event is being heard")
        if self._connection.execute(_KNOWN, {"fact_id": fact_id}).first():
            return False
        row = {
            "fact_id": fact_id,
            "site": site,
            "kind": kind,
            "study_instance_uid": study_instance_uid,
            "document": self._document.SerializeToString(deterministic=True),
        }
        self._connection.execute(_KEEP, row)
        return True

    def _index(self, leads_to: str, target: str, site: str, keys: Iterable[_Key]) -> None:
        for kind, identifier in dict.fromkeys(keys):
            if identifier is None:
                continue
            row = {
                "site": site,
                "kind": kind,
                "value": identifier.value,
                "authority": identifier.authority,
                "leads_to": leads_to,
                "target": target,
            }
            if self._connection.execute(_INDEXED, row).first() is None:
                self._connection.execute(_INDEX, row)

    def _add_merge(self, site: str, retired: Identifier, surviving: Identifier) -> None:
        row = {
            "site": site,
            "retired": retired.value,
            "retired_authority": retired.authority,
            "surviving": surviving.value,
            "surviving_authority": surviving.authority,
        }
        where = [column == row[column.name] for column in MERGES.c]
        if self._connection.execute(sa.select(MERGES.c.site).where(*where)).first() is None:
            self._connection.execute(MERGES.insert().values(**row))

    # Finding.

    def related_orders(self, site: str, facts: Iterable[OrderFact]) -> Sequence[OrderFact]:
        known: dict[str, OrderFact] = {}
        asked: set[tuple[str, Identifier]] = set()
        waiting = list(facts)
        while waiting:
            fact = waiting.pop()
            if fact.fact_id in known:
                continue
            known[fact.fact_id] = fact
            for kind, identifier in _order_keys(fact):
                if identifier is not None and (kind, identifier) not in asked:
                    asked.add((kind, identifier))
                    waiting += self._orders(site, kind, identifier)
        return list(known.values())

    def orders_with_accession(self, site: str, accession_number: Identifier) -> Sequence[OrderFact]:
        return self._orders(site, "accession", accession_number)

    def orders_with_study(self, site: str, study_instance_uid: str) -> Sequence[OrderFact]:
        return self._orders(site, "study", Identifier(study_instance_uid))

    def orders_with_report(self, site: str, found_by: ReportKeys) -> Sequence[OrderFact]:
        keys = [(kind, identifier) for kind, identifier in _report_keys(found_by) if identifier is not None]
        return [order for kind, identifier in keys for order in self._orders(site, kind, identifier)]

    def studies_with_accession(self, site: str, accession_number: Identifier) -> Sequence[str]:
        return self._find(site, "accession", accession_number, "study")

    def study_carries(self, site: str, study_instance_uid: str, accession_number: Identifier) -> bool:
        row = {
            "site": site,
            "kind": "accession",
            "value": accession_number.value,
            "authority": accession_number.authority,
            "leads_to": "study",
            "target": study_instance_uid,
        }
        return self._connection.execute(_INDEXED, row).first() is not None

    def of_patient(self, site: str, identifiers: Iterable[Identifier]) -> tuple[Sequence[str], Sequence[OrderFact]]:
        wanted = set(identifiers)
        wanted |= {identifier for edge in self._merges(site, wanted) for identifier in edge}
        studies = [study for each in wanted for study in self._find(site, "patient", each, "study")]
        orders = {order.fact_id: order for each in wanted for order in self._orders(site, "patient", each)}
        return list(dict.fromkeys(studies)), list(orders.values())

    def instances(self, site: str, study_instance_uid: str) -> Sequence[InstanceFact]:
        rows = self._connection.execute(_IMAGES, {"site": site, "study": study_instance_uid}).scalars()
        found = [events.instance_fact(Instance.FromString(document), self._site) for document in rows]
        return sorted(found, key=lambda image: (image.sop_instance_uid, image.reason, image.sha256))

    def count_instances(self, site: str, study_instance_uid: str) -> int:
        return int(self._connection.execute(_COUNT, {"site": site, "study": study_instance_uid}).scalar_one())

    def completed(self, facts: CaseFacts) -> CaseFacts:
        messages = [message for order in facts.orders for message in order]
        persons = {identifier for message in messages for identifier in message.patient}
        persons |= {identifier for image in facts.instances for identifier in image.patient}
        merges = self._merges(facts.site, persons)
        return replace(
            facts,
            reports=self._reports(facts, messages),
            merges=merges,
            patients=self._patients(facts.site, persons | {identifier for edge in merges for identifier in edge}),
            results=self._results(facts.case_id),
        )

    def _reports(self, facts: CaseFacts, messages: Iterable[OrderFact]) -> tuple[ReportFact, ...]:
        """One that names a study speaks of that study alone."""
        keys: set[_Key] = {key for message in messages for key in _order_keys(message)}
        keys |= {("accession", image.accession_number) for image in facts.instances}
        if facts.study_instance_uid:
            keys.add(("study", Identifier(facts.study_instance_uid)))
        found = [
            target for kind, each in keys if each is not None for target in self._find(facts.site, kind, each, "report")
        ]
        reports = [Report.FromString(document) for document in self._documents(found)]
        return tuple(
            events.report_fact(report)
            for report in reports
            if report.study_instance_uid in {"", facts.study_instance_uid} or not facts.study_instance_uid
        )

    def _patients(self, site: str, near: Iterable[Identifier]) -> tuple[PatientFact, ...]:
        """What ADT said of ``near``; who of them is meant, `hilum.workflow.domain.identity` judges."""
        found = [target for each in near for target in self._find(site, "patient", each, "patient")]
        return tuple(
            events.patient_fact(PatientEvent.FromString(document)) for document in self._documents(sorted(found))
        )

    def _results(self, case_id: str) -> tuple[ResultFact, ...]:
        found = self._documents(self._find("", "case", Identifier(case_id), "result"))
        return tuple(events.result_fact(Result.FromString(document)) for document in found)

    def _merges(self, site: str, persons: Iterable[Identifier]) -> tuple[tuple[Identifier, Identifier], ...]:
        """Every merge that reaches one of ``persons``, over any number of steps, whatever the authorities."""
        edges: dict[tuple[Identifier, Identifier], None] = {}
        waiting, asked = {person.value for person in persons}, set[str]()
        while waiting:
            some = set(islice(waiting, _AT_ONCE))
            rows = self._connection.execute(_MERGED, {"site": site, "some": sorted(some)}).all()
            asked |= some
            found = [
                (Identifier(row.retired, row.retired_authority), Identifier(row.surviving, row.surviving_authority))
                for row in rows
            ]
            edges |= dict.fromkeys(found)
            waiting = (waiting | {identifier.value for edge in found for identifier in edge}) - asked
        return tuple(sorted(edges))

    def _find(self, site: str, kind: str, identifier: Identifier, leads_to: str) -> list[str]:
        """What the identifier leads to: fact IDs, or study UIDs."""
        named = {"site": site, "kind": kind, "value": identifier.value, "leads_to": leads_to}
        rows = self._connection.execute(_FIND, named).all()
        agreeing = [row.target for row in rows if identifier.agrees(Identifier(identifier.value, row.authority))]
        return list(dict.fromkeys(agreeing))

    def _orders(self, site: str, kind: str, identifier: Identifier) -> list[OrderFact]:
        return self._order_facts(self._find(site, kind, identifier, "order"))

    def _order_facts(self, fact_ids: Iterable[str]) -> list[OrderFact]:
        return [events.order_fact(Order.FromString(found)) for found in self._documents(fact_ids)]

    def _documents(self, fact_ids: Iterable[str]) -> Sequence[bytes]:
        wanted = iter(dict.fromkeys(fact_ids))
        found: list[bytes] = []
        while some := list(islice(wanted, _AT_ONCE)):
            found += self._connection.execute(_DOCUMENTS, {"fact_ids": some}).scalars()
        return found


_COUNT = (
    sa.select(sa.func.count())
    .select_from(FACTS)
    .where(
        FACTS.c.site == sa.bindparam("site"),
        FACTS.c.study_instance_uid == sa.bindparam("study"),
        FACTS.c.kind == "instance",
    )
)


def _order_keys(fact: OrderFact) -> list[_Key]:
    return [
        ("placer", fact.placer_order_number),
        ("filler", fact.filler_order_number),
        ("accession", fact.accession_number),
    ]


def _report_keys(keys: ReportKeys) -> list[_Key]:
    return [
        ("study", Identifier(keys.study_instance_uid) if keys.study_instance_uid else None),
        ("accession", keys.accession_number),
        ("filler", keys.filler_order_number),
        ("placer", keys.placer_order_number),
    ]
