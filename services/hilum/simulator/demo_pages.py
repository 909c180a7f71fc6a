"""What the demonstration shows on the terminal."""

from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hilum.api.worklist.v1.worklist_pb2 import ReconcileResponse
from hilum.embedded import Running
from hilum.simulator.accuracy import Estimate, area_under_curve, wilson
from hilum.simulator.examinations import Examination
from hilum.simulator.hospital import Hospital
from hilum.simulator.reading_list import Entry, ReadingList
from hilum.simulator.receipts import Outcome
from hilum.simulator.settled import Ledger

_MOST_ROWS = 24
_PRIORITIES = {"S": "stat", "A": "asap", "R": "routine", "": "routine"}

_PEERS = {"ris": "RIS", "ehr": "EHR", "pacs": "PACS"}
_KINDS = {
    "priority": "reading priority",
    "diagnostic_report": "preliminary report",
    "structured_report": "structured report",
    "secondary_capture": "overlay",
}
_STATES = {
    "landed": "arrived, and the receiver said so",
    "suppressed:no_image_marked": "not sent: no finding to mark on an image",
    "suppressed:nothing_to_raise": "not sent: no finding that asks for a priority",
    "suppressed:report_final": "not sent: the report was final already",
}
_REASONS = {
    "conflict:identity": "images and order name different patients",
    "ineligible:view": "not a frontal view",
    "ineligible:paediatric": "the patient is no child",
    "ineligible:adult": "the patient is no adult",
    "ineligible:phantom": "not one of the drawn phantoms",
    "never_arrived": "no images came",
    "unmatched": "no order came",
}
_PICTURES = {
    "plain": "a plain picture",
    "skin fold": "with a skin fold",
    "lines": "with lines and tubes",
    "rotated": "patient rotated",
    "blurred": "blurred by movement",
    "monochrome1": "stored black for white",
}

_OUTCOMES: tuple[tuple[Outcome, str], ...] = (
    ("effect", "new"),
    ("update", "updated"),
    ("repeat", "the same again"),
    ("found", "already there"),
    ("conflict", "in conflict"),
)


def show_caution(console: Console) -> None:
    console.print("The models here are demonstrations. They are not for clinical use.", style="bold yellow")


def show_addresses(console: Console, hospital: Hospital, hilum: Running) -> None:
    console.print(
        f"Hilum listens: HL7 over MLLP {hilum.mllp_port}, DICOM {hilum.dicom_port}, gRPC {hilum.grpc_port}, "
        f"HTTP {hilum.http_port}"
    )
    console.print(
        f"The hospital listens: RIS {hospital.ris.port} (MLLP), EHR {hospital.ehr.url} (FHIR R4), "
        f"PACS {hospital.pacs.port} (DICOM)"
    )


def show_reading_list(console: Console, reading_list: ReadingList, examinations: list[Examination]) -> None:
    """The list as it would be read, and as it is read now; positions of the sick in both."""
    known = {examination.order.accession_number: examination for examination in examinations}
    before, after = reading_list.in_order_of_arrival(), reading_list.in_order()
    place = {entry.accession_number: number for number, entry in enumerate(before, 1)}
    table = Table(title="The reading list", title_justify="left")
    for heading in ("before", "after", "accession number", "patient", "priority", "because", "truth"):
        table.add_column(heading, justify="right" if heading in ("before", "after") else "left", overflow="fold")
    for number, entry in enumerate(after[:_MOST_ROWS], 1):
        raised = entry.raised_at is not None
        table.add_row(
            str(place[entry.accession_number]),
            str(number),
            entry.accession_number,
            entry.order.patient_name.replace("^", ", "),
            _priority(entry),
            ", ".join(entry.flags),
            _truth(known[entry.accession_number]),
            style="bold" if raised else "",
        )
    console.print(table)
    if len(after) > _MOST_ROWS:
        console.print(f"... and {len(after) - _MOST_ROWS} more")
    sick = [number for number, entry in enumerate(after, 1) if known[entry.accession_number].truth]
    if sick:
        were = [place[entry.accession_number] for entry in after if known[entry.accession_number].truth]
        console.print(
            f"Those with the finding ({len(sick)}) stood at place {np.mean(were):.1f} on average, "
            f"now at {np.mean(sick):.1f}, of {len(after)}."
        )


def show_ledger(console: Console, ledger: Ledger, verdict: ReconcileResponse) -> None:
    """The identity of each algorithm, and what `reconcile` found."""
    table = Table(title="The ledger", title_justify="left")
    for heading in ("algorithm", "expected", "=", "with a result", "+ without, and why", "+ in progress"):
        table.add_column(heading, overflow="fold")
    for identity in verdict.identities:
        reasons = "\n".join(f"{count}: {in_words(reason)}" for reason, count in sorted(identity.reasons.items()))
        table.add_row(
            identity.algorithm,
            str(identity.expected),
            "=",
            str(identity.resulted),
            reasons or "0",
            str(identity.in_progress),
        )
    console.print(table)
    for check in verdict.checks:
        mark = Text("holds ", style="green") if check.holds else Text("FAILS ", style="bold red")
        console.print(mark, f"{check.name}: {check.detail}", sep="")
    if not ledger.settled:
        console.print("Time was up before everything had come to its end.", style="bold red")


