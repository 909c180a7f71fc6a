"""A priority for the RIS: an ORU^R01 finding (P3, the default), or the order sent back as an ORM^O01 or OMI^O23 XO.

The ORU alters nothing of the order: our own filler number and code, the accession in OBR-18, preliminary. An XO is a
snapshot: every field of the latest order goes back as it came, only the order control and the priority are new.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from hilum.errors import Rejected
from hilum.fhir import systems
from hilum.hl7.compose import FieldValue, MessageBuilder, Repetition
from hilum.hl7.message import Group, Message, header_line, parse
from hilum.hl7.segment import Segment
from hilum.hl7.tables import version_number
from hilum.hl7.timestamps import write_timestamp
from hilum.ids import control_id, derived_id
from hilum.integration.domain.case import AssignedId, CaseState, Order
from hilum.integration.domain.plan import Strategy
from hilum.integration.domain.priority import proposed
from hilum.integration.domain.result import AlgorithmResult, Finding, State

OWN_CODES = "99HILUM"
_CODING_SYSTEMS = {systems.SNOMED_CT: "SCT", systems.DCM: "DCM", systems.LOINC: "LN", "http://radlex.org": "RADLEX"}
_ABNORMAL = {"S": "AA", "A": "A"}
_PRIORITIES = {"S": "Stat", "A": "As soon as possible", "R": "Routine"}
_UTF8 = "UNICODE UTF-8"


@dataclass(frozen=True)
class Hl7Site:
    """Who sends to whom (MSH-3 to MSH-6), in which zone, and what orders without MSH-18 are written in.

    ``feed_charsets`` is by sending application and facility; a facility left empty stands for any.
    """

    receiving_application: str
    receiving_facility: str
    facility: str
    zone: tzinfo
    processing_id: str = "P"
    default_charset: str = "8859/1"
    feed_charsets: Mapping[tuple[str, str], str] = field(default_factory=dict)
    application: str = "HILUM"

    def charset_of(self, application: str, facility: str) -> str:
        """What a feed's messages are in where they do not say."""
        known = self.feed_charsets
        return known.get((application, facility)) or known.get((application, "")) or self.default_charset


def message_control_id(delivery_id: str) -> str:
    """MSH-10 of what a delivery carries: one fact, one control ID, however often it is sent."""
    return control_id("delivery", delivery_id)


def filler_order_number(result: AlgorithmResult, case: CaseState) -> str:
    """Our own filler number of an analysis, the same for its reruns; at most 22 characters."""
    algorithm = result.algorithm
    scope = (case.site, case.study_instance_uid, algorithm.name, algorithm.version)
    return "AI" + derived_id("filler", *scope).replace("-", "")[:20]


def render_priority(
    result: AlgorithmResult, case: CaseState, site: Hl7Site, strategy: Strategy, delivery_id: str, at: datetime
) -> bytes:
    """The message that raises the study, without framing. ``at`` is MSH-7.

    Raises Rejected: ``nothing_to_raise``; for an XO also ``order_without_source``, ``order_not_in_source``, and what
    parsing and encoding raise.
    """
    code = proposed(result)
    if code is None:
        raise Rejected("nothing_to_raise", "no present finding asks for a priority")
    at = at.astimezone(site.zone)
    if strategy is Strategy.ORU:
        return _oru(result, case, site, code, delivery_id, at)
    return _order_change(case, site, strategy, code, delivery_id, at)


def _oru(result: AlgorithmResult, case: CaseState, site: Hl7Site, code: str, delivery_id: str, at: datetime) -> bytes:
    """ORU^R01 (HL7 v2.5.1 7.3.1)."""
    algorithm = result.algorithm
    seen = write_timestamp((case.study_time or result.started_at).astimezone(site.zone))
    analysed = write_timestamp(result.completed_at.astimezone(site.zone))
    accession = case.accession_number.value if case.accession_number else ""
    builder = MessageBuilder(
        ("ORU", "R01", "ORU_R01"),
        message_control_id(delivery_id),
        at,
        sender=(site.application, site.facility),
        receiver=(site.receiving_application, site.receiving_facility),
        processing_id=site.processing_id,
        charset=_UTF8,
    )
    builder.add("PID", _patient(case))
    builder.add(
        "OBR",
        {
            1: "1",
            3: (filler_order_number(result, case), site.application),
            4: (algorithm.name, algorithm.title, OWN_CODES),
            7: seen,
            18: accession,
            22: analysed,
            24: "RAD",
            25: "P",
        },
    )
    builder.add(
        "NTE", {1: "1", 3: f"AI result, preliminary, not reviewed by a radiologist. {algorithm.notice}".strip()}
    )
    rows: list[dict[int, FieldValue]] = []
    for number, finding in enumerate((f for f in result.findings if f.state is State.PRESENT), 1):
        rows.extend(_finding_rows(finding, number))
    rows.append(_row("CWE", ("PRIORITY", "Proposed reading priority", OWN_CODES), (code, _PRIORITIES[code], "HL70485")))
    rows.append(_row("ST", ("113014", "DICOM Study", "DCM"), case.study_instance_uid))
    device: FieldValue = (algorithm.device_uid, "", algorithm.device_uid, "ISO")
    for number, row in enumerate(rows, 1):
        builder.add("OBX", {1: str(number), **row, 11: "P", 14: seen, 18: device, 19: analysed})
    return builder.to_bytes()


