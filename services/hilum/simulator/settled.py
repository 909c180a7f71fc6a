"""Waiting until the ledger has nothing in progress: every case with its reason, every delivery at its end."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.progress import Progress

from hilum.api.worklist.v1.worklist_pb2 import LedgerEntry, ListCasesRequest

if TYPE_CHECKING:  # the asynchronous stub exists for type checkers only
    from hilum.api.worklist.v1.worklist_pb2_grpc import LedgerServiceAsyncStub

_EVERY_SECONDS = 0.25
_CALL_SECONDS = 10.0
_UNDERWAY = ("", "planned", "late")


@dataclass
class Ledger:
    """One entry a study and algorithm. ``settled``: nothing was in progress when they were read."""

    entries: list[LedgerEntry] = field(default_factory=list)
    settled: bool = False

    def cases(self) -> set[str]:
        return {entry.case_id for entry in self.entries}

    def dispositions(self) -> dict[str, Counter[str]]:
        """By algorithm: how many entries ended how."""
        counted: dict[str, Counter[str]] = {}
        for entry in self.entries:
            counted.setdefault(entry.algorithm, Counter())[entry.disposition] += 1
        return counted


async def list_cases(stub: "LedgerServiceAsyncStub") -> Ledger:
    """Every entry of the ledger, page by page."""
    ledger, token = Ledger(), ""
    while True:
        page = await stub.ListCases(ListCasesRequest(page_token=token), timeout=_CALL_SECONDS)
        ledger.entries.extend(page.entries)
        token = page.next_page_token
        if not token:
            return ledger


async def settled(stub: "LedgerServiceAsyncStub", cases: int, seconds: float, progress: Progress) -> Ledger:
    """The ledger once ``cases`` cases and all their deliveries have come to an end, or as it is when time is up."""
    task = progress.add_task("examinations accounted for", total=cases)
    until = time.monotonic() + seconds
    while True:
        ledger = await list_cases(stub)
        open_cases = {entry.case_id for entry in ledger.entries if underway(entry)}
        done = len(ledger.cases() - open_cases)
        progress.update(task, completed=done)
        ledger.settled = done >= cases and not open_cases
        if ledger.settled or time.monotonic() > until:
            return ledger
        await asyncio.sleep(_EVERY_SECONDS)


def underway(entry: LedgerEntry) -> bool:
    """Whether a case waits for its algorithm, or a delivery for its peer."""
    if entry.disposition == "in_progress":
        return True
    if entry.disposition == "resulted" and not entry.deliveries:
        return True
    return any(delivery.state in _UNDERWAY for delivery in entry.deliveries)
