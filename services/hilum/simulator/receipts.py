"""What a peer took in, one JSON line each: the hospital's own evidence, against which the ledger is reconciled.

A line holds ``peer`` (ris, ehr, pacs), ``kind`` (message, resource, instance), ``identity`` (message control ID,
``Type?system|value``, SOP Instance UID), ``sha256`` of what came, ``outcome`` and ``at``, and whatever facts the
peer adds. ``outcome`` is ``effect`` (new), ``update`` (the same identity lawfully changed), ``repeat`` (the same
content again), ``found`` (a conditional create met its match and changed nothing: several results share one Device)
or ``conflict`` (other content under an identity that may not change).
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Outcome = Literal["effect", "update", "repeat", "found", "conflict"]


@dataclass(frozen=True)
class Receipt:
    """One arrival at a peer."""

    peer: str
    kind: str
    identity: str
    sha256: str
    outcome: Outcome
    at: str  # ISO 8601, UTC
    facts: dict[str, str] = field(default_factory=dict)


class Receipts:
    """The receipts of one peer; ``path`` is appended to, so that they survive the peer. Safe across threads."""

    def __init__(
        self, peer: str, path: Path | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._peer = peer
        self._path = path
        self._now = now
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, str], str] = {}
        self._all: list[Receipt] = []

    def record(
        self,
        kind: str,
        identity: str,
        content: bytes,
        facts: Mapping[str, str] | None = None,
        *,
        may_change: bool = False,
        outcome: Outcome | None = None,
    ) -> Receipt:
        """Note that ``content`` came under ``identity``; the receipt says whether that was new (or ``outcome``)."""
        sha256 = hashlib.sha256(content).hexdigest()
        with self._lock:
            before = self._latest.get((kind, identity))
            outcome = outcome or _outcome(before, sha256, may_change)
            if outcome != "conflict":
                self._latest[kind, identity] = sha256
            receipt = Receipt(self._peer, kind, identity, sha256, outcome, self._now().isoformat(), dict(facts or {}))
            self._all.append(receipt)
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(asdict(receipt)) + "\n")
        return receipt

    def __iter__(self) -> Iterator[Receipt]:
        with self._lock:
            return iter(list(self._all))

    def count(self, outcome: Outcome) -> int:
        """How many arrivals had that outcome."""
        return sum(receipt.outcome == outcome for receipt in self)


def _outcome(before: str | None, sha256: str, may_change: bool) -> Outcome:
    if before is None:
        return "effect"
    if before == sha256:
        return "repeat"
    return "update" if may_change else "conflict"
