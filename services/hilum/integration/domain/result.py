"""What an algorithm concluded about a case, and which algorithm that was."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Use(StrEnum):
    """The intended use that a package declares."""

    TRIAGE = "triage"
    DETECTION = "detection"
    DIAGNOSIS = "diagnosis"


class Output(StrEnum):
    """The kinds of output that a package may declare."""

    PRIORITY = "priority"
    NOTIFICATION = "notification"
    FINDING = "finding"
    PROBABILITY = "probability"
    ABSENT = "absent"
    LOCALISATION = "localisation"


class State(StrEnum):
    """What is said of a finding."""

    PRESENT = "present"
    ABSENT = "absent"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True)
class Concept:
    """A coded concept; ``system`` is a FHIR system URI."""

    system: str
    code: str
    display: str


@dataclass(frozen=True)
class Algorithm:
    """One version of one model package: what it is called, what it is for, and its device identity."""

    name: str
    version: str
    digest: str
    title: str
    use: Use
    outputs: frozenset[Output]
    notice: str
    manufacturer: str
    model_name: str
    device_uid: str


@dataclass(frozen=True)
class Box:
    """A rectangle in source pixels: rows and columns from the top left, the far edges excluded."""

    row0: float
    column0: float
    row1: float
    column1: float


@dataclass(frozen=True)
class Localisation:
    """Where a finding was seen: on which instance, in which box, and the key of its activation map."""

    sop_instance_uid: str
    box: Box | None = None
    activation_key: str = ""


@dataclass(frozen=True)
class Finding:
    """One finding. ``probability`` and ``threshold`` are 0..1, None where they may not be shown.

    ``priority`` is the table 0485 code that its presence asks for, or None.
    """

    id: str
    concept: Concept
    state: State
    probability: float | None
    threshold: float | None
    priority: str | None = None
    localisation: Localisation | None = None


@dataclass(frozen=True)
class SourceImage:
    """One image that was analysed, and where its file is."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    object_key: str = ""


@dataclass(frozen=True)
class AlgorithmResult:
    """One run of one algorithm on one content of a case; a rerun on new content has a higher ``revision``.

    ``silent``: the policy that its task was made under, or the one of now, lets nothing be sent. ``policy_awaited``:
    the former is not known here yet, so that nothing can be said of it.
    """

    result_id: str
    case_id: str
    revision: int
    algorithm: Algorithm
    findings: tuple[Finding, ...]
    started_at: datetime
    completed_at: datetime
    silent: bool = False
    policy_awaited: bool = False
    partial: bool = False
    inputs: tuple[SourceImage, ...] = ()
