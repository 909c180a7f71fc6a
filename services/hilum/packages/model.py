"""What ``model.yaml`` may say: strict, frozen, and complete; nothing in it is optional by accident."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(min_length=1, max_length=400, strip_whitespace=True)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$", max_length=64)]
SemanticVersion = Annotated[
    str, StringConstraints(pattern=r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$", max_length=64)
]
Uid = Annotated[str, StringConstraints(pattern=r"^[0-2](\.(0|[1-9]\d*))+$", max_length=64)]  # PS3.5 9.1
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Size = Annotated[int, Field(strict=True, ge=1, le=8192)]


class _Part(BaseModel):
    """Frozen, and nothing beyond what is declared. Lists and names come from YAML; numbers stay strict."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Use(StrEnum):
    """The intended use; it bounds what may be emitted (triage: 21 CFR 892.2080, a passive notification)."""

    TRIAGE = "triage"
    DETECTION = "detection"
    DIAGNOSIS = "diagnosis"


class OutputKind(StrEnum):
    """What a package declares that it may emit; anything else is refused by code."""

    PRIORITY = "priority"
    NOTIFICATION = "notification"
    FINDING = "finding"
    PROBABILITY = "probability"
    ABSENT = "absent"
    LOCALISATION = "localisation"


class Priority(StrEnum):
    """HL7 table 0485, as far as a model may ask for it."""

    STAT = "S"
    ASAP = "A"
    ROUTINE = "R"


class Operator(StrEnum):
    """How a rule compares; text is compared without regard to case or surrounding spaces."""

    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    PRESENT = "present"


class Fit(StrEnum):
    """How an image of another shape is brought to the input's: padded with black, or stretched."""

    PAD = "pad"
    STRETCH = "stretch"


class Device(_Part):
    """The software as a device (TID 1004; FHIR Device); a new ``uid`` at every retraining."""

    manufacturer: Text
    model_name: Text
    uid: Uid


class EngineOutputs(_Part):
    """The names of the engine's output tensors."""

    probability: Text
    activation: Text | None = None


class Engine(_Part):
    """The ONNX file, its digest and its tensors; ``shape`` is (batch, channel, row, column)."""

    file: FileName
    sha256: Sha256
    input: Text
    shape: tuple[Literal[1], Literal[1], Size, Size]
    outputs: EngineOutputs


class Preprocessing(_Part):
    """Display values are brought to their own range, fitted to ``rows`` x ``columns``, then ``(v - mean) / std``."""

    rows: Size
    columns: Size
    fit: Fit
    mean: Number
    std: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class Rule(_Part):
    """One condition on one field; ``missing`` says what becomes of it when the field holds nothing."""

    id: Identifier
    field: Annotated[str, StringConstraints(pattern=r"^(order|study)\.[a-z_]+$|^dicom\.[A-Za-z0-9]+$", max_length=100)]
    op: Operator
    value: Annotated[list[Text], Field(min_length=1)] | Number | Text | None = None
    missing: Literal["fail", "pass"]

    @model_validator(mode="after")
    def _value_suits_op(self) -> Self:
        suits = {
            Operator.IN: isinstance(self.value, list),
            Operator.NOT_IN: isinstance(self.value, list),
            Operator.CONTAINS: isinstance(self.value, str),
            Operator.AT_LEAST: isinstance(self.value, float),
            Operator.AT_MOST: isinstance(self.value, float),
            Operator.PRESENT: self.value is None,
        }
        if not suits[self.op]:
            wants = {Operator.IN: "a list of texts", Operator.NOT_IN: "a list of texts", Operator.CONTAINS: "a text"}
            other = "no value" if self.op is Operator.PRESENT else "a number"
            raise ValueError(f"op {self.op} takes {wants.get(self.op, other)}")
        return self


class Eligibility(_Part):
    """Every rule must hold: ``study`` once a study, ``instance`` for an image to be used at all."""

    study: tuple[Rule, ...] = ()
    instance: tuple[Rule, ...] = ()


class Code(_Part):
    """A coded concept, as FHIR writes it."""

    system: Annotated[str, StringConstraints(pattern=r"^(https?://|urn:)\S+$", max_length=200)]
    code: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    display: Text


class Finding(_Part):
    """One finding: column ``index`` of the probability tensor and its operating point.

    Present from ``threshold`` up; absent below ``absent_below`` (the threshold when not given);
    indeterminate between them. ``priority`` is asked for when present; None asks for none.
    """

    id: Identifier
    index: Annotated[int, Field(strict=True, ge=0, le=4095)]
    code: Code
    threshold: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
    absent_below: Fraction | None = None
    priority: Priority | None = None

    @model_validator(mode="after")
    def _band_is_ordered(self) -> Self:
        if self.absent_below is not None and self.absent_below > self.threshold:
            raise ValueError("absent_below lies above threshold")
        return self


class ModelManifest(_Part):
    """``model.yaml``, format 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Hilum model package")

    format: Annotated[Literal[1], Field(alias="schema", description="The format of this file")]
    name: Identifier
    version: SemanticVersion
    title: Text
    use: Use
    outputs: Annotated[tuple[OutputKind, ...], Field(min_length=1)]
    notice: Text
    card: FileName
    device: Device
    engine: Engine
    preprocessing: Preprocessing
    eligibility: Eligibility
    findings: Annotated[tuple[Finding, ...], Field(min_length=1)]
    useful_minutes: Annotated[int, Field(strict=True, ge=1, le=525600)]


class ModelPackage(ModelManifest):
    """A manifest whose files were found and whose engine has the stated digest."""

    folder: Path
    digest: Sha256

    @property
    def engine_path(self) -> Path:
        return self.folder / self.engine.file

    @property
    def card_path(self) -> Path:
        return self.folder / self.card

    def finding(self, finding_id: str) -> Finding:
        """The declared finding of that id; KeyError when there is none."""
        for finding in self.findings:
            if finding.id == finding_id:
                return finding
        raise KeyError(finding_id)

    def may_emit(self, kind: OutputKind) -> bool:
        """True when the intended use declares ``kind``."""
        return kind in self.outputs
