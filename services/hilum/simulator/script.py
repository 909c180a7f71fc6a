"""Scripted misbehaviour: what a simulated peer does wrong with the exchanges to come, in order."""

import threading
from collections import deque
from dataclasses import dataclass
from enum import StrEnum


class Act(StrEnum):
    """What a peer does with one exchange."""

    SERVE = "serve"
    REFUSE = "refuse"  # answers with ``Step.code``, and takes nothing
    WRONG_ID = "wrong_id"  # takes it, but the answer names another request (MSA-2); HL7 only
    SILENT = "silent"  # takes it, never answers, keeps the connection
    DROP_BEFORE = "drop_before"  # takes nothing and closes
    DROP_AFTER = "drop_after"  # takes it and closes without an answer


@dataclass(frozen=True)
class Step:
    """One exchange: wait, then act. ``code`` is the protocol's own: AE, AR; a DIMSE status as A700; an HTTP status."""

    act: Act = Act.SERVE
    delay_seconds: float = 0.0
    code: str = ""


class Script:
    """Steps for the next exchanges; when they are used up the peer behaves (or does ``otherwise``)."""

    def __init__(self, *steps: Step, otherwise: Step | None = None) -> None:
        self._steps = deque(steps)
        self._lock = threading.Lock()
        self.otherwise = otherwise or Step()

    def then(self, *steps: Step) -> None:
        """Add steps at the end."""
        with self._lock:
            self._steps.extend(steps)

    def next(self) -> Step:
        with self._lock:
            return self._steps.popleft() if self._steps else self.otherwise
