"""What results refer to in FHIR: the patient, the study, and the algorithm as a device."""

from fhir.resources.R4B.device import Device
from fhir.resources.R4B.imagingstudy import ImagingStudy
from fhir.resources.R4B.patient import Patient as PatientResource

from hilum.fhir import systems
from hilum.fhir.systems import oid_uri
from hilum.integration.adapters.fhir_elements import Json, checked, coding, instant
from hilum.integration.adapters.fhir_site import FhirSite
from hilum.integration.domain.case import CaseState, Patient
from hilum.integration.domain.result import Algorithm, AlgorithmResult, SourceImage

_GENDERS = {"F": "female", "M": "male", "O": "other", "A": "other", "U": "unknown", "N": "unknown"}


def imaging_study(result: AlgorithmResult, case: CaseState, subject: Json, accession: Json | None) -> Json:
    """R4 13.4, for a server that knows nothing of the study yet; an existing one is left as it is."""
    modality = coding(systems.DCM, case.modality or "OT")
    series: dict[str, list[SourceImage]] = {}
    for image in result.inputs:
        series.setdefault(image.series_instance_uid, []).append(image)
    content: Json = {
        "identifier": [{"system": systems.DICOM_UID, "value": oid_uri(case.study_instance_uid)}],
        "status": "available",
        "subject": subject,
        "basedOn": based_on(accession),
        "started": instant(case.study_time),
        "modality": [modality],
        "numberOfInstances": case.instance_count or None,
        "series": [
            {
                "uid": uid,
                "modality": modality,
                "instance": [
                    {
                        "uid": image.sop_instance_uid,
                        "sopClass": {"system": "urn:ietf:rfc:3986", "code": oid_uri(image.sop_class_uid)},
                    }
                    for image in images
                ],
            }
            for uid, images in series.items()
        ]
        or None,
    }
    if accession is not None:
        content["identifier"].append(accession)
    return checked(ImagingStudy, content)


def patient_resource(patient: Patient, site: FhirSite) -> Json:
    """R4 8.1, for a site that lets us create a patient that its EHR does not know."""
    names = {"family": patient.family_name, "given": [patient.given_name] if patient.given_name else None}
    return checked(
        PatientResource,
        {
            "identifier": [{"system": s, "value": v} for s, v in site.patient_tokens(patient)],
            "name": [{k: v for k, v in names.items() if v}] if any(names.values()) else None,
            "gender": _GENDERS.get(patient.sex),
            "birthDate": _date(patient.birth_date),
        },
    )


def device(algorithm: Algorithm) -> Json:
    """R4 8.10: one Device a version of the model; created once, never changed."""
    return checked(
        Device,
        {
            "identifier": [{"system": systems.DICOM_UID, "value": oid_uri(algorithm.device_uid)}],
            "status": "active",
            "manufacturer": algorithm.manufacturer,
            "deviceName": [{"name": algorithm.model_name, "type": "model-name"}],
            "modelNumber": algorithm.name,
            "type": {"text": "Artificial intelligence algorithm"},
            "version": [
                {"type": {"text": "Version"}, "value": algorithm.version},
                {"type": {"text": "SHA-256 of the model package"}, "value": algorithm.digest},
            ],
            "note": [{"text": algorithm.notice}] if algorithm.notice else None,
        },
    )


def based_on(accession: Json | None) -> list[Json] | None:
    """The order, by its accession number: a logical reference."""
    return [{"type": "ServiceRequest", "identifier": accession}] if accession else None


def _date(digits: str) -> str | None:
    """A FHIR date of YYYY, YYYYMM or YYYYMMDD; anything else is left out."""
    text = digits[:8]
    if not text.isdigit() or len(text) not in (4, 6, 8):
        return None
    return "-".join(part for part in (text[:4], text[4:6], text[6:8]) if part)
