"""The image library of a measurement report (TID 1600 to 1603): what each analysed image is, as far as it says.

The library's own builder asks for attributes that many projection images lack; here only the mandatory ones are, and
the rest is stated where the image has it.
"""

from collections.abc import Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom import Dataset

_CONTAINS = RelationshipTypeValues.CONTAINS
_CONTEXT = RelationshipTypeValues.HAS_ACQ_CONTEXT
_MODALITIES = {
    "CR": "Computed Radiography",
    "DX": "Digital Radiography",
    "CT": "Computed Tomography",
    "MR": "Magnetic Resonance",
    "US": "Ultrasound",
    "MG": "Mammography",
}


def image_library(sources: Sequence[Dataset]) -> ContainerContentItem:
    """The container (111028, DCM, "Image Library") with one group a modality."""
    groups: dict[str, list[Dataset]] = {}
    for source in sources:
        groups.setdefault(str(source.get("Modality", "")), []).append(source)
    return _container("111028", "Image Library", [_group(code, images) for code, images in groups.items()])


def _group(modality: str, images: Sequence[Dataset]) -> ContainerContentItem:
    code = modality if modality in _MODALITIES else "OT"
    context: list[ContentItem] = [
        CodeContentItem(_dcm("121139", "Modality"), _dcm(code, _MODALITIES.get(code, "Other")), _CONTEXT)
    ]
    return _container("126200", "Image Library Group", [*context, *(_entry(image) for image in images)])


def _entry(image: Dataset) -> ImageContentItem:
    entry = ImageContentItem(
        name=CodedConcept("260753009", "SCT", "Source"),
        referenced_sop_class_uid=image.SOPClassUID,
        referenced_sop_instance_uid=image.SOPInstanceUID,
        relationship_type=_CONTAINS,
    )
    described: list[ContentItem] = [
        _number("110910", "Pixel Data Rows", image.Rows, "{pixels}", "Pixels"),
        _number("110911", "Pixel Data Columns", image.Columns, "{pixels}", "Pixels"),
    ]
    orientation = image.get("PatientOrientation") or []
    if len(orientation) == 2 and all(orientation):
        described.append(TextContentItem(_dcm("111044", "Patient Orientation Row"), orientation[0], _CONTEXT))
        described.append(TextContentItem(_dcm("111043", "Patient Orientation Column"), orientation[1], _CONTEXT))
    spacing = image.get("ImagerPixelSpacing") or image.get("PixelSpacing") or []
    if len(spacing) == 2:
        described.append(_number("111026", "Horizontal Pixel Spacing", float(spacing[1]), "mm", "millimeter"))
        described.append(_number("111066", "Vertical Pixel Spacing", float(spacing[0]), "mm", "millimeter"))
    entry.ContentSequence = ContentSequence(described)
    return entry


def _container(code: str, meaning: str, items: Sequence[ContentItem]) -> ContainerContentItem:
    container = ContainerContentItem(_dcm(code, meaning), relationship_type=_CONTAINS)
    container.ContentSequence = ContentSequence(items)
    return container


def _number(code: str, meaning: str, value: float, unit: str, unit_meaning: str) -> NumContentItem:
    return NumContentItem(_dcm(code, meaning), value, CodedConcept(unit, "UCUM", unit_meaning), None, _CONTEXT)


def _dcm(code: str, meaning: str) -> CodedConcept:
    return CodedConcept(code, "DCM", meaning)
