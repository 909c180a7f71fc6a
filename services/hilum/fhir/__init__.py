"""FHIR R4's own grammar: systems, codes, search values, and a client that speaks the REST exchanges; no workflow."""
