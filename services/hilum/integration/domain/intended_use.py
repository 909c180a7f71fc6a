"""The intended use gates output: by code, not by habit.

A triage package yields a priority and a notification: no marks, no probability, no "absent". Findings,
probabilities, localisation and negatives need detection or diagnosis with that output declared.
"""

from dataclasses import replace

from hilum.integration.domain.result import Algorithm, AlgorithmResult, Finding, Output, State, Use
from hilum.integration.domain.rule import Rule

_TRIAGE = frozenset({Output.PRIORITY, Output.NOTIFICATION})

_REFUSALS = {
    Output.PRIORITY: Rule("use_forbids_priority", "The package does not declare that it sets a priority."),
    Output.NOTIFICATION: Rule("use_forbids_notification", "The package does not declare a notification."),
    Output.FINDING: Rule("use_forbids_finding", "The intended use does not allow a finding to be stated."),
    Output.PROBABILITY: Rule("use_forbids_probability", "The intended use does not allow a probability to be shown."),
    Output.ABSENT: Rule("use_forbids_absent", "The intended use does not allow a finding to be called absent."),
    Output.LOCALISATION: Rule("use_forbids_localisation", "The intended use does not allow marks on an image."),
}


def permitted(algorithm: Algorithm) -> frozenset[Output]:
    """What may leave the house: what the package declares, cut down to what its use allows."""
    allowed = _TRIAGE if algorithm.use is Use.TRIAGE else frozenset(Output)
    return algorithm.outputs & allowed


def refusal(algorithm: Algorithm, output: Output) -> Rule | None:
    """The rule that forbids ``output``, or None where it may be emitted."""
    return None if output in permitted(algorithm) else _REFUSALS[output]


def statable(result: AlgorithmResult) -> AlgorithmResult:
    """The result as it may be stated to people: what the use forbids is taken out, not merely hidden.

    A finding that is absent goes where "absent" is not declared; an indeterminate one needs the same leave, as
    it says that a search was made.
    """
    allowed = permitted(result.algorithm)
    findings = tuple(
        _restricted(finding, allowed)
        for finding in result.findings
        if finding.state is State.PRESENT or Output.ABSENT in allowed
    )
    return replace(result, findings=findings)


def _restricted(finding: Finding, allowed: frozenset[Output]) -> Finding:
    shown = Output.PROBABILITY in allowed
    return replace(
        finding,
        probability=finding.probability if shown else None,
        threshold=finding.threshold if shown else None,
        localisation=finding.localisation if Output.LOCALISATION in allowed else None,
        priority=finding.priority if Output.PRIORITY in allowed else None,
    )
