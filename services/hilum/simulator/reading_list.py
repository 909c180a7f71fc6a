"""A radiologist's reading list: urgent first, then first come, first read."""

from dataclasses import dataclass, field
from datetime import datetime

from hilum.simulator.orders import Order

# Table 0485 as a reading list ranks it; what is unknown reads as routine.
_RANK = {"S": 0, "A": 1, "C": 1, "P": 1, "R": 2}
_ROUTINE = 2


def rank(priority: str) -> int:
    """0 is read first."""
    return _RANK.get(priority, _ROUTINE)


@dataclass
class Entry:
    """One examination that waits to be read."""

    order: Order
    priority: str
    complete: bool = False
    report_status: str = ""
    flags: list[str] = field(default_factory=list)
    raised_at: datetime | None = None

    @property
    def accession_number(self) -> str:
        return self.order.accession_number


class ReadingList:
    """Entries by accession number."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, order: Order) -> Entry:
        return self._entries.setdefault(order.accession_number, Entry(order, order.priority))

    def find(self, accession_number: str) -> Entry | None:
        return self._entries.get(accession_number)

    def raise_priority(self, accession_number: str, priority: str, flag: str, at: datetime) -> bool:
        """Take a priority that came from outside. A list of this hospital only ever moves an examination up."""
        entry = self._entries.get(accession_number)
        if entry is None:
            return False
        if flag and flag not in entry.flags:
            entry.flags.append(flag)
        if rank(priority) >= rank(entry.priority):
            return False
        entry.priority, entry.raised_at = priority, at
        return True

    def in_order(self) -> list[Entry]:
        """The order in which examinations will be read."""
        return sorted(self._entries.values(), key=lambda entry: (rank(entry.priority), entry.order.requested_at))

    def in_order_of_arrival(self) -> list[Entry]:
        """The order in which they would be read without any priority from outside."""
        return sorted(self._entries.values(), key=lambda entry: (rank(entry.order.priority), entry.order.requested_at))
