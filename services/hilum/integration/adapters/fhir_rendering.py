"""A result as one FHIR R4 transaction for the chart: report, findings, device and provenance.

Idempotent by construction: every identity is derived, so that the same result gives the same bytes, and each entry
is conditional, so that the same bytes change nothing the second time. The algorithm never owns the ImagingStudy,
and what it writes is preliminary.
"""

import json

from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.provenance import Provenance

from hilum.fhir import systems
from hilum.fhir.systems import oid_uri, token
from hilum.ids import derived_id
from hilum.integration.adapters.fhir_context import based_on, device, imaging_study, patient_resource
from hilum.integration.adapters.fhir_elements import (
    Json,
    checked,
    coding,
    concept,
    create,
    fraction,
    identifier,
    instant,
    narrative,
    put,
    urn,
)
from hilum.integration.adapters.fhir_site import FhirSite
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.result import AlgorithmResult, Finding, SourceImage, State

_MOST_ENTITIES = 50
_VALUES = {
    State.PRESENT: (systems.PRESENT, ("POS", "Positive")),
    State.ABSENT: (systems.ABSENT, ("NEG", "Negative")),
    State.INDETERMINATE: (systems.INDETERMINATE, ("IND", "Indeterminate")),
}


def render_report(result: AlgorithmResult, case: CaseState, site: FhirSite, patient_reference: str | None) -> bytes:
    """The transaction Bundle of ``result`` (already cut down by the intended use), as UTF-8 JSON.

    ``patient_reference`` is the server's own, as in ``Patient/123``: exactly one patient was found before. None: no
    patient was found and the site lets us create one, by the identifiers of the case, of which there must be one.
    """
    return _Rendering(result, case, site, patient_reference).bundle()


def observation_identifier(result: AlgorithmResult, case: CaseState, finding: Finding) -> str:
    """The value of a finding's identifier: the same for every revision, so that a rerun is a new version of it."""
    return derived_id("observation", *_scope(result, case), finding.id)


def report_identifier(result: AlgorithmResult, case: CaseState) -> str:
    """The value of the report's identifier: one report a study and algorithm version."""
    return derived_id("report", *_scope(result, case))


def _scope(result: AlgorithmResult, case: CaseState) -> tuple[str, str, str, str]:
    return case.site, case.study_instance_uid, result.algorithm.name, result.algorithm.version


