"""How a site names things in FHIR."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hilum.fhir.systems import oid_uri
from hilum.integration.domain.case import AssignedId, Patient

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_OF_PERSONS = frozenset({"", "MR", "PI", "PT", "PN"})  # table 0203


@dataclass(frozen=True)
class FhirSite:
    """How a site names things in FHIR: the system of each assigning authority, and who answers for the results.

    ``systems`` is by authority; ``patient_system`` stands for ``own_authority`` and for none.
    ``current_terminology``: the server knows HL7's terminology as published today, not only as of R4 4.0.1.
    """

    organisation: str
    systems: Mapping[str, str] = field(default_factory=dict)
    patient_system: str = "urn:hilum:patient"
    own_authority: str = ""
    accession_system: str = "urn:hilum:accession"
    current_terminology: bool = False

    def system_of(self, authority: str, default: str) -> str:
        """The URI of an assigning authority: the site's table, else an OID as it is, else ``default``."""
        if authority in self.systems:
            return self.systems[authority]
        return oid_uri(authority) if _OID.fullmatch(authority) else default

    def patient_tokens(self, patient: Patient) -> tuple[tuple[str, str], ...]:
        """(system, value) of each identifier that tells who this is, the medical record number first.

        Left out is what could be another patient's number in the same system: one of an account or visit, and one of
        an authority that the site did not name.
        """
        ranked = sorted(patient.identifiers, key=lambda i: i.type_code != "MR")
        found = {
            (system, i.value): None
            for i in ranked
            if i.value and i.type_code in _OF_PERSONS and (system := self._of(i))
        }
        return tuple(found)

    def _of(self, identifier: AssignedId) -> str:
        own = self.patient_system if identifier.authority in ("", self.own_authority) else ""
        return self.system_of(identifier.authority, own)
