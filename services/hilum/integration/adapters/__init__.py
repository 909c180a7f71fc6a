"""Renderers and dispatchers: the domain's decisions in FHIR, HL7 v2 and DICOM."""