def _finding_rows(finding: Finding, number: int) -> list[dict[int, FieldValue]]:
    """Present, coded, with its abnormal flag; then the score, where it may be shown."""
    concept = finding.concept
    code: Repetition = (concept.code, concept.display, _CODING_SYSTEMS.get(concept.system, OWN_CODES))
    present = _row("CWE", code, (systems.PRESENT[1], systems.PRESENT[2], "SCT"))
    present |= {4: str(number), 8: _ABNORMAL.get(finding.priority or "", "A")}
    if finding.probability is None:
        return [present]
    score = _row("NM", (f"{finding.id}-probability", f"{concept.display}, probability", OWN_CODES), "")
    score |= {4: str(number), 5: f"{finding.probability:.4f}", 6: ("1", "1", "UCUM")}
    if finding.threshold is not None:
        score[7] = f">={finding.threshold:g}"
    return [present, score]


def _row(value_type: str, code: Repetition, value: Repetition) -> dict[int, FieldValue]:
    return {2: value_type, 3: code, 5: value}


def _patient(case: CaseState) -> dict[int, FieldValue]:
    """PID from what is known of the patient; identifiers with their assigners."""
    patient = case.patient
    identifiers: list[Repetition] = [
        (i.value, "", "", _authority(i), i.type_code or "MR") for i in patient.identifiers if i.value
    ]
    name: Repetition = (patient.family_name, patient.given_name)
    return {1: "1", 3: identifiers, 5: name, 7: patient.birth_date, 8: patient.sex}


def _authority(identifier: AssignedId) -> str | tuple[str, ...]:
    authority = identifier.authority
    return ("", authority, "ISO") if authority and authority.replace(".", "").isdigit() else authority


def _order_change(
    case: CaseState, site: Hl7Site, strategy: Strategy, code: str, delivery_id: str, at: datetime
) -> bytes:
    """XO of every order of the case (HL7 v2.5.1 4.4.1 ORM^O01, 4.4.8 OMI^O23)."""
    order = case.order
    if order is None or not order.source_message:
        raise Rejected("order_without_source", "the order's message is not known, so it cannot be sent back whole")
    source, charset = _parsed(order.source_message, site)
    groups = _groups_of(source, order)
    version = source.get("MSH-12.1") or "2.5.1"
    message_type: tuple[str, ...] = ("ORM", "O01", "ORM_O01")
    if strategy is Strategy.OMI:
        message_type = ("OMI", "O23", "OMI_O23")
        version = version if version_number(version) >= (2, 5) else "2.5.1"
    builder = MessageBuilder(
        message_type[:2] if version_number(version) < (2, 4) else message_type,
        message_control_id(delivery_id),
        at,
        sender=(site.application, site.facility),
        receiver=(site.receiving_application, site.receiving_facility),
        version=version,
        processing_id=site.processing_id,
        charset=charset,
        delimiters=source.delimiters,
    )
    builder.echo(_before_orders(source))
    for group in groups:
        _echo_group(builder, group, strategy, code, case, order)
    own = {id(segment) for group in groups for segment in group.segments}
    builder.echo(s for s in source.segments if s.name[0] == "Z" and id(s) not in own and len(source.every(s.name)) == 1)
    return builder.to_bytes()


def _before_orders(source: Message) -> list[Segment]:
    names = [segment.name for segment in source.segments]
    return source.segments[1 : names.index("ORC")]


def _groups_of(source: Message, order: Order) -> list[Group]:
    """The groups of the message that are this order: by placer, filler or accession number."""
    groups = source.groups(("ORC",))
    wanted = (
        (("ORC-2.1", "OBR-2.1"), order.placer_order_number),
        (("ORC-3.1", "OBR-3.1"), order.filler_order_number),
        (("IPC-1.1", "OBR-18"), order.accession_number),
    )
    for paths, number in wanted:
        if number is None or not number.value:
            continue
        found = [group for group in groups if any(group.get(path) == number.value for path in paths)]
        if found:
            return found
    if len(groups) == 1:
        return groups
    raise Rejected("order_not_in_source", "the order's message holds no group with the order's numbers")


def _echo_group(
    builder: MessageBuilder, group: Group, strategy: Strategy, code: str, case: CaseState, order: Order
) -> None:
    """Every segment as it came; ORC-1 and the priority changed wherever this version and strategy keep it."""
    names = {segment.name for segment in group.segments}
    omi = strategy is Strategy.OMI
    for segment in group.segments:
        changes: dict[str, FieldValue] = {}
        if segment.name == "ORC":
            changes["ORC-1"] = "XO"
            if not omi or segment.raw(7):
                changes["ORC-7.6"] = code
        elif segment.name == "OBR" and (not omi or segment.raw(27)):
            changes["OBR-27.6"] = code
        elif segment.name == "TQ1":
            changes["TQ1-9"] = code
        builder.echo([segment], changes)
        if segment.name == "ORC" and omi and "TQ1" not in names:
            builder.add("TQ1", {1: "1", 9: code})
    if omi and "IPC" not in names:
        builder.add("IPC", _procedure_step(case, order))


def _procedure_step(case: CaseState, order: Order) -> dict[int, FieldValue]:
    """IPC for an order that came without one (HL7 v2.5.1 4.5.6)."""
    accession = order.accession_number.value if order.accession_number else ""
    return {1: accession, 2: order.requested_procedure_id, 3: case.study_instance_uid, 5: case.modality}


def _parsed(message: bytes, site: Hl7Site) -> tuple[Message, str]:
    """The order's message, and the character set that it came in, so that every character of it can go back."""
    header = parse(header_line(message), "8859/1")
    default = site.charset_of(header.get("MSH-3.1"), header.get("MSH-4.1"))
    source = parse(message, default)
    declared: Sequence[str] = source.charset.split(source.delimiters.repetition) if source.charset else []
    if len(declared) > 1:
        return source, _UTF8
    return source, declared[0] if declared else default
