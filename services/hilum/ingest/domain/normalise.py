"""From a message to the facts that it states. Pure: the same message and profile give the same facts."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from hilum.hl7.escapes import NULL
from hilum.hl7.extraction import Value
from hilum.hl7.message import Message
from hilum.hl7.paths import Structure
from hilum.hl7.timestamps import read_timestamp
from hilum.ingest.domain.facts import (
    Code,
    Fact,
    Identifier,
    ObservationFact,
    OrderFact,
    Patient,
    PatientFact,
    ReportFact,
    Source,
)
from hilum.ingest.domain.feeds import Feeds, Taken


class Normaliser:
    """Reads the messages of one site."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds

    def facts(
        self, raw: bytes, message: Message, structure: Structure, taken: Taken, feed: str, message_id: str, at: datetime
    ) -> Iterator[Fact]:
        """Every fact of an accepted message, in its order. ``at`` is when it came: its time where MSH-7 has none."""
        header = message.header((3, 7, 9, 10))
        time = read_timestamp(header[7][0], self._feeds.zone) or at
        control_id = header[10][0].strip()
        code, event = [*header[9], ""][:2]
        from_us = header[3][0].strip() == self._feeds.own_application
        for ordinal, values in enumerate(structure.all.read(message)):
            fields = _without_nulls(values)
            source = Source(self._feeds.site, feed, message_id, control_id, time, ordinal)
            patient = _patient(fields, taken.identifier_authority)
            if structure.kind == "order":
                yield _order(fields, source, f"{code}^{event}", patient, raw)
            elif structure.kind == "report":
                report = _report(fields, source, patient)
                if not from_us and not self._is_ours(report):
                    yield report
            else:
                yield _patient_event(fields, source, event, patient, taken.identifier_authority)

    def _is_ours(self, report: ReportFact) -> bool:
        """Our own results may come back through a router: they are known by the filler number that we assigned."""
        number = report.filler_order_number
        return number is not None and number.authority == self._feeds.own_application


def _order(fields: Mapping[str, Value], source: Source, message_type: str, patient: Patient, raw: bytes) -> OrderFact:
    return OrderFact(
        source=source,
        message_type=message_type,
        order_control=_text(fields, "order_control"),
        order_status=_text(fields, "order_status"),
        placer_order_number=_identifier(fields, "placer_order_number"),
        filler_order_number=_identifier(fields, "filler_order_number"),
        accession_number=_identifier(fields, "accession_number"),
        requested_procedure_id=_text(fields, "requested_procedure_id"),
        scheduled_procedure_step_id=_text(fields, "scheduled_procedure_step_id"),
        study_instance_uid=_text(fields, "study_instance_uid"),
        modality=_text(fields, "modality"),
        procedure=_code(fields, "procedure_code"),
        protocol=next((_code_of(row) for row in _rows(fields, "protocol_codes")), None),
        priority=_text(fields, "priority"),
        scheduled_start=_text(fields, "scheduled_start"),
        reason=_text(fields, "reason.text") or _text(fields, "reason"),
        patient=patient,
        source_message=raw,
    )


def _report(fields: Mapping[str, Value], source: Source, patient: Patient) -> ReportFact:
    return ReportFact(
        source=source,
        placer_order_number=_identifier(fields, "placer_order_number"),
        filler_order_number=_identifier(fields, "filler_order_number"),
        accession_number=_identifier(fields, "accession_number"),
        study_instance_uid=_text(fields, "study_instance_uid"),
        result_status=_text(fields, "report_status"),
        patient=patient,
        observations=tuple(_observation(row) for row in _rows(fields, "observations")),
    )


def _observation(row: Mapping[str, str]) -> ObservationFact:
    code = Code(row.get("observation", ""), row.get("observation.text", ""), row.get("observation.system", ""))
    return ObservationFact(code, row.get("value_type", ""), row.get("value", ""), row.get("status", ""))


def _patient_event(
    fields: Mapping[str, Value], source: Source, event: str, patient: Patient, authority: str
) -> PatientFact:
    merged = _identifiers(fields, "prior_patient_identifiers", authority)
    return PatientFact(source, event, patient, merged, _text(fields, "visit_number"))


def _patient(fields: Mapping[str, Value], authority: str) -> Patient:
    identifiers = _identifiers(fields, "patient_identifiers", authority)
    chosen = _identifier(fields, "patient_id", authority)
    if chosen is not None:  # the site's choice among several comes first, also where it is no repetition of PID-3
        identifiers = (chosen, *(identifier for identifier in identifiers if identifier != chosen))
    return Patient(
        identifiers=identifiers,
        family_name=_text(fields, "patient_name.family"),
        given_name=_text(fields, "patient_name.given"),
        birth_date=_text(fields, "birth_date")[:8],
        sex=_text(fields, "sex"),
    )


def _identifiers(fields: Mapping[str, Value], name: str, authority: str) -> tuple[Identifier, ...]:
    rows = ({part: text.strip() for part, text in row.items()} for row in _rows(fields, name))
    found = (_identifier_of(row, authority) for row in rows if row.get("value") not in (None, "", NULL))
    return tuple(dict.fromkeys(found))


def _identifier_of(row: Mapping[str, str], authority: str) -> Identifier:
    assigned = row.get("authority") or row.get("authority_uid") or authority
    return Identifier(row["value"], assigned, row.get("type", ""))


def _identifier(fields: Mapping[str, Value], name: str, authority: str = "") -> Identifier | None:
    value = _text(fields, name)
    if not value:
        return None
    assigned = _text(fields, f"{name}.authority") or _text(fields, f"{name}.authority_uid") or authority
    return Identifier(value, assigned, _text(fields, f"{name}.type"))


def _code(fields: Mapping[str, Value], name: str) -> Code | None:
    code = Code(_text(fields, name), _text(fields, f"{name}.text"), _text(fields, f"{name}.system"))
    return code if code.code or code.display else None


def _code_of(row: Mapping[str, str]) -> Code:
    return Code(row.get("value", ""), row.get("text", ""), row.get("system", ""))


def _text(fields: Mapping[str, Value], name: str) -> str:
    value = fields.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def _rows(fields: Mapping[str, Value], name: str) -> list[dict[str, str]]:
    value = fields.get(name, "")
    return [] if isinstance(value, str) else value


def _without_nulls(fields: Mapping[str, Value]) -> dict[str, Value]:
    """A fact is a snapshot: what was explicitly deleted (two quotes) is as absent as what was never there."""
    return {name: value for name, value in fields.items() if value != NULL}
