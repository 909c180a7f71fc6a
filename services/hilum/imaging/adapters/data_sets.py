"""A data set as it came off the wire, read for what it states; its bytes are kept as they are."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from pydicom import Dataset
from pydicom.uid import UID

from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.dicom.facts import InstanceFacts, read_facts
from hilum.dicom.image_header import PIXEL_KEYWORDS, check_image
from hilum.dicom.reading import parse
from hilum.errors import Rejected
from hilum.imaging.domain import Arrival, Refusal


@dataclass(frozen=True, slots=True)
class Received:
    """One C-STORE request. ``data_set`` is encoded in ``transfer_syntax_uid``; ``file`` ends in it (PS3.10 7)."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    context_sop_class_uid: str
    calling_ae_title: str
    data_set: memoryview
    file: memoryview
    at: datetime


class Reading:
    """Turns what was received into an `Arrival`, or into a `Refusal` with its reason."""

    def __init__(self, site: str, default_authority: str, max_data_set_bytes: int) -> None:
        self._site = site
        self._default_authority = default_authority
        self._max_data_set_bytes = max_data_set_bytes

    def read(self, received: Received) -> Arrival | Refusal:
        """Never raises for what the peer sent."""
        sha256 = hashlib.sha256(received.data_set).digest()
        try:
            dataset, facts = self._facts(received)
        except Rejected as rejected:
            return _refusal(received, sha256, rejected)
        return Arrival(
            sop_instance_uid=facts.sop_instance_uid,
            study_instance_uid=facts.study_instance_uid,
            sha256=sha256,
            file=received.file,
            calling_ae_title=received.calling_ae_title,
            received_at=received.at,
            statement=self._statement(received, facts, sha256).SerializeToString(deterministic=True),
            reason=_fault_of_pixels(dataset, facts.sop_class_uid),
        )

    def _facts(self, received: Received) -> tuple[Dataset, InstanceFacts]:
        if received.context_sop_class_uid != received.sop_class_uid:
            raise Rejected("sop_class_not_supported", "the request's SOP class is not that of its presentation context")
        dataset = parse(received.data_set, received.transfer_syntax_uid, self._max_data_set_bytes)
        facts = read_facts(dataset)
        if (facts.sop_class_uid, facts.sop_instance_uid) != (received.sop_class_uid, received.sop_instance_uid):
            raise Rejected("uids_disagree", "the request names another SOP class or instance than its data set")
        return dataset, facts

    def _statement(self, received: Received, facts: InstanceFacts, sha256: bytes) -> Instance:
        instance = Instance(
            site=self._site,
            study_instance_uid=facts.study_instance_uid,
            series_instance_uid=facts.series_instance_uid,
            sop_instance_uid=facts.sop_instance_uid,
            sop_class_uid=facts.sop_class_uid,
            transfer_syntax_uid=received.transfer_syntax_uid,
            sha256=sha256,
            size_bytes=len(received.data_set),
            calling_ae_title=received.calling_ae_title,
            study_date=facts.study_date,
            study_time=facts.study_time,
            tags=dict(facts.tags),
        )
        instance.received_at.FromDatetime(received.at)
        patient = instance.patient
        if facts.patient_id:
            authority = facts.issuer_of_patient_id or self._default_authority
            patient.identifiers.add(value=facts.patient_id, authority=authority, type_code="MR")
        patient.family_name, patient.given_name = facts.family_name, facts.given_name
        patient.birth_date, patient.sex = facts.birth_date, facts.sex
        if facts.accession_number:
            instance.accession_number.value = facts.accession_number
            instance.accession_number.authority = facts.accession_issuer
        return instance


def _refusal(received: Received, sha256: bytes, rejected: Rejected) -> Refusal:
    return Refusal(
        sha256=sha256,
        file=received.file,
        calling_ae_title=received.calling_ae_title,
        received_at=received.at,
        sop_class_uid=received.sop_class_uid,
        sop_instance_uid=received.sop_instance_uid,
        transfer_syntax_uid=received.transfer_syntax_uid,
        code=rejected.code,
        text=rejected.text,
    )


def _fault_of_pixels(dataset: Dataset, sop_class_uid: str) -> str:
    """Why the pixels cannot be an input; empty when they can, or when there are none to be expected."""
    sop_class = UID(sop_class_uid).name
    if not ("Rows" in dataset or any(keyword in dataset for keyword in PIXEL_KEYWORDS) or "Image Storage" in sop_class):
        return ""
    try:
        check_image(dataset)
    except Rejected as rejected:
        return rejected.code
    except Exception:  # noqa: BLE001 - elements are parsed at access
        return "element_unreadable"
    return ""
