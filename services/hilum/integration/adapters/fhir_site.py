"""How a site names things in FHIR."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hilum.fhir.systems import oid_uri
from hilum.integration.domain.case import Patient

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


@dataclass(frozen=True)
class FhirSite:
    """How a site names things in FHIR: the system of each assigning authority, and who answers for the results.

    ``systems`` is by authority. ``current_terminology``: the server knows HL7's terminology as published today, not
    only as of R4 4.0.1.
    """

    organisation: str
    systems: Mapping[str, str] = field(default_factory=dict)
    patient_system: str = "urn:hilum:patient"
    accession_system: str = "urn:hilum:accession"
    current_terminology: bool = False

    def system_of(self, authority: str, default: str) -> str:
        """The URI of an assigning authority: the site's table, else an OID as it is, else ``default``."""
        if authority in self.systems:
            return self.systems[authority]
        return oid_uri(authority) if _OID.fullmatch(authority) else default

    def patient_tokens(self, patient: Patient) -> tuple[tuple[str, str], ...]:
        """(system, value) of each identifier, the medical record number first."""
        ranked = sorted(patient.identifiers, key=lambda i: i.type_code != "MR")
        return tuple((self.system_of(i.authority, self.patient_system), i.value) for i in ranked if i.value)
