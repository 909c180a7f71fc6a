"""Identifier and code systems, as URIs, and the few codes that every rendering shares (R4 4.1, terminologies)."""

from hilum.ids import derived_uid

DICOM_UID = "urn:dicom:uid"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
SNOMED_CT = "http://snomed.info/sct"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
V2_0074 = "http://terminology.hl7.org/CodeSystem/v2-0074"
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
OBSERVATION_INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
DATA_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
PROVENANCE_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"

# Systems of our own: OIDs under 2.25 need no registration and no domain that might lapse.
RESULT_IDENTIFIER = f"urn:oid:{derived_uid('fhir system', 'result identifier')}"
DELIVERY_TAG = f"urn:oid:{derived_uid('fhir system', 'delivery tag')}"
RESULT_COMPONENT = f"urn:oid:{derived_uid('fhir system', 'result component')}"

AI_ASSERTED = (OBSERVATION_VALUE, "AIAST", "Artificial Intelligence asserted")
# AIAST is younger than R4: a server that knows the code system as 4.0.1 published it refuses the code as unknown. For
# such a server the same code stands under the code system's OID, beside the nearest code that 4.0.1 has.
AI_ASSERTED_BEFORE_THO = (
    (OBSERVATION_VALUE, "DEVAST", "device asserted"),
    ("urn:oid:2.16.840.1.113883.5.1063", "AIAST", "Artificial Intelligence asserted"),
)
PRESENT = (SNOMED_CT, "52101004", "Present")
ABSENT = (SNOMED_CT, "2667000", "Absent")
INDETERMINATE = (SNOMED_CT, "82334004", "Indeterminate")


def oid_uri(uid: str) -> str:
    """A UID or OID as the URN that FHIR writes (R4 2.24.0.1)."""
    return f"urn:oid:{uid}"


def token(system: str, value: str) -> str:
    """A token search value, ``system|value``, with the characters escaped that a search reserves (R4 3.1.1.4.1)."""
    return f"{_escaped(system)}|{_escaped(value)}"


def _escaped(text: str) -> str:
    return "".join("\\" + c if c in "\\|,$" else c for c in text)
