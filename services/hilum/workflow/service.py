"""Workflow as a service: hears every input topic, decides on cases whose time has come."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from opentelemetry.trace import SpanKind

from hilum import packages, telemetry
from hilum.contracts import topics
from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.patients.v1.patients_pb2 import PatientEvent
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.contracts.reports.v1.reports_pb2 import Report
from hilum.errors import Unavailable
from hilum.eventlog.consumer import Consumer, Handler
from hilum.eventlog.port import Record
from hilum.hosting import Platform
from hilum.site import Site
from hilum.store.relay import relay
from hilum.store.sql import SqlStore, SqlTransaction, of_database
from hilum.workflow.adapters import events
from hilum.workflow.adapters.case_book import SqlCaseBook
from hilum.workflow.adapters.tables import METADATA
from hilum.workflow.app import Workflow
from hilum.workflow.domain.case import Algorithm, SiteRules
from hilum.workflow.domain.completeness import CompletenessRules
from hilum.workflow.domain.eligibility import Rule
from hilum.workflow.settings import Settings

_LOG = logging.getLogger(__name__)
_READY_POLL_SECONDS = 0.05
# What a result means for its case is looked at so much later: until then its priority is mostly on its way, alone.
_AFTER_RESULT = timedelta(milliseconds=100)
_RETRY_SECONDS = (1.0, 10.0, 60.0, 600.0)  # between tries of a decision that fails


class WorkflowService:
    name = "workflow"

    def __init__(self, settings: Settings, platform: Platform, installed: Mapping[tuple[str, str], Algorithm]) -> None:
        self._settings = settings
        self._platform = platform
        self._installed = installed
        self._app = Workflow(platform.ids, site_rules(platform.site))
        self._store: SqlStore | None = None
        self._news = asyncio.Event()
        self._decides = False
        self._next_look = 0.0  # as the event loop counts

    async def serve(self, ready: Callable[[], None]) -> None:
        store = self._platform.open_store(self.name, METADATA)
        try:
            consumer: Consumer[SqlTransaction] = Consumer(
                self._platform.log, store, self.name, self._handlers(), self._platform.clock, after=self._decide_with_it
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(relay(store, self._platform.log, self._platform.clock))
                group.create_task(consumer.run())
                while consumer.caught_up_at is None:  # policies are read to the end before the first decision
                    await self._platform.clock.sleep(_READY_POLL_SECONDS)
                group.create_task(self._decide_when_due(store))
                ready()
        finally:
            store.close()

    def _handlers(self) -> dict[str, Handler[SqlTransaction]]:
        hear: dict[str, Callable[[SqlTransaction, Record], None]] = {
            topics.ORDERS.name: self._order,
            topics.INSTANCES.name: self._instance,
            topics.REPORTS.name: self._report,
            topics.PATIENTS.name: self._patient,
            topics.FINDINGS.name: self._result,
            topics.POLICIES.name: self._policy,
        }

        def traced(topic: str) -> Handler[SqlTransaction]:
            def handle(transaction: SqlTransaction, record: Record) -> None:
                with telemetry.span(f"workflow hears {topic}", SpanKind.CONSUMER, headers=record.event.headers):
                    hear[topic](transaction, record)

            return handle

        return {topic: traced(topic) for topic in hear}

    def _order(self, transaction: SqlTransaction, record: Record) -> None:
        order = Order.FromString(record.event.value)
        book = SqlCaseBook(transaction, self._platform.site, self._installed, order)
        self._app.hear_order(book, order.site, events.order_fact(order), _cause(), self._platform.clock.now())

    def _instance(self, transaction: SqlTransaction, record: Record) -> None:
        instance = Instance.FromString(record.event.value)
        book = SqlCaseBook(transaction, self._platform.site, self._installed, instance)
        fact = events.instance_fact(instance, self._platform.site)
        now = self._platform.clock.now()
        self._app.hear_instance(book, instance.site, instance.study_instance_uid, fact, _cause(), now)

    def _report(self, transaction: SqlTransaction, record: Record) -> None:
        report = Report.FromString(record.event.value)
        book = SqlCaseBook(transaction, self._platform.site, self._installed, report)
        fact, keys = events.report_fact(report), events.report_keys(report)
        self._app.hear_report(book, report.site, fact, keys, _cause(), self._platform.clock.now())

    def _patient(self, transaction: SqlTransaction, record: Record) -> None:
        event = PatientEvent.FromString(record.event.value)
        book = SqlCaseBook(transaction, self._platform.site, self._installed, event)
        fact, merged = events.patient_fact(event), events.merged_identifiers(event)
        self._app.hear_patient(book, event.site, fact, merged, _cause(), self._platform.clock.now())

    def _result(self, transaction: SqlTransaction, record: Record) -> None:
        result = Result.FromString(record.event.value)
        book = SqlCaseBook(transaction, self._platform.site, self._installed, result)
        at = self._platform.clock.now() + _AFTER_RESULT
        self._app.hear_result(book, result.case_id, events.result_fact(result), _cause(), at)

    def _policy(self, transaction: SqlTransaction, record: Record) -> None:
        book = SqlCaseBook(transaction, self._platform.site, self._installed)
        if book.put_policy(Policy.FromString(record.event.value)):
            book.look_at_open_cases(self._platform.clock.now())

    def _decide_with_it(self, transaction: SqlTransaction) -> None:
        """What was heard is mostly decided at once: in the transaction in which it is heard."""
        if self._decides:
            self._decide_some(transaction)

    async def _decide_when_due(self, store: SqlStore) -> None:
        loop = asyncio.get_running_loop()
        self._decides = True
        while True:
            try:
                await store.transact(self._decide_some)
            except Unavailable as error:
                _LOG.warning("decisions wait: %s", error.code)
                await self._platform.clock.sleep(self._settings.look_seconds)
                continue
            while (seconds := self._next_look - loop.time()) > 0:
                # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the news.
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._news.wait()
                self._news.clear()

    def _look_again(self, seconds: float) -> None:
        self._next_look = asyncio.get_running_loop().time() + seconds
        self._news.set()

    def _decide_some(self, transaction: SqlTransaction) -> None:
        """Decide what is due, and leave word how long nothing more will be."""
        book = SqlCaseBook(transaction, self._platform.site, self._installed)
        now = self._platform.clock.now()
        due = book.due(now, self._settings.decisions_at_once)
        for case_id, cause in due:
            self._decide_one(transaction, book, case_id, cause, now)
        seconds = 0.0
        if len(due) < self._settings.decisions_at_once:
            upcoming, seconds = book.next_look(), self._settings.look_seconds
            if upcoming is not None:
                seconds = min(seconds, max((upcoming - now).total_seconds(), 0.001))
        transaction.when_committed(lambda: self._look_again(seconds))

    def _decide_one(
        self, transaction: SqlTransaction, book: SqlCaseBook, case_id: str, cause: Mapping[str, str], now: datetime
    ) -> None:
        """A case that cannot be decided must not hold up the others: it is looked at again, later and later."""
        try:
            with (
                transaction.savepoint(),
                telemetry.span("workflow decides", headers=cause, attributes={"hilum.case_id": case_id}),
            ):
                self._app.decide(book, case_id, now)
        except Exception as error:
            if of_database(error):
                raise  # nothing more can be written: then all wait
            wait = _RETRY_SECONDS[min(book.failures(case_id), len(_RETRY_SECONDS) - 1)]
            book.postpone(case_id, now + timedelta(seconds=wait))
            _LOG.error("case %s was not decided (%s); again in %s s", case_id, type(error).__name__, wait)


def _cause() -> dict[str, str]:
    return telemetry.headers_of_current_context()


def site_rules(site: Site) -> SiteRules:
    """The site file's tolerances as the domain wants them."""
    return SiteRules(
        completeness=CompletenessRules(
            complete_order_statuses=frozenset(site.completeness.complete_order_statuses),
            settle=timedelta(seconds=site.completeness.settle_seconds),
            quiet=timedelta(seconds=site.completeness.quiet_seconds),
        ),
        require_order=site.matching.require_order,
        order_wait=timedelta(seconds=site.matching.order_wait_seconds),
        image_wait=timedelta(seconds=site.matching.image_wait_seconds),
        result_wait=timedelta(seconds=site.matching.result_wait_seconds),
    )


def algorithm_of(package: packages.ModelPackage) -> Algorithm:
    return Algorithm(
        name=package.name,
        version=package.version,
        package_digest=package.digest,
        policy_revision=0,
        off=False,
        study_rules=tuple(_rule(rule) for rule in package.eligibility.study),
        instance_rules=tuple(_rule(rule) for rule in package.eligibility.instance),
        useful_for=timedelta(minutes=package.useful_minutes),
    )


def _rule(rule: packages.Rule) -> Rule:
    value = tuple(rule.value) if isinstance(rule.value, list) else rule.value
    return Rule(rule.id, rule.field, rule.op.value, value, rule.missing == "pass")


def build(settings: Settings, platform: Platform) -> WorkflowService:
    """Raises `Rejected` when a model package does not hold."""
    found = packages.load_all(platform.packages_folder)
    installed = {(package.name, package.version): algorithm_of(package) for package in found}
    return WorkflowService(settings, platform, installed)
