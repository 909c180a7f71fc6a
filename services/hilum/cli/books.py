"""The ledger of a state directory, as the commands read it: never written, whether the system runs or not."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hilum.cli.ending import readable
from hilum.errors import Rejected
from hilum.ledger.adapters.read_only import heads, read_only
from hilum.ledger.adapters.stored import StoredObjects
from hilum.ledger.app import (
    Evidence,
    Reconciliation,
    list_entries,
    list_worklist,
    open_books,
    reconciled,
)
from hilum.ledger.domain.entry import Entry
from hilum.ledger.domain.facts import AlarmFact, DeadLetterFact
from hilum.ledger.domain.receipts import Receipt, parse_receipts
from hilum.ledger.domain.worklist import WorklistEntry
from hilum.ledger.ports import Selection
from hilum.objects.files import FileObjects

# A running system has work in hand: look again before saying that something does not add up.
_LOOKS = 6
_PAUSE_SECONDS = 0.5


def entries(state: Path, selection: Selection) -> list[Entry]:
    found: list[Entry] = []
    with read_only(state) as view:
        after = selection.after
        while True:
            page = list_entries(view, replace(selection, after=after), datetime.now(UTC))
            found += page.entries
            after = page.after
            if after is None:
                return found


def worklist(state: Path) -> list[WorklistEntry]:
    with read_only(state) as view:
        return list_worklist(view)


def dead_letters(state: Path) -> Sequence[DeadLetterFact]:
    with read_only(state) as view:
        return view.dead_letters()


def alarms(state: Path) -> Sequence[AlarmFact]:
    with read_only(state) as view:
        return view.alarms()


def reconcile(state: Path, receipts: list[Path] | None) -> Reconciliation:
    told: list[Receipt] | None = None
    if receipts is not None:
        told = [receipt for path in receipts for receipt in parse_receipts(_lines(path))]
    for _ in range(_LOOKS - 1):
        found = _reconcile(state, told)
        if found.adds_up:
            return found
        time.sleep(_PAUSE_SECONDS)
    return _reconcile(state, told)


def _lines(path: Path) -> list[str]:
    try:
        return readable(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise Rejected("receipts_unreadable", f"{path} is not UTF-8") from error


def _reconcile(state: Path, receipts: list[Receipt] | None) -> Reconciliation:
    log = heads(state)
    # In this order: what is in the store and in the log now is what the ledger must know a moment later.
    stored = StoredObjects(FileObjects(state / "objects"))
    with read_only(state) as view:
        books = open_books(view)
    return reconciled(books, stored, Evidence([], log, receipts, datetime.now(UTC)))
