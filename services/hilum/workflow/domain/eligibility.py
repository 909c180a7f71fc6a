"""Eligibility as data: rules over order and DICOM together, every decision listing each rule with the value it saw."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

Value = str | float | tuple[str, ...] | None

_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([Ee][+-]?[0-9]+)?")


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"  # the source of the field has not arrived yet


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition. ``missing_passes``: what becomes of it when its source arrived without the field."""

    id: str
    field: str
    op: str
    value: Value
    missing_passes: bool


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    rule: str
    field: str
    outcome: Outcome
    expected: str
    seen: str


def judge(rule: Rule, values: Mapping[str, str], arrived: frozenset[str]) -> RuleOutcome:
    """``values`` by field; ``arrived``: the sources (`order`, `study`, `dicom`) that have been seen at all."""
    seen = values.get(rule.field, "").strip()
    source = rule.field.partition(".")[0]
    if source not in arrived:
        outcome = Outcome.UNKNOWN
    elif not seen:
        outcome = Outcome.PASSED if rule.missing_passes and rule.op != "present" else Outcome.FAILED
    else:
        outcome = Outcome.PASSED if _holds(rule, seen) else Outcome.FAILED
    return RuleOutcome(rule.id, rule.field, outcome, _expected(rule), seen)


def judge_all(rules: Sequence[Rule], values: Mapping[str, str], arrived: frozenset[str]) -> tuple[RuleOutcome, ...]:
    return tuple(judge(rule, values, arrived) for rule in rules)


def first_failure(outcomes: Sequence[RuleOutcome]) -> RuleOutcome | None:
    return next((outcome for outcome in outcomes if outcome.outcome is Outcome.FAILED), None)


def _holds(rule: Rule, seen: str) -> bool:
    text = seen.casefold()
    match rule.op, rule.value:
        case "in", tuple(allowed):
            return text in {item.casefold() for item in allowed}
        case "not_in", tuple(excluded):
            return text not in {item.casefold() for item in excluded}
        case "contains", str(part):
            return part.casefold() in text
        case "at_least", int() | float() as bound:
            return (number := _number(seen)) is not None and number >= bound
        case "at_most", int() | float() as bound:
            return (number := _number(seen)) is not None and number <= bound
        case "present", None:
            return True
        case _:
            return False  # the package's schema admits no other pair


def _number(text: str) -> float | None:
    """A decimal or integer string (PS3.5 6.2 DS, IS); nothing else that a programming language takes for a number."""
    number = float(text) if _DECIMAL.fullmatch(text) else math.nan
    return number if math.isfinite(number) else None


def _expected(rule: Rule) -> str:
    if rule.value is None:
        return rule.op
    value = ", ".join(rule.value) if isinstance(rule.value, tuple) else f"{rule.value}"
    return f"{rule.op} {value}"
