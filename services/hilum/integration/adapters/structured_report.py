"""A result as a Comprehensive 3D SR of TID 1500 (PS3.16 A; IHE AIR): what PACS and registries can read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
from highdicom import ContributingEquipment
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TrackingIdentifier,
)
from pydicom import Dataset

from hilum.errors import Fault
from hilum.fhir import systems
from hilum.ids import derived_uid
from hilum.integration.adapters.dicom_source import derive, encoded, requests
from hilum.integration.adapters.image_library import image_library
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.result import Algorithm, AlgorithmResult, Box, Finding, State

MANUFACTURER, MODEL = "Hilum", "Hilum integration"
_SCHEMES = {systems.SNOMED_CT: "SCT", systems.DCM: "DCM", systems.LOINC: "LN", "http://radlex.org": "RADLEX"}
_STATES = {
    State.PRESENT: systems.PRESENT,
    State.ABSENT: systems.ABSENT,
    State.INDETERMINATE: systems.INDETERMINATE,
}
_PROCEDURES = {  # CID 100 and its like, by modality; what was imaged, never the algorithm (AIR)
    "CR": ("168537006", "Plain X-ray"),
    "DX": ("168537006", "Plain X-ray"),
    "CT": ("77477000", "Computed tomography"),
    "MR": ("113091000", "Magnetic resonance imaging"),
    "US": ("16310003", "Ultrasonography"),
    "MG": ("71651007", "Mammography"),
}
_ANY_PROCEDURE = ("363679005", "Imaging")


@dataclass(frozen=True)
class DicomSite:
    """Whose result objects these are, and the zone that their dates and times are written in."""

    zone: tzinfo


def sop_instance_uid(delivery_id: str) -> str:
    """The SOP Instance UID of what a delivery carries: the same however often it is rendered."""
    return derived_uid("sop instance", delivery_id)


def series_instance_uid(result: AlgorithmResult, case: CaseState, kind: str) -> str:
    """One series an algorithm, version and kind of object (AIR); a rerun is another instance of it."""
    algorithm = result.algorithm
    return derived_uid("series", case.study_instance_uid, algorithm.name, algorithm.version, kind)


def series_description(algorithm: Algorithm) -> str:
    return f"AI {algorithm.name} {algorithm.version}"[:64]


def contributing_equipment(algorithm: Algorithm) -> ContributingEquipment:
    """The algorithm as equipment: purpose 109102, one item an algorithm (AIR, General Equipment is the packager)."""
    item = ContributingEquipment(
        manufacturer=algorithm.manufacturer[:64],
        purpose_of_reference=CodedConcept("109102", "DCM", "Processing Equipment"),
        manufacturer_model_name=algorithm.model_name[:64],
        software_versions=algorithm.version,
        contribution_description=f"{algorithm.title}. {algorithm.notice}"[:1024],
    )
    item.DeviceUID = algorithm.device_uid
    return item


def render_structured_report(
    result: AlgorithmResult, case: CaseState, site: DicomSite, delivery_id: str, sources: Sequence[Dataset]
) -> bytes:
    """The SR of ``result`` (already cut down by the intended use) as a DICOM file.

    ``sources`` are the headers of every image that was analysed, from `read_source`; patient and study are theirs.
    Raises Fault ``no_source_image`` without one.
    """
    if not sources:
        raise Fault("no_source_image", "an SR needs the images that it reports on")
    algorithm = result.algorithm
    report = Comprehensive3DSR(
        evidence=list(sources),
        content=_content(result, case, sources)[0],
        series_instance_uid=series_instance_uid(result, case, "structured_report"),
        series_number=9001,
        sop_instance_uid=sop_instance_uid(delivery_id),
        instance_number=result.revision,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions="1",
        device_serial_number="1",
        series_description=series_description(algorithm),
        is_complete=not result.partial,
        is_final=False,
        is_verified=False,
        requested_procedures=requests(case, sources[0]) or None,
        content_date=result.started_at.astimezone(site.zone).date(),
        content_time=result.started_at.astimezone(site.zone).time(),
    )
    report.ContributingEquipmentSequence = [contributing_equipment(algorithm)]
    if "ReferencedPerformedProcedureStepSequence" in sources[0]:
        steps = sources[0].ReferencedPerformedProcedureStepSequence
        report.ReferencedPerformedProcedureStepSequence = list(steps)
    times = (moment.astimezone(site.zone) for moment in (result.started_at, result.completed_at))
    return encoded(derive(report, sources[0], *times))


def _content(result: AlgorithmResult, case: CaseState, sources: Sequence[Dataset]) -> MeasurementReport:
    algorithm = result.algorithm
    observer = ObserverContext(
        observer_type=CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=algorithm.device_uid,
            name=algorithm.name,
            manufacturer_name=algorithm.manufacturer,
            model_name=algorithm.model_name,
        ),
    )
    by_uid = {str(source.SOPInstanceUID): source for source in sources}
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=_procedure(case, sources[0]),
        imaging_measurements=[_group(finding, result, case, by_uid) for finding in result.findings],
    )
    items = report[0].ContentSequence
    items.insert(len(items) - 1, image_library(sources))
    return report


def _group(
    finding: Finding, result: AlgorithmResult, case: CaseState, sources: dict[str, Dataset]
) -> MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations:
    """TID 1410 where the finding has a box on a source image, else TID 1501; absent is stated, never left out."""
    algorithm = result.algorithm
    concept = _coded(finding)
    tracking = TrackingIdentifier(
        uid=derived_uid("tracking", case.study_instance_uid, algorithm.name, finding.id), identifier=finding.id
    )
    parameters = [] if finding.threshold is None else [f"threshold={finding.threshold:g}"]
    if algorithm.notice:  # TID 4019 is where a reader of the report meets the algorithm
        parameters.append(algorithm.notice)
    identification = AlgorithmIdentification(
        name=algorithm.model_name, version=algorithm.version, parameters=parameters or None
    )
    system, code, display = _STATES[finding.state]
    evaluation = QualitativeEvaluation(concept, CodedConcept(code, _SCHEMES[system], display))
    measurements = [] if finding.probability is None else [_certainty(finding.probability)]
    place = finding.localisation
    source = sources.get(place.sop_instance_uid) if place is not None else None
    if source is not None and place is not None and place.box is not None:
        return PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            referenced_region=_region(place.box, source),
            finding_type=concept,
            algorithm_id=identification,
            measurements=measurements or None,
            qualitative_evaluations=[evaluation],
        )
    images = [source] if source is not None else list(sources.values())
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        finding_type=concept,
        algorithm_id=identification,
        measurements=measurements or None,
        qualitative_evaluations=[evaluation],
        source_images=[SourceImageForMeasurementGroup(i.SOPClassUID, i.SOPInstanceUID) for i in images],
    )


def _region(box: Box, source: Dataset) -> ImageRegion:
    """The box as a closed polyline in image coordinates, column then row (PS3.3 C.18.6.1.2)."""
    rows, columns = float(source.Rows), float(source.Columns)
    top, bottom = max(0.0, box.row0), min(rows, box.row1)
    left, right = max(0.0, box.column0), min(columns, box.column1)
    corners = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return ImageRegion(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=np.array(corners, dtype=np.float64),
        source_image=SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID),
    )


def _certainty(probability: float) -> Measurement:
    """The probability as a percentage: (111012, DCM, "Certainty of Finding")."""
    return Measurement(
        name=CodedConcept("111012", "DCM", "Certainty of Finding"),
        value=round(probability * 100.0, 2),
        unit=CodedConcept("%", "UCUM", "Percent"),
    )


def _coded(finding: Finding) -> CodedConcept:
    concept = finding.concept
    scheme = _SCHEMES.get(concept.system)
    if scheme is None:
        raise Fault("concept_without_dicom_scheme", "a finding's code system has no DICOM coding scheme designator")
    return CodedConcept(concept.code, scheme, concept.display[:64])


def _procedure(case: CaseState, source: Dataset) -> CodedConcept:
    """The imaging procedure: as the image codes it, else by modality."""
    coded = source.get("ProcedureCodeSequence")
    if coded and all(coded[0].get(name) for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")):
        return CodedConcept(coded[0].CodeValue, coded[0].CodingSchemeDesignator, coded[0].CodeMeaning)
    code, meaning = _PROCEDURES.get(str(source.get("Modality", case.modality)), _ANY_PROCEDURE)
    return CodedConcept(code, "SCT", meaning)
