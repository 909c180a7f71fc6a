"""Rules that span several fields of a manifest; each takes the parts that are valid and lists its faults."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from hilum.packages.model import Eligibility, Engine, Finding, OutputKind, Preprocessing, Use

T = TypeVar("T", bound=Hashable)

_TRIAGE_MAY = frozenset({OutputKind.PRIORITY, OutputKind.NOTIFICATION})
_NEED_A_FINDING = (OutputKind.PROBABILITY, OutputKind.ABSENT, OutputKind.LOCALISATION)


def _intended_use(use: Use, outputs: tuple[OutputKind, ...]) -> Iterator[str]:
    if use is Use.TRIAGE:
        beyond = [kind.value for kind in outputs if kind not in _TRIAGE_MAY]
        if beyond:
            yield f"outputs: use triage may declare only priority and notification, not {', '.join(beyond)}"
    elif OutputKind.FINDING not in outputs:
        yield f"outputs: use {use} must declare finding"
    if use is not Use.TRIAGE and OutputKind.FINDING not in outputs:
        yield from (f"outputs: {kind} needs finding" for kind in _NEED_A_FINDING if kind in outputs)
    yield from (f"outputs: {kind} is listed twice" for kind in _repeated(outputs))


def _priority(outputs: tuple[OutputKind, ...], findings: tuple[Finding, ...]) -> Iterator[str]:
    asking = [finding.id for finding in findings if finding.priority is not None]
    if asking and OutputKind.PRIORITY not in outputs:
        yield f"findings: {', '.join(asking)} asks for a priority, but outputs does not declare it"
    if not asking and OutputKind.PRIORITY in outputs:
        yield "outputs: priority is declared, but no finding asks for one"


def _localisation(outputs: tuple[OutputKind, ...], engine: Engine) -> Iterator[str]:
    if OutputKind.LOCALISATION in outputs and engine.outputs.activation is None:
        yield "engine.outputs.activation: needed, since outputs declares localisation"


def _shape(engine: Engine, preprocessing: Preprocessing) -> Iterator[str]:
    if engine.shape[2:] != (preprocessing.rows, preprocessing.columns):
        yield "preprocessing: rows and columns differ from engine.shape"


def _findings(findings: tuple[Finding, ...]) -> Iterator[str]:
    yield from (f"findings: id {name} is used twice" for name in _repeated(f.id for f in findings))
    yield from (f"findings: index {index} is used twice" for index in _repeated(f.index for f in findings))


def _eligibility(eligibility: Eligibility) -> Iterator[str]:
    for part, rules, prefixes in (
        ("study", eligibility.study, ("order.", "study.")),
        ("instance", eligibility.instance, ("dicom.",)),
    ):
        yield from (f"eligibility.{part}: rule id {name} is used twice" for name in _repeated(r.id for r in rules))
        for rule in rules:
            if not rule.field.startswith(prefixes):
                expected = " or ".join(f"{prefix}*" for prefix in prefixes)
                yield f"eligibility.{part}: rule {rule.id} asks {rule.field}, expected {expected}"


_RULES: tuple[tuple[tuple[str, ...], Callable[..., Iterator[str]]], ...] = (
    (("use", "outputs"), _intended_use),
    (("outputs", "findings"), _priority),
    (("outputs", "engine"), _localisation),
    (("engine", "preprocessing"), _shape),
    (("findings",), _findings),
    (("eligibility",), _eligibility),
)


def faults(parts: Mapping[str, Any]) -> list[str]:
    """Every broken rule among ``parts``, the fields valid in themselves; a rule that lacks one is not asked."""
    return [fault for names, rule in _RULES if parts.keys() >= set(names) for fault in rule(*(parts[n] for n in names))]


def _repeated(values: Iterable[T]) -> list[T]:
    return [value for value, count in Counter(values).items() if count > 1]
