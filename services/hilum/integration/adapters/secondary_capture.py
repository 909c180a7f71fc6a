"""The overlay as a Secondary Capture (PS3.3 A.8.1): the fallback that every viewer can show, beside the SR."""

from collections.abc import Mapping

import numpy as np
from highdicom.sc import ConversionTypeValues, SCImage
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM

from hilum.dicom.pixels import display_values
from hilum.errors import Fault
from hilum.integration.adapters.dicom_source import derive, encoded, requests
from hilum.integration.adapters.overlay import Mark, Picture, banner, draw
from hilum.integration.adapters.structured_report import (
    MANUFACTURER,
    MODEL,
    DicomSite,
    contributing_equipment,
    series_description,
    series_instance_uid,
    sop_instance_uid,
)
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.result import AlgorithmResult, Finding, State


def marked(result: AlgorithmResult) -> tuple[str, tuple[Finding, ...]]:
    """The instance to draw on, that of the surest finding with a place, and every present finding seen on it.

    Raises Fault ``no_image_marked`` where no present finding has a place.
    """
    placed = [f for f in result.findings if f.state is State.PRESENT and f.localisation is not None]
    surest = max(placed, key=lambda f: f.probability or 0.0, default=None)
    if surest is None or surest.localisation is None:
        raise Fault("no_image_marked", "no present finding has a place on an image")
    uid = surest.localisation.sop_instance_uid
    return uid, tuple(f for f in placed if f.localisation is not None and f.localisation.sop_instance_uid == uid)


def render_overlay(result: AlgorithmResult, source: Dataset, activations: Mapping[str, NDArray[np.float32]]) -> Picture:
    """The picture of ``source`` (with pixels) and its findings; ``activations`` are by finding id.

    Raises Rejected where the pixels cannot be shown (`hilum.dicom.pixels`).
    """
    _, findings = marked(result)
    marks = [Mark(_label(f), f.localisation.box if f.localisation else None, activations.get(f.id)) for f in findings]
    return draw(display_values(source), marks, banner(result.algorithm))


def render_secondary_capture(
    result: AlgorithmResult, case: CaseState, site: DicomSite, delivery_id: str, source: Dataset, picture: Picture
) -> bytes:
    """``picture`` as a DICOM file in the study of ``source``, a new series an algorithm and version."""
    algorithm = result.algorithm
    image = SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=series_instance_uid(result, case, "secondary_capture"),
        series_number=9002,
        sop_instance_uid=sop_instance_uid(delivery_id),
        instance_number=result.revision,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions="1",
        series_description=series_description(algorithm),
        patient_orientation=_orientation(source),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    captured = result.completed_at.astimezone(site.zone)
    image.ConversionType = ConversionTypeValues.WSD.value
    image.DateOfSecondaryCapture = DA(captured.date())
    image.TimeOfSecondaryCapture = TM(captured.time().replace(microsecond=0))
    image.Laterality = source.get("Laterality", "")
    image.BurnedInAnnotation = _yes_or_no(source, "BurnedInAnnotation")
    image.RecognizableVisualFeatures = _yes_or_no(source, "RecognizableVisualFeatures")
    if not _known_orientation(source):
        image.PatientOrientation = []  # Type 2C: empty where unknown, for a wrong side is worse than none
    image.LossyImageCompression = source.get("LossyImageCompression", "00")
    image.DerivationDescription = f"Overlay of {algorithm.name} {algorithm.version}. {algorithm.notice}"[:1024]
    image.ContributingEquipmentSequence = [contributing_equipment(algorithm)]
    image.SourceImageSequence = [_reference(source)]
    attributes = [_request_attributes(item) for item in requests(case, source)]
    if attributes:
        image.RequestAttributesSequence = attributes
    return encoded(derive(image, source, captured, captured))


def _label(finding: Finding) -> str:
    if finding.probability is None:
        return finding.concept.display
    return f"{finding.concept.display} {finding.probability:.0%}"


def _orientation(source: Dataset) -> tuple[str, str]:
    """The source's patient orientation: the picture is neither turned nor mirrored. The library takes none for none."""
    if not _known_orientation(source):
        return ("L", "F")
    row, column = source.PatientOrientation
    return (str(row), str(column))


def _known_orientation(source: Dataset) -> bool:
    values = source.get("PatientOrientation") or []
    return len(values) == 2 and all(values)


def _yes_or_no(source: Dataset, keyword: str) -> str:
    """What the picture shows of the source it shows too: YES stays YES."""
    return "YES" if str(source.get(keyword, "")).strip().upper() == "YES" else "NO"


def _reference(source: Dataset) -> Dataset:
    """Which image this was derived from (PS3.3 C.12.4)."""
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item.PurposeOfReferenceCodeSequence = Sequence([purpose])
    return item


def _request_attributes(request: Dataset) -> Dataset:
    """An item of the Request Attributes Sequence (PS3.3 10.6)."""
    item = Dataset()
    item.AccessionNumber = request.AccessionNumber
    item.StudyInstanceUID = request.StudyInstanceUID
    if request.RequestedProcedureID:
        item.RequestedProcedureID = request.RequestedProcedureID
    if request.RequestedProcedureDescription:
        item.RequestedProcedureDescription = request.RequestedProcedureDescription
    return item