def show_deliveries(console: Console, ledger: Ledger, hospital: Hospital) -> None:
    """What became of each delivery, and what the peers themselves counted."""
    states = Counter(
        (delivery.destination, delivery.kind, delivery.state)
        for entry in ledger.entries
        for delivery in entry.deliveries
    )
    table = Table(title="Did it land?", title_justify="left")
    for heading in ("receiver", "what", "what became of it", "count"):
        table.add_column(heading, justify="right" if heading == "count" else "left", overflow="fold")
    for (destination, kind, state), count in sorted(states.items()):
        table.add_row(
            _PEERS.get(destination, destination),
            _KINDS.get(kind, kind),
            _STATES.get(state, in_words(state)),
            str(count),
        )
    console.print(table)
    for peer in (hospital.ris, hospital.ehr, hospital.pacs):
        counts = ", ".join(f"{peer.receipts.count(outcome)} {name}" for outcome, name in _OUTCOMES)
        console.print(f"{type(peer).__name__.upper()} counted for itself: {counts}")


def show_accuracy(console: Console, ledger: Ledger, examinations: list[Examination]) -> None:
    """Sensitivity, specificity and AUC of each algorithm that gave results, against the labels."""
    truth = {examination.order.accession_number: examination.truth for examination in examinations}
    for algorithm, counts in sorted(ledger.dispositions().items()):
        if not counts["resulted"]:
            continue
        scored = [
            (bool(truth[entry.accession_number]), finding.state == "present", finding.probability)
            for entry in ledger.entries
            if entry.algorithm == algorithm and truth.get(entry.accession_number) is not None
            for finding in entry.findings[:1]
        ]
        hits = [present for sick, present, _ in scored if sick]
        clear = [not present for sick, present, _ in scored if not sick]
        scores = {sick: np.array([p for s, _, p in scored if s is sick], np.float64) for sick in (True, False)}
        table = Table(title=f"{algorithm}: {len(scored)} of {len(examinations)} with a result", title_justify="left")
        for heading in ("measure", "value (95 % interval)", "on", "interval by"):
            table.add_column(heading)
        measures = (
            ("sensitivity", wilson(sum(hits), len(hits)), "Wilson"),
            ("specificity", wilson(sum(clear), len(clear)), "Wilson"),
            ("AUC", area_under_curve(scores[True], scores[False]), "DeLong, logit scale"),
        )
        for name, estimate, method in measures:
            table.add_row(name, _interval(estimate), estimate.n if estimate else "", method)
        console.print(table)


def show_example(console: Console, out: Path, hospital: Hospital, ledger: Ledger) -> None:
    """One examination whose priority landed, and every file that came of it."""
    for entry in ledger.entries:
        landed = {delivery.kind: delivery for delivery in entry.deliveries if delivery.state == "landed"}
        if {"priority", "diagnostic_report", "structured_report", "secondary_capture"} <= landed.keys():
            break
    else:
        return
    accession = entry.accession_number
    reports = [
        out / "dicom" / f"{receipt.identity}.dcm"
        for receipt in hospital.pacs.receipts
        if receipt.facts["AccessionNumber"] == accession and receipt.facts["Modality"] == "SR"
    ]
    table = Table(title=f"For instance, examination {accession}", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, paths in {
        "structured report (TID 1500)": reports,
        "overlay": sorted((out / "overlays").glob(f"{accession}-*.png")),
        "FHIR transaction": [out / "fhir" / f"{landed['diagnostic_report'].delivery_id}.json"],
        "HL7 to the RIS": sorted((out / "hl7").glob(f"{accession}-*.hl7")),
    }.items():
        table.add_row(name, "\n".join(str(path) for path in paths))
    console.print(table)


def show_end(console: Console, out: Path, seconds: float, megabytes: float) -> None:
    """Where to look, how long it took, how much memory it held."""
    places = {
        "structured reports, overlays": ("dicom", "*.dcm"),
        "overlays as PNG": ("overlays", "*.png"),
        "FHIR bundles": ("fhir", "*.json"),
        "HL7 sent to the RIS": ("hl7", "*.hl7"),
        "the peers' receipts": ("receipts", "*.jsonl"),
    }
    table = Table(title="Where to look", title_justify="left", show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for name, (folder, pattern) in places.items():
        table.add_row(name, f"{out / folder}", f"{len(list((out / folder).glob(pattern)))} files")
    table.add_row("the ledger, and its checks", f"{out / 'ledger.json'}, {out / 'reconcile.json'}", "")
    console.print(table)
    console.print(f"{seconds:.1f} s in all, at most {megabytes:.0f} MB of memory in all processes.")


def in_words(reason: str) -> str:
    """A coded reason as a reader says it; a code that is new here loses only its punctuation."""
    return _REASONS.get(reason, reason.replace("suppressed:", "not sent: ").replace("_", " "))


def _priority(entry: Entry) -> str:
    ordered, now = (_PRIORITIES.get(code, code) for code in (entry.order.priority, entry.priority))
    return now if ordered == now else f"{ordered} -> {now}"


def _truth(examination: Examination) -> str:
    if examination.truth is None:
        return examination.note
    note = _PICTURES.get(examination.note, examination.note)
    return f"{'positive' if examination.truth else 'negative'} ({note})"


def _interval(estimate: Estimate | None) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})" if estimate else "not measured"
