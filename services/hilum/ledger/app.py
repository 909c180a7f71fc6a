"""The ledger's use cases: entries by page, the reading list, reconciliation, alarms for overdue work."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hilum.ledger.domain import handed_on, identity, reconcile
from hilum.ledger.domain.checks import Check
from hilum.ledger.domain.entry import CaseFile, Entry, entries
from hilum.ledger.domain.facts import (
    AlgorithmFact,
    CaseFact,
    DeliveryFact,
    ImageFact,
    MessageFact,
    OrderFact,
    ResultFact,
    StudyFact,
    TaskFact,
)
from hilum.ledger.domain.identity import AlgorithmIdentity, Standing, Unit
from hilum.ledger.domain.receipts import Receipt, compare, things_of
from hilum.ledger.domain.worklist import WorklistEntry, worklist
from hilum.ledger.ports import Alarms, LedgerView, Selection, Stored

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Page:
    """``after``: where the next page begins; None on the last."""

    entries: tuple[Entry, ...]
    after: tuple[datetime, str] | None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    checks: tuple[Check, ...]
    identities: tuple[AlgorithmIdentity, ...]

    @property
    def adds_up(self) -> bool:
        return all(check.holds for check in self.checks)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is compared with the ledger's own tables.

    ``heads``: topic and partition -> the offset that the next event will take. ``settled_before``: what was heard of
    later may still be in hand somewhere and is not missed yet (None: nothing is in hand, the system stands still).
    ``destinations``: where the site sends results now, where that is known.
    """

    installed: Sequence[str]
    heads: Mapping[tuple[str, int], int]
    receipts: Sequence[Receipt] | None
    now: datetime
    settled_before: datetime | None = None
    destinations: Sequence[str] = ()


def list_entries(view: LedgerView, selection: Selection, now: datetime) -> Page:
    """A page of ``selection.limit`` cases; all entries of a case stand on one page."""
    files = view.case_files(selection)
    listed = tuple(entry for file in files for entry in entries(file, now))
    last = files[-1].case if len(files) == selection.limit else None
    return Page(listed, (last.opened_at, last.case_id) if last is not None else None)


def list_worklist(view: LedgerView) -> list[WorklistEntry]:
    return worklist(list(_every_unread(view)))


def _every_unread(view: LedgerView) -> Iterable[CaseFile]:
    selection = Selection(unread=True, limit=_PAGE)
    while files := view.case_files(selection):
        yield from files
        selection = replace(selection, after=(files[-1].case.opened_at, files[-1].case.case_id))


@dataclass(frozen=True, slots=True)
class Books:
    """All that the ledger's tables say, of one moment."""

    cases: Sequence[CaseFact]
    states: Sequence[AlgorithmFact]
    messages: Sequence[MessageFact]
    orders: Sequence[OrderFact]
    studies: Sequence[StudyFact]
    images: Sequence[ImageFact]
    tasks: Sequence[TaskFact]
    results: Sequence[ResultFact]
    deliveries: Sequence[DeliveryFact]
    open_alarms: set[tuple[str, str]]
    in_force_since: Mapping[str, datetime]
    positions: Mapping[tuple[str, int], int]


def open_books(view: LedgerView) -> Books:
    return Books(
        cases=view.cases(),
        states=view.algorithms(),
        messages=view.messages(),
        orders=view.orders(),
        studies=view.studies(),
        images=view.images(),
        tasks=view.tasks(),
        results=view.results(),
        deliveries=view.deliveries(),
        open_alarms=view.open_alarms(),
        in_force_since=view.in_force_since(),
        positions=view.positions(),
    )


def reconciled(books: Books, stored: Stored, evidence: Evidence) -> Reconciliation:
    """Compare what each source says on its own; `stored` was looked at before the books were opened. Blocking."""
    units, stands = _standing(books, evidence.settled_before)
    since: dict[str, datetime | None] = dict.fromkeys(evidence.installed)
    since |= books.in_force_since
    sums = identity.identities(since, units, stands, books.states, books.open_alarms, evidence.now)
    messages = [one for one in books.messages if one.effects or _settled(one.received_at, evidence.settled_before)]
    found = {one.object_key: one for one in stored.images()}
    late = [stored.image(image.object_key) for image in books.images if image.object_key not in found]
    stands_now = found | {one.object_key: one for one in late if one is not None}
    checks = [
        *reconcile.identity_checks(sums),
        reconcile.messages_accounted(messages),
        reconcile.refusals_kept([one for one in books.messages if _settled(one.received_at, evidence.settled_before)]),
        *reconcile.in_cases(units, stands),
        reconcile.images_stored(books.images, stands_now),
        reconcile.objects_known(books.images, found),
        *_handed_on(books, evidence),
        reconcile.landed_has_proof(books.deliveries),
        reconcile.caught_up(books.positions, evidence.heads),
    ]
    if evidence.receipts is not None:
        sent = [things_of(one, stored.rendered(one.object_key) if one.object_key else None) for one in books.deliveries]
        checks += compare(sent, evidence.receipts)
    return Reconciliation(tuple(checks), sums)


def _handed_on(books: Books, evidence: Evidence) -> list[Check]:
    def settled(at: datetime) -> bool:
        return _settled(at, evidence.settled_before)

    return [
        handed_on.images_in_cases([study for study in books.studies if settled(study.last_at)], books.cases),
        handed_on.cases_founded(
            books.tasks, books.results, [state for state in books.states if settled(state.changed_at)]
        ),
        handed_on.tasks_answered(books.tasks, books.results, books.states),
        handed_on.results_delivered(books.results, books.tasks, books.deliveries, evidence.destinations, settled),
    ]


def _standing(books: Books, settled_before: datetime | None) -> tuple[tuple[Unit, ...], Standing]:
    units = identity.units(books.orders, books.studies)
    stands = identity.standing(units, books.cases, books.states)
    in_hand = {unit for unit in stands.missing if unit.seen_at and not _settled(unit.seen_at, settled_before)}
    missing = tuple(unit for unit in stands.missing if unit not in in_hand)
    return tuple(unit for unit in units if unit not in in_hand), replace(stands, missing=missing)


def _settled(at: datetime, settled_before: datetime | None) -> bool:
    return settled_before is None or at <= settled_before


def watch_overdue(alarms: Alarms, now: datetime) -> tuple[list[AlgorithmFact], int]:
    """Raise an alarm for each overdue state that has none, clear those that are over.

    Gives what was raised, and how many were cleared.
    """
    settled = alarms.settled()
    for case_id, algorithm in settled:
        alarms.clear_overdue(case_id, algorithm, now)
    raised = list(alarms.overdue(now))
    for state in raised:
        alarms.raise_overdue(state, now)
    return raised, len(settled)


def watch_deliveries(alarms: Alarms, now: datetime, patience: timedelta) -> list[DeliveryFact]:
    """Raise an alarm for each delivery that has waited longer than ``patience`` for its peer, or for a person."""
    raised = list(alarms.stuck(now - patience))
    for delivery in raised:
        alarms.raise_stuck(delivery, now)
    return raised
