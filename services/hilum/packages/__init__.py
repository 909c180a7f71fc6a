"""Model packages: a folder that says what a model is for, holds its engine, and proves both by digest."""

from hilum.packages.loading import load, load_all
from hilum.packages.model import (
    Code,
    Device,
    Eligibility,
    Engine,
    EngineOutputs,
    Finding,
    Fit,
    ModelManifest,
    ModelPackage,
    Operator,
    OutputKind,
    Preprocessing,
    Priority,
    Rule,
    Use,
)
from hilum.packages.schema import model_schema

__all__ = [
    "Code",
    "Device",
    "Eligibility",
    "Engine",
    "EngineOutputs",
    "Finding",
    "Fit",
    "ModelManifest",
    "ModelPackage",
    "Operator",
    "OutputKind",
    "Preprocessing",
    "Priority",
    "Rule",
    "Use",
    "load",
    "load_all",
    "model_schema",
]