class _Rendering:
    """One bundle in the making; what all its entries refer to."""

    def __init__(self, result: AlgorithmResult, case: CaseState, site: FhirSite, patient_reference: str | None) -> None:
        self._result, self._case, self._site = result, case, site
        self._creates_patient = patient_reference is None
        self._patient_url = urn("patient", case.site, *(part for t in site.patient_tokens(case.patient) for part in t))
        self._subject = {"reference": patient_reference or self._patient_url}
        self._study_url = urn("study", case.study_instance_uid)
        self._device_url = urn("device", result.algorithm.device_uid)
        self._report_url = f"urn:uuid:{report_identifier(result, case)}"

    def bundle(self) -> bytes:
        study_uid = token(systems.DICOM_UID, oid_uri(self._case.study_instance_uid))
        device_uid = token(systems.DICOM_UID, oid_uri(self._result.algorithm.device_uid))
        delivery = self._provenance_tag()
        entries = [
            create(
                self._study_url,
                imaging_study(self._result, self._case, self._subject, self._accession()),
                f"identifier={study_uid}",
            ),
            create(self._device_url, device(self._result.algorithm), f"identifier={device_uid}"),
            *(put(self._url(f), self._observation(f)) for f in self._result.findings),
            put(self._report_url, self._report()),
            create(urn("provenance", delivery), self._provenance(), f"_tag={token(systems.DELIVERY_TAG, delivery)}"),
        ]
        if self._creates_patient:
            known_as = token(*self._site.patient_tokens(self._case.patient)[0])
            entries.insert(
                0, create(self._patient_url, patient_resource(self._case.patient, self._site), f"identifier={known_as}")
            )
        bundle = Bundle.model_validate({"type": "transaction", "entry": entries})
        return _dumped(bundle)

    def _url(self, finding: Finding) -> str:
        return f"urn:uuid:{observation_identifier(self._result, self._case, finding)}"

    def _provenance_tag(self) -> str:
        return derived_id("provenance", *_scope(self._result, self._case), str(self._result.revision))

    def _observation(self, finding: Finding) -> Json:
        """R4 10.1: one finding of one algorithm, asserted by an AI and unreviewed."""
        result = self._result
        value, (code, display) = _VALUES[finding.state]
        text = f"{finding.concept.display}: {value[2].lower()}. {self._origin()}"
        return checked(
            Observation,
            {
                "meta": {"security": self._ai_asserted()},
                "text": narrative(text),
                "identifier": [identifier(observation_identifier(result, self._case, finding))],
                "basedOn": based_on(self._accession()),
                "status": "preliminary",
                "category": [concept(systems.OBSERVATION_CATEGORY, "imaging", "Imaging")],
                "code": concept(finding.concept.system, finding.concept.code, finding.concept.display),
                "subject": self._subject,
                "effectiveDateTime": instant(self._case.study_time or result.started_at),
                "issued": instant(result.completed_at),
                "valueCodeableConcept": concept(*value),
                "interpretation": [concept(systems.OBSERVATION_INTERPRETATION, code, display)],
                "method": {"text": "Automated analysis of the images"},
                "device": {"reference": self._device_url},
                "derivedFrom": [{"reference": self._study_url}],
                "note": [{"text": result.algorithm.notice}] if result.algorithm.notice else None,
                "component": _components(finding),
            },
        )

    def _report(self) -> Json:
        """R4 10.3: preliminary always; final is for a radiologist's system to say."""
        result, case = self._result, self._case
        stated = "; ".join(f"{f.concept.display}: {_VALUES[f.state][0][2].lower()}" for f in result.findings)
        text = f"{stated}. {self._origin()}"
        procedure = case.order.procedure_code if case.order else None
        return checked(
            DiagnosticReport,
            {
                "meta": {"security": self._ai_asserted()},
                "text": narrative(text),
                "identifier": [identifier(report_identifier(result, case))],
                "basedOn": based_on(self._accession()),
                "status": "partial" if result.partial else "preliminary",
                "category": [
                    {
                        "coding": [
                            coding(systems.V2_0074, "RAD", "Radiology"),
                            coding(systems.LOINC, "LP29684-5", "Radiology"),
                        ]
                    }
                ],
                "code": {
                    **concept(systems.LOINC, "18748-4", "Diagnostic imaging study"),
                    "text": f"AI analysis: {procedure[1]}" if procedure and procedure[1] else "AI analysis",
                },
                "subject": self._subject,
                "effectiveDateTime": instant(case.study_time or result.started_at),
                "issued": instant(result.completed_at),
                "result": [{"reference": self._url(finding)} for finding in result.findings],
                "imagingStudy": [{"reference": self._study_url}],
                "conclusion": text,
            },
        )

    def _provenance(self) -> Json:
        """R4 6.3: which device made these resources, from what, when and on whose behalf."""
        result = self._result
        targets = [self._report_url, *(self._url(f) for f in result.findings), self._device_url]
        return checked(
            Provenance,
            {
                "meta": {"tag": [{"system": systems.DELIVERY_TAG, "code": self._provenance_tag()}]},
                "target": [{"reference": url} for url in targets],
                "occurredPeriod": {"start": instant(result.started_at), "end": instant(result.completed_at)},
                "recorded": instant(result.completed_at),
                "reason": [{"coding": self._ai_asserted()}],
                "activity": concept(systems.DATA_OPERATION, "CREATE", "create"),
                "agent": [
                    {
                        "type": concept(systems.PROVENANCE_PARTICIPANT, "assembler", "Assembler"),
                        "role": [{"text": "Artificial-Intelligence"}],
                        "who": {"reference": self._device_url},
                    },
                    {
                        "type": concept(systems.PROVENANCE_PARTICIPANT, "author", "Author"),
                        "who": {"type": "Organization", "display": self._site.organisation},
                    },
                ],
                "entity": [
                    {"role": "source", "what": {"reference": self._study_url}},
                    *(
                        {
                            "role": "source",
                            "what": {
                                "identifier": {"system": systems.DICOM_UID, "value": oid_uri(image.sop_instance_uid)}
                            },
                        }
                        for image in result.inputs[:_MOST_ENTITIES]
                    ),
                ],
            },
        )

    def _ai_asserted(self) -> list[Json]:
        """The label "asserted by an artificial intelligence", in codes that the server can know."""
        if self._site.current_terminology:
            return [coding(*systems.AI_ASSERTED)]
        return [coding(*code) for code in systems.AI_ASSERTED_BEFORE_THO]

    def _origin(self) -> str:
        algorithm = self._result.algorithm
        return (
            f"Stated by an algorithm ({algorithm.title}, version {algorithm.version}), not reviewed by a radiologist. "
            f"{algorithm.notice}"
        ).strip()

    def _accession(self) -> Json | None:
        """The accession number as R4 carries it: an identifier of type ACSN."""
        number = self._case.accession_number
        if number is None or not number.value:
            return None
        system = self._site.system_of(number.authority, self._site.accession_system)
        return {"type": concept(systems.V2_0203, "ACSN", "Accession ID"), "system": system, "value": number.value}


def _image_identifier(image: SourceImage) -> Json:
    return {"system": systems.DICOM_UID, "value": oid_uri(image.sop_instance_uid)}


def _components(finding: Finding) -> list[Json] | None:
    parts: list[Json] = []
    if finding.probability is not None:
        certainty = concept(systems.DCM, "111012", "Certainty of Finding")
        parts.append({"code": {**certainty, "text": "Probability"}, **fraction(finding.probability)})
    if finding.threshold is not None:
        threshold = concept(systems.RESULT_COMPONENT, "threshold", "Decision threshold")
        parts.append({"code": threshold, **fraction(finding.threshold)})
    return parts or None


def _dumped(bundle: Bundle) -> bytes:
    content = bundle.model_dump(mode="json")
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
