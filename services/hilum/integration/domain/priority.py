"""The priority ratchet: an algorithm may raise a study in the reading list, never lower it.

Codes are of HL7 table 0485. S (stat), A (asap) and R (routine) are ranked; P (pre-op), C (callback), T and
T* (timing critical), PRN have no place in that order, so nothing is written over them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from hilum.integration.domain.case import CaseState
from hilum.integration.domain.result import AlgorithmResult, State
from hilum.integration.domain.rule import Rule

_RANK = {"": 0, "R": 1, "A": 2, "S": 3}
RAISING = ("S", "A")

NOTHING_TO_RAISE = Rule("nothing_to_raise", "No finding that asks for a priority is present.")
REPORT_FINAL = Rule("report_final", "The study is reported, as the site counts it: re-ranking would help nobody.")
BEING_READ = Rule("being_read", "The study is open at a reader.")
NO_LONGER_USEFUL = Rule("no_longer_useful", "The time in which this priority helps has passed.")
SILENT = Rule("algorithm_silent", "The algorithm runs silently: its results are recorded, not sent.")
PROJECTION_STALE = Rule("projection_stale", "The case state is too old to raise a priority on.")
ALREADY_AS_HIGH = Rule("already_as_high", "The study's priority is already at least as high.")
NOT_COMPARABLE = Rule("not_comparable", "The order's priority has no place in the order S, A, R and is left alone.")
NOT_OVERWRITTEN = Rule("not_overwritten", "The site does not let this ordering priority be written over.")
ALREADY_RAISED = Rule("already_raised", "This version of the algorithm has raised this study once.")
CANCELLED = Rule("cancelled", "The order was cancelled.")


@dataclass(frozen=True)
class PriorityPolicy:
    """A site's choices.

    ``overwrites``: the ordering priorities that an XO may replace. ``reported``: the report statuses (table 0123)
    that count as read; residents' preliminaries (P) only where the site says so.
    """

    max_staleness: timedelta = timedelta(seconds=5)
    respect_being_read: bool = True
    reported: frozenset[str] = frozenset({"F", "C", "X"})
    overwrites: frozenset[str] = frozenset({"", "R"})


@dataclass(frozen=True)
class Ratchet:
    """What was sent for this study to this destination: codes, and the (algorithm, version) that sent each."""

    sent: tuple[tuple[str, str, str], ...] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(code for code, _, _ in self.sent)

    def raised_by(self, algorithm: str, version: str) -> bool:
        return any((name, of) == (algorithm, version) for _, name, of in self.sent)


def proposed(result: AlgorithmResult) -> str | None:
    """The highest code that a present finding asks for, or None: a negative never asks for a lower one."""
    codes = [f.priority for f in result.findings if f.state is State.PRESENT and f.priority in RAISING]
    return max((code for code in codes if code), key=_RANK.__getitem__, default=None)


def current(case: CaseState) -> str:
    """The ordering priority: the highest of the case's orders, an unranked one first, empty where none is known."""
    codes = [order.priority.strip().upper() for order in case.orders]
    unranked = [code for code in codes if code not in _RANK]
    return unranked[0] if unranked else max(codes, key=_RANK.__getitem__, default="")


def may_raise(
    result: AlgorithmResult,
    case: CaseState,
    *,
    ratchet: Ratchet,
    policy: PriorityPolicy,
    now: datetime,
    writes_order: bool,
) -> Rule | None:
    """The first rule that keeps this priority back, or None. The same check serves the plan and the send.

    ``writes_order``: the strategy replaces the order's own priority (XO); an ORU finding leaves it as it is.
    """
    return next(_rules(result, case, ratchet=ratchet, policy=policy, now=now, writes_order=writes_order), None)


def _rules(
    result: AlgorithmResult,
    case: CaseState,
    *,
    ratchet: Ratchet,
    policy: PriorityPolicy,
    now: datetime,
    writes_order: bool,
) -> Iterator[Rule]:
    code = proposed(result)
    if result.silent:
        yield SILENT
    if code is None:
        yield NOTHING_TO_RAISE
        return
    if case.cancelled:
        yield CANCELLED
    if case.report_status and case.report_status in policy.reported:
        yield REPORT_FINAL
    if case.being_read and policy.respect_being_read:
        yield BEING_READ
    until = case.useful_until.get(result.algorithm.name)
    if until is not None and now > until:
        yield NO_LONGER_USEFUL
    if case.observed_at is None or now - case.observed_at > policy.max_staleness:
        yield PROJECTION_STALE
    ordered = current(case)
    if ordered not in _RANK:
        if writes_order:
            yield NOT_COMPARABLE
    elif _RANK[ordered] >= _RANK[code]:
        yield ALREADY_AS_HIGH
    elif writes_order and ordered not in policy.overwrites:
        yield NOT_OVERWRITTEN
    if ratchet.raised_by(result.algorithm.name, result.algorithm.version):
        yield ALREADY_RAISED
    if any(_RANK.get(sent, 0) >= _RANK[code] for sent in ratchet.codes):
        yield ALREADY_AS_HIGH
