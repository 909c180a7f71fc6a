"""The plan: from a result and its case to every delivery it calls for, each due, held or suppressed by a coded rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from hilum.ids import derived_id
from hilum.integration.domain import intended_use, priority
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.priority import PriorityPolicy, Ratchet
from hilum.integration.domain.result import AlgorithmResult, Output
from hilum.integration.domain.rule import Rule


class Peer(StrEnum):
    """Where people look."""

    RIS = "ris"
    EHR = "ehr"
    PACS = "pacs"


class Kind(StrEnum):
    """What is delivered."""

    PRIORITY = "priority"
    DIAGNOSTIC_REPORT = "diagnostic_report"
    STRUCTURED_REPORT = "structured_report"
    SECONDARY_CAPTURE = "secondary_capture"


class Strategy(StrEnum):
    """How a priority reaches the RIS: an ORU finding (P3), an ORM^O01 XO (P1), an OMI^O23 XO (P2)."""

    ORU = "oru"
    ORM = "orm"
    OMI = "omi"


class Release(StrEnum):
    """When a destination takes results: at once, or after a person accepted them."""

    IMMEDIATE = "immediate"
    ON_ACCEPTANCE = "on_acceptance"


class Standing(StrEnum):
    """What the plan decides of a delivery."""

    DUE = "due"
    HELD = "held"
    SUPPRESSED = "suppressed"


_KINDS = {
    Peer.RIS: (Kind.PRIORITY,),
    Peer.EHR: (Kind.DIAGNOSTIC_REPORT,),
    Peer.PACS: (Kind.STRUCTURED_REPORT, Kind.SECONDARY_CAPTURE),
}
_URGENCY = {Kind.PRIORITY: 0, Kind.DIAGNOSTIC_REPORT: 1, Kind.STRUCTURED_REPORT: 2, Kind.SECONDARY_CAPTURE: 3}

NOTHING_TO_STATE = Rule("nothing_to_state", "The intended use leaves nothing that may be stated.")
NO_IMAGE_MARKED = Rule("no_image_marked", "No finding is present with a place on an image: there is nothing to draw.")
AWAITING_ACCEPTANCE = Rule("awaiting_acceptance", "The destination takes results only after a person accepted them.")
IDENTITY_CONFLICT = Rule("identity_conflict", "Order, patient and images disagree about who this is.")
NO_STUDY = Rule("no_study", "The case has no images yet that a result could refer to.")
NO_ORDER = Rule("no_order", "No order is known whose priority could change.")


@dataclass(frozen=True)
class Destination:
    """One peer of one site and how results reach it."""

    name: str
    peer: Peer
    strategy: Strategy = Strategy.ORU
    release: Release = Release.IMMEDIATE
    policy: PriorityPolicy = field(default_factory=PriorityPolicy)


@dataclass(frozen=True)
class Delivery:
    """One planned delivery; the key (destination, case, algorithm, version, kind, revision) is unique for ever."""

    destination: str
    case_id: str
    algorithm: str
    version: str
    kind: Kind
    revision: int
    standing: Standing
    rule: Rule | None = None

    @property
    def id(self) -> str:
        """The identity that control IDs, SOP Instance UIDs and FHIR identifiers are derived from."""
        return derived_id(
            "delivery", self.destination, self.case_id, self.algorithm, self.version, self.kind, str(self.revision)
        )

    @property
    def urgency(self) -> int:
        """0 goes first: the priority before everything else."""
        return _URGENCY[self.kind]


def plan(
    result: AlgorithmResult,
    case: CaseState,
    destinations: tuple[Destination, ...],
    ratchets: Mapping[str, Ratchet],
    now: datetime,
) -> tuple[Delivery, ...]:
    """Every delivery of ``result``, the most urgent first; ``ratchets`` are by destination name."""
    rows = []
    for destination in destinations:
        ratchet = ratchets.get(destination.name, Ratchet())
        for kind in _KINDS[destination.peer]:
            standing, rule = judge(kind, result, case, destination, ratchet=ratchet, now=now)
            rows.append(
                Delivery(
                    destination.name,
                    case.case_id,
                    result.algorithm.name,
                    result.algorithm.version,
                    kind,
                    result.revision,
                    standing,
                    rule,
                )
            )
    return tuple(sorted(rows, key=lambda row: (row.urgency, row.destination)))


def judge(
    kind: Kind, result: AlgorithmResult, case: CaseState, destination: Destination, *, ratchet: Ratchet, now: datetime
) -> tuple[Standing, Rule | None]:
    """Whether one delivery may go now. Asked when it is planned and again in the transaction that claims it."""
    rule = _suppressing(kind, result, case, destination, ratchet=ratchet, now=now)
    if rule is not None:
        return Standing.SUPPRESSED, rule
    if case.conflict:
        return Standing.HELD, IDENTITY_CONFLICT
    if destination.release is Release.ON_ACCEPTANCE:
        return Standing.HELD, AWAITING_ACCEPTANCE
    return Standing.DUE, None


def _suppressing(
    kind: Kind, result: AlgorithmResult, case: CaseState, destination: Destination, *, ratchet: Ratchet, now: datetime
) -> Rule | None:
    if result.silent:
        return priority.SILENT
    if not case.study_instance_uid:
        return NO_STUDY
    if kind is Kind.PRIORITY:
        forbidden = intended_use.refusal(result.algorithm, Output.PRIORITY)
        if forbidden is not None:
            return forbidden
        writes_order = destination.strategy is not Strategy.ORU
        if writes_order and case.order is None:
            return NO_ORDER
        return priority.may_raise(
            result, case, ratchet=ratchet, policy=destination.policy, now=now, writes_order=writes_order
        )
    return _unstatable(kind, result)


def _unstatable(kind: Kind, result: AlgorithmResult) -> Rule | None:
    forbidden = intended_use.refusal(result.algorithm, Output.FINDING)
    if forbidden is not None:
        return forbidden
    stated = intended_use.statable(result).findings
    if not stated:
        return NOTHING_TO_STATE
    if kind is Kind.SECONDARY_CAPTURE:
        forbidden = intended_use.refusal(result.algorithm, Output.LOCALISATION)
        if forbidden is not None:
            return forbidden
        if not any(f.localisation is not None and f.state == "present" for f in stated):
            return NO_IMAGE_MARKED
    return None
