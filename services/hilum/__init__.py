"""Hilum carries imaging AI into the reading room: HL7, DICOM and FHIR in; findings out, with proof."""

__version__ = "0.1.0"
