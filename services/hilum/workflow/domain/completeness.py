"""Completeness by evidence, best first; the evidence is named in the decision (RAD TF; PS3.4 F).

    order_status     the RIS says that the procedure is completed (ORC-5 `CM`)
    expected_count   as many instances as (0020,1208) announces
    quiet_timer      nothing new for so long

The end of a C-STORE association is no evidence.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hilum.workflow.domain.facts import CaseFacts, InstanceFact
from hilum.workflow.domain.orders import current


@dataclass(frozen=True, slots=True)
class CompletenessRules:
    complete_order_statuses: frozenset[str] = frozenset({"CM"})
    settle: timedelta = timedelta(seconds=1)
    quiet: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Completeness:
    """``looks_again_at``: when time alone may change the answer. ``short``: quiet, yet fewer than announced."""

    complete: bool
    evidence: str = ""
    detail: str = ""
    looks_again_at: datetime | None = None
    short: bool = False


def completeness(facts: CaseFacts, rules: CompletenessRules, now: datetime) -> Completeness:
    last = facts.last_image_at
    if last is None:
        return Completeness(False)
    settled, quiet = last + rules.settle, last + rules.quiet
    expected = announced(facts)
    have = facts.instance_count
    statuses = [order.order_status for order in map(current, facts.orders) if not order.cancelled]
    done = [status for status in statuses if status in rules.complete_order_statuses]
    if statuses and len(done) == len(statuses) and have >= expected:
        detail = "+".join(done)
        if now >= settled:
            return Completeness(True, "order_status", detail)
        return Completeness(False, detail=detail, looks_again_at=settled)
    if expected:
        counted = f"{have} of {expected}"
        if have >= expected:
            if now >= settled:
                return Completeness(True, "expected_count", counted)
            return Completeness(False, detail=counted, looks_again_at=settled)
        if now >= quiet:
            return Completeness(False, detail=counted, short=True)
        return Completeness(False, detail=counted, looks_again_at=quiet)
    if now >= quiet:
        return Completeness(True, "quiet_timer", f"{rules.quiet.total_seconds():g} s")
    return Completeness(False, looks_again_at=quiet)


def announced(facts: CaseFacts) -> int:
    """As many instances as the study's usable images say that it has, (0020,1208); 0 when none says so."""
    usable = [image for image in facts.instances if not image.reason]
    return max(map(announced_by, usable), default=0)


def announced_by(image: InstanceFact) -> int:
    """How many instances this image says that its study has, (0020,1208); 0 when it says nothing."""
    text = image.tags.get("NumberOfStudyRelatedInstances", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
