"""A chest radiograph with an order, and what a pneumothorax detector says of it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hilum.integration.domain.case import AssignedId, CaseState, Order, Patient
from hilum.integration.domain.result import (
    Algorithm,
    AlgorithmResult,
    Box,
    Concept,
    Finding,
    Localisation,
    Output,
    SourceImage,
    State,
    Use,
)

NOW = datetime(2026, 3, 29, 9, 30, 0, tzinfo=UTC)
STUDY_UID = "2.25.1234567890123456789012345678901234567"
SERIES_UID = f"{STUDY_UID}.1"[:64]
SOP_UID = f"{STUDY_UID}.1.1"[:64]
MRN = "1.3.6.1.4.1.21367.13.20.1000"
ACCESSIONS = "1.3.6.1.4.1.21367.13.22.1"

ORM_SEGMENTS = (
    "MSH|^~\\&|RIS|NORTH|HILUM|NORTH|20260329095900+0200||ORM^O01^ORM_O01|MSG00077|P|2.5.1",
    "PID|1||PAT-001^^^HILUMTEST&1.3.6.1.4.1.21367.13.20.1000&ISO^MR||Testperson^Ada^^^||19610503|F|||1 Ward Way^^Town",
    "PV1|1|I|WARD7^4^B||||1234^Adams^Douglas|||||||||||V001",
    "ORC|NW|PL-77^PLACER|FI-88^FILLER||SC||1^^^20260329100000+0200^^R||20260329095900|||1234^Adams^Douglas",
    "OBR|1|PL-77^PLACER|FI-88^FILLER|XRCH^Chest X-ray^LOCAL|||||||||Dyspnoea|||||ACC-1001|RP-1|SPS-1||||DX|||"
    "1^^^20260329100000+0200^^R",
    f"ZDS|{STUDY_UID}^100^Application^DICOM",
)

ORM = ("\r".join(ORM_SEGMENTS) + "\r").encode()

PNEUMOTHORAX = Concept("http://snomed.info/sct", "36118008", "Pneumothorax")


def make_algorithm(
    use: Use = Use.DETECTION, outputs: frozenset[Output] = frozenset(Output), **changes: Any
) -> Algorithm:
    algorithm = Algorithm(
        name="pneumothorax-phantom",
        version="1.0.0",
        digest="9f" * 32,
        title="Pneumothorax on chest phantoms",
        use=use,
        outputs=outputs,
        notice="Demonstration. Not for clinical use.",
        manufacturer="Hilum project",
        model_name="pneumothorax-phantom",
        device_uid="2.25.98765432109876543210987654321098765432",
    )
    return replace(algorithm, **changes)


def make_finding(**changes: Any) -> Finding:
    finding = Finding(
        id="pneumothorax",
        concept=PNEUMOTHORAX,
        state=State.PRESENT,
        probability=0.9312,
        threshold=0.5,
        priority="S",
        localisation=Localisation(SOP_UID, Box(40.0, 150.0, 120.0, 220.0)),
    )
    return replace(finding, **changes)


def make_absent(**changes: Any) -> Finding:
    return make_finding(state=State.ABSENT, probability=0.03, localisation=None, **changes)


def make_result(*findings: Finding, **changes: Any) -> AlgorithmResult:
    result = AlgorithmResult(
        result_id="result-1",
        case_id="case-1",
        revision=1,
        algorithm=make_algorithm(),
        findings=findings or (make_finding(),),
        started_at=datetime(2026, 3, 29, 9, 29, 50, tzinfo=UTC),
        completed_at=datetime(2026, 3, 29, 9, 29, 58, tzinfo=UTC),
        inputs=(SourceImage(SOP_UID, "1.2.840.10008.5.1.4.1.1.1.1", SERIES_UID),),
    )
    return replace(result, **changes)


def make_order(**changes: Any) -> Order:
    order = Order(
        placer_order_number=AssignedId("PL-77", "PLACER"),
        filler_order_number=AssignedId("FI-88", "FILLER"),
        accession_number=AssignedId("ACC-1001", ACCESSIONS),
        requested_procedure_id="RP-1",
        procedure_code=("XRCH", "Chest X-ray", "LOCAL"),
        priority="R",
        message_type="ORM^O01",
        source_message=ORM,
    )
    return replace(order, **changes)


def make_case(**changes: Any) -> CaseState:
    case = CaseState(
        case_id="case-1",
        version=3,
        site="north",
        study_instance_uid=STUDY_UID,
        patient=Patient((AssignedId("PAT-001", MRN, "MR"),), "Testperson", "Ada", "19610503", "F"),
        orders=(make_order(),),
        instance_count=1,
        modality="DX",
        study_time=datetime(2026, 3, 29, 9, 20, 0, tzinfo=UTC),
        images_complete_at=datetime(2026, 3, 29, 9, 29, 40, tzinfo=UTC),
        observed_at=NOW,
    )
    return replace(case, **changes)
